//! What the rows of a cost study mean: exponents of N, and sentences made of the numbers.
//!
//! Nothing is said that the rows do not show: a sentence whose rows are missing is left out.

use serde::{Deserialize, Serialize};

use super::{BACKPROP, CostRow, FORWARD_PASS};
use crate::numeric::statistics::LeastSquaresLine;
use crate::study::table::{Table, bytes, duration, times, whole};

/// How a quantity grows with N: the line through the logarithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrowthFit {
    /// The method's label.
    pub method: String,
    /// `multiplications` (plain), `multiplications_performed`, `seconds`, `predicted_seconds`.
    pub quantity: String,
    /// `widths`, at the same number of hidden layers, or `depths`, at the same width.
    pub over: String,
    /// That number of hidden layers, or that width.
    pub at: usize,
    /// The smallest and the largest width, or depth.
    pub range: [usize; 2],
    /// The exponent of N with its 95 % interval.
    #[serde(flatten)]
    pub line: LeastSquaresLine,
}

/// A study's rows and what they mean.
#[derive(Clone, Debug, Serialize)]
pub struct CostReport<'a> {
    /// The config's name.
    pub name: &'a str,
    /// The study's directory.
    pub study: String,
    /// One a method and network.
    pub rows: &'a [CostRow],
    /// Exponents.
    pub fits: Vec<GrowthFit>,
    /// Sentences.
    pub findings: Vec<String>,
}

impl<'a> CostReport<'a> {
    /// Of all `rows`, kept in `study`.
    pub fn new(name: &'a str, study: String, rows: &'a [CostRow]) -> Self {
        let fits = fits(rows);
        let findings = findings(rows, &fits);
        Self {
            name,
            study,
            rows,
            fits,
            findings,
        }
    }

    /// A table a network, and one of the exponents, each with its heading.
    pub fn tables(&self) -> Vec<(String, Table)> {
        let networks = networks(self.rows);
        let mut tables: Vec<(String, Table)> = (networks.iter())
            .map(|network| {
                let first = network[0];
                let heading = format!(
                    "{}, N = {}, {} rows",
                    topology(&first.layers),
                    whole(first.parameters as u64),
                    first.batch_rows
                );
                (heading, rows_table(network))
            })
            .collect();
        if !self.fits.is_empty() {
            tables.push(("Exponents of N".to_owned(), fits_table(&self.fits)));
        }
        tables
    }

    /// The report as text: `table` renders each table.
    pub fn render(&self, heading: &str, table: impl Fn(&Table) -> String) -> String {
        let mut text = String::new();
        for (title, of) in self.tables() {
            text.push_str(&format!("{heading}{title}\n\n{}\n", table(&of)));
        }
        for finding in &self.findings {
            text.push_str(finding);
            text.push_str("\n\n");
        }
        text.push_str(&format!("Study: {}\n", self.study));
        text
    }
}

/// Rows of the same network, in their order.
fn networks(rows: &[CostRow]) -> Vec<Vec<&CostRow>> {
    let mut networks: Vec<Vec<&CostRow>> = Vec::new();
    for row in rows {
        match networks
            .iter_mut()
            .find(|network| network[0].layers == row.layers)
        {
            Some(network) => network.push(row),
            None => networks.push(vec![row]),
        }
    }
    networks
}

/// `784-30-10`.
fn topology(layers: &[usize]) -> String {
    let layers: Vec<String> = layers.iter().map(usize::to_string).collect();
    layers.join("-")
}

fn rows_table(rows: &[&CostRow]) -> Table {
    let measured = rows.iter().any(|row| row.seconds.is_some());
    let mut header = vec![
        "method",
        "losses",
        "JVPs",
        "multiplications",
        "÷ forward",
        "÷ backprop",
        "performed",
        "additions",
        "exponentials",
        "divisions",
        "memory",
        "predicted",
    ];
    if measured {
        header.extend(["measured", "÷ forward", "÷ backprop"]);
    }
    let mut table = Table::new(header);
    for row in rows {
        let performed = &row.tally_performed;
        let count = |count: Option<u64>| count.map_or("–".to_owned(), whole);
        let ratio = |ratio: Option<f64>| ratio.map_or("–".to_owned(), times);
        let mut cells = vec![
            row.label.clone(),
            whole(performed.evaluations),
            whole(performed.jacobian_vector_products),
            count(row.tally.map(|tally| tally.multiplications)),
            ratio(row.multiplications_to_forward),
            ratio(row.multiplications_to_backprop),
            whole(performed.multiplications),
            whole(performed.additions),
            whole(performed.exponentials),
            whole(performed.divisions),
            bytes(row.memory),
            duration(row.predicted_seconds),
        ];
        if measured {
            let broken = row.measured_share.is_some_and(|share| share < 1.0);
            let mark = if broken { "*" } else { "" };
            cells.push(row.seconds.map_or("–".to_owned(), |seconds| {
                format!("{}{mark}", duration(seconds))
            }));
            cells.push(ratio(row.seconds_to_forward));
            cells.push(ratio(row.seconds_to_backprop));
        }
        table.row(cells);
    }
    table
}

/// Of each method the multiplications and the time: plain and measured, where there are such.
fn fits_table(fits: &[GrowthFit]) -> Table {
    let mut table = Table::new(["method", "over", "quantity", "exponent", "95 % interval"]);
    let better = [
        ("multiplications_performed", "multiplications"),
        ("predicted_seconds", "seconds"),
    ];
    for fit in fits {
        let has = |quantity: &str| {
            fits.iter().any(|other| {
                other.quantity == quantity
                    && (&other.method, &other.over, other.at) == (&fit.method, &fit.over, fit.at)
            })
        };
        let passed_over = |(worse, better): &(&str, &str)| fit.quantity == *worse && has(better);
        if better.iter().any(passed_over) {
            continue;
        }
        let [first, last] = fit.range;
        let over = match fit.over.as_str() {
            "widths" => format!("widths {first}…{last}, {} hidden", layers(fit.at)),
            _ => format!("depths {first}…{last}, width {}", fit.at),
        };
        let interval = fit.line.interval.map_or("–".to_owned(), |[low, high]| {
            format!("{low:.3}…{high:.3}")
        });
        table.row([
            fit.method.clone(),
            over,
            fit.quantity.replace('_', " "),
            format!("{:.3}", fit.line.slope),
            interval,
        ]);
    }
    table
}

/// `1 layer`, `3 layers`.
fn layers(count: usize) -> String {
    format!("{count} layer{}", if count == 1 { "" } else { "s" })
}

/// A quantity's name, and what a row has of it.
type FitQuantity = (&'static str, fn(&CostRow) -> Option<f64>);

/// What is fitted.
const QUANTITIES: [FitQuantity; 4] = [
    ("multiplications", |row| {
        Some(row.tally?.multiplications as f64)
    }),
    ("multiplications_performed", |row| {
        Some(row.tally_performed.multiplications as f64)
    }),
    ("seconds", |row| row.seconds),
    ("predicted_seconds", |row| Some(row.predicted_seconds)),
];

/// Every method's exponents over widths, depth by depth, and over depths, width by width.
pub fn fits(rows: &[CostRow]) -> Vec<GrowthFit> {
    let mut labels: Vec<&str> = Vec::new();
    for row in rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(&row.label);
        }
    }
    let alike: Vec<(&CostRow, usize, usize)> = rows
        .iter()
        .filter_map(|row| Some((row, row.width()?, row.hidden().len())))
        .collect();
    let mut fits = Vec::new();
    for over in ["widths", "depths"] {
        // What stays, and what varies.
        let axes = |&(_, width, depth): &(&CostRow, usize, usize)| match over {
            "widths" => (depth, width),
            _ => (width, depth),
        };
        let mut groups: Vec<usize> = alike.iter().map(|row| axes(row).0).collect();
        groups.sort_unstable();
        groups.dedup();
        for at in groups {
            for label in &labels {
                let own: Vec<_> = (alike.iter())
                    .filter(|row| row.0.label == *label && axes(row).0 == at)
                    .collect();
                let varied = || own.iter().map(|row| axes(row).1);
                let (Some(first), Some(last)) = (varied().min(), varied().max()) else {
                    continue;
                };
                for (quantity, value) in QUANTITIES {
                    let point = |row: &&&(&CostRow, usize, usize)| {
                        Some((row.0.parameters as f64, value(row.0)?))
                    };
                    let points: Vec<(f64, f64)> =
                        own.iter().filter_map(|row| point(&row)).collect();
                    let positive = points.iter().all(|&(_, y)| y > 0.0);
                    let line = LeastSquaresLine::through_logarithms(&points).filter(|_| positive);
                    if let Some(line) = line.filter(|_| points.len() == own.len()) {
                        fits.push(GrowthFit {
                            method: (*label).to_owned(),
                            quantity: quantity.to_owned(),
                            over: over.to_owned(),
                            at,
                            range: [first, last],
                            line,
                        });
                    }
                }
            }
        }
    }
    fits
}

/// Sentences about the largest network, then about growth, then about the prediction.
fn findings(rows: &[CostRow], fits: &[GrowthFit]) -> Vec<String> {
    let mut findings = Vec::new();
    let largest = networks(rows)
        .into_iter()
        .max_by_key(|network| network[0].parameters);
    if let Some(network) = &largest {
        let find = |label: &str| network.iter().copied().find(|row| row.label == label);
        findings.extend(find(BACKPROP).and_then(of_backprop));
        findings.extend(find("forward-difference/full").and_then(of_full));
        let (forward, central) = (
            find("forward-difference/incremental"),
            find("central-difference/full"),
        );
        findings.extend(forward.and_then(of_incremental));
        findings.extend(central.and_then(of_central));
    }
    findings.extend(of_growth(fits));
    findings.extend(of_prediction(rows));
    findings.extend(of_broken(rows));
    findings
}

fn of_backprop(row: &CostRow) -> Option<String> {
    let multiplications = row.multiplications_to_forward?;
    let time = row.seconds_to_forward.map_or(String::new(), |ratio| {
        format!(" and {} times its time", times(ratio))
    });
    Some(format!(
        "Backprop makes all N = {} partial derivatives of {} with {} times the multiplications of one forward pass{time}: they share one pass forward and one back, whatever N is.",
        whole(row.parameters as u64),
        topology(&row.layers),
        times(multiplications),
    ))
}

fn of_full(row: &CostRow) -> Option<String> {
    let multiplications = row.multiplications_to_backprop?;
    let time = match (row.seconds_to_forward, row.seconds_to_backprop) {
        (Some(forward), Some(backprop)) => format!(
            "; measured, {} times the time of a forward pass and {} times backprop's",
            times(forward),
            times(backprop)
        ),
        _ => String::new(),
    };
    Some(format!(
        "Forward differences evaluate N + 1 = {} losses for the same gradient: {} times backprop's multiplications{time}. Of N + 1 only the 1 is negligible.",
        whole(row.tally_performed.evaluations),
        times(multiplications),
    ))
}

fn of_central(row: &CostRow) -> Option<String> {
    Some(format!(
        "Central differences evaluate 2N = {} losses: {} times backprop's multiplications.",
        whole(row.tally_performed.evaluations),
        times(row.multiplications_to_backprop?),
    ))
}

fn of_incremental(row: &CostRow) -> Option<String> {
    let multiplications = row.multiplications_to_backprop?;
    let time = row.seconds_to_backprop.map_or(String::new(), |ratio| {
        format!(
            ", and {} times its time on this data, where inputs that are 0 or equal cost nothing twice",
            times(ratio)
        )
    });
    let depth = match row.hidden().len() {
        0 => "Without a hidden layer every change ends in the loss at once.",
        1 => {
            "With one hidden layer that factor is about n_L, the number of outputs, whatever N is; from two on it grows with N."
        }
        _ => {
            "From two hidden layers on it grows with N: what a change does not reach ends with the layer above it."
        }
    };
    Some(format!(
        "Computing only what each perturbation changes, the same N + 1 losses take {} times backprop's multiplications{time}. {depth}",
        times(multiplications),
    ))
}

/// One sentence a depth, of the methods that a formula counts.
fn of_growth(fits: &[GrowthFit]) -> Vec<String> {
    let named = [
        (BACKPROP, "backprop"),
        ("forward-difference/incremental", "incremental differences"),
        ("forward-difference/full", "full differences"),
    ];
    let mut told = Vec::new();
    let mut sentences = Vec::new();
    let counted = |fit: &&GrowthFit| fit.quantity == "multiplications" && fit.line.points > 2;
    for fit in fits.iter().filter(counted) {
        let group = (&fit.over, fit.at);
        if told.contains(&group) {
            continue;
        }
        told.push(group);
        let exponent = |(label, name): &(&str, &str)| {
            let own =
                |other: &&GrowthFit| other.method == *label && (&other.over, other.at) == group;
            let own = fits.iter().filter(counted).find(own)?;
            Some(format!("N^{:.2} ({name})", own.line.slope))
        };
        let exponents: Vec<String> = named.iter().filter_map(exponent).collect();
        if exponents.is_empty() {
            continue;
        }
        let [first, last] = fit.range;
        let place = match fit.over.as_str() {
            "widths" => format!(
                "With {} hidden, from width {first} to {last}",
                layers(fit.at)
            ),
            _ => format!("At width {}, from {first} to {last} hidden layers", fit.at),
        };
        sentences.push(format!(
            "{place}, the multiplications of a gradient grow as {}.",
            exponents.join(", ")
        ));
    }
    sentences
}

fn of_prediction(rows: &[CostRow]) -> Option<String> {
    let factor = |row: &CostRow| {
        let ratio = row.seconds? / row.predicted_seconds;
        Some(ratio.max(1.0 / ratio))
    };
    let measured = rows.iter().filter_map(|row| Some((row, factor(row)?)));
    let all = measured.clone().count();
    let (worst, off) = measured.max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(format!(
        "Of {all} times, predicted from some 60 ms each, the one furthest off is {} on {}: by a factor of {off:.2}.",
        worst.label,
        topology(&worst.layers),
    ))
}

fn of_broken(rows: &[CostRow]) -> Option<String> {
    let broken: Vec<f64> = (rows.iter())
        .filter_map(|row| row.measured_share)
        .filter(|&share| share < 1.0)
        .collect();
    let least = broken.iter().copied().reduce(f64::min)?;
    Some(format!(
        "* {} gradient{} broken off at the time limit, the shortest after {:.2} % of its evaluations: the time is that of the share made, over the share.",
        broken.len(),
        if broken.len() == 1 { " was" } else { "s were" },
        100.0 * least,
    ))
}

/// A row as a line of progress.
pub fn line(row: &CostRow) -> String {
    let time = match row.seconds {
        Some(seconds) => format!("{} measured", duration(seconds)),
        None => format!("{} predicted", duration(row.predicted_seconds)),
    };
    let ratio = match row.multiplications_to_forward {
        Some(ratio) if row.label != FORWARD_PASS => {
            format!(", {} forward passes of multiplications", times(ratio))
        }
        _ => String::new(),
    };
    format!("{}  {}: {time}{ratio}", topology(&row.layers), row.label)
}
