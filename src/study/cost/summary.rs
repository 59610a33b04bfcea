//! Fits and summary sentences of a cost study: exponents of N, and statements with the rows'
//! numbers.
//!
//! A sentence is left out if its rows are missing.

use serde::{Deserialize, Serialize};

use super::{BACKPROP, CostRow};
use crate::numeric::statistics::LeastSquaresLine;
use crate::study::table::{Table, bytes, counted, duration, times, topology, whole};
use crate::study::{StudyReport, closing};

/// The growth of a quantity with N, a line fitted to the logarithms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrowthFit {
    /// The method's label.
    pub method: String,
    /// `multiplications` (plain), `multiplications_performed`, `seconds`, `predicted_seconds`.
    pub quantity: String,
    /// `widths`, at the same number of hidden layers, or `depths`, at the same width.
    pub over: String,
    /// The fixed number of hidden layers, or the fixed width.
    pub at: usize,
    /// The smallest and the largest width or depth.
    pub range: [usize; 2],
    /// The exponent of N with its 95 % interval.
    #[serde(flatten)]
    pub line: LeastSquaresLine,
}

/// The rows of a cost study with fits and summary sentences.
#[derive(Clone, Debug, Serialize)]
pub struct CostReport<'a> {
    /// The config's name.
    pub name: &'a str,
    /// The study's directory.
    pub study: String,
    /// One row per method and network.
    pub rows: &'a [CostRow],
    /// Fitted exponents of N.
    pub fits: Vec<GrowthFit>,
    /// Summary sentences.
    pub findings: Vec<String>,
}

impl<'a> CostReport<'a> {
    /// Summarizes `rows`, which are recorded in the directory `study`.
    pub fn new(name: &'a str, study: String, rows: &'a [CostRow]) -> Self {
        let fits = fits(rows);
        let findings = sentences(rows, &fits);
        Self {
            name,
            study,
            rows,
            fits,
            findings,
        }
    }

    /// Returns a table per network and one of the exponents, each with its heading.
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
}

impl StudyReport for CostReport<'_> {
    fn heading(&self) -> String {
        format!("Cost of a gradient: {}", self.name)
    }

    fn render(&self, heading: &str, table: &dyn Fn(&Table) -> String) -> String {
        let sections = self.tables().into_iter();
        let sections =
            sections.map(|(title, contents)| format!("{heading}{title}\n\n{}\n", table(&contents)));
        sections.collect::<String>() + &closing(&self.findings, &self.study)
    }
}

/// Groups the rows by network, in order of appearance.
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
            let interrupted = row.measured_share.is_some_and(|share| share < 1.0);
            let mark = if interrupted { "*" } else { "" };
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

/// Formats the exponents of multiplications and time of each method: plain rather than performed,
/// and measured rather than predicted, if available.
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
        let is_superseded = |(worse, better): &(&str, &str)| fit.quantity == *worse && has(better);
        if better.iter().any(is_superseded) {
            continue;
        }
        let [first, last] = fit.range;
        let over = match fit.over.as_str() {
            "widths" => format!("widths {first}…{last}, {} hidden", counted(fit.at, "layer")),
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

/// A quantity's name and its value in a row.
type FitQuantity = (&'static str, fn(&CostRow) -> Option<f64>);

/// The fitted quantities.
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

/// Fits the exponents of every method over widths at each depth, and over depths at each width.
pub fn fits(rows: &[CostRow]) -> Vec<GrowthFit> {
    let mut labels: Vec<&str> = Vec::new();
    for row in rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(&row.label);
        }
    }
    let uniform: Vec<(&CostRow, usize, usize)> = rows
        .iter()
        .filter_map(|row| Some((row, row.width()?, row.hidden().len())))
        .collect();
    let mut fits = Vec::new();
    for over in ["widths", "depths"] {
        // The fixed size and the varied one.
        let axes = |&(_, width, depth): &(&CostRow, usize, usize)| match over {
            "widths" => (depth, width),
            _ => (width, depth),
        };
        let mut groups: Vec<usize> = uniform.iter().map(|row| axes(row).0).collect();
        groups.sort_unstable();
        groups.dedup();
        for at in groups {
            for label in &labels {
                let group: Vec<_> = (uniform.iter())
                    .filter(|row| row.0.label == *label && axes(row).0 == at)
                    .collect();
                let varied = || group.iter().map(|row| axes(row).1);
                let (Some(first), Some(last)) = (varied().min(), varied().max()) else {
                    continue;
                };
                for (quantity, value) in QUANTITIES {
                    let point = |row: &&&(&CostRow, usize, usize)| {
                        Some((row.0.parameters as f64, value(row.0)?))
                    };
                    let points: Vec<(f64, f64)> =
                        group.iter().filter_map(|row| point(&row)).collect();
                    let positive = points.iter().all(|&(_, y)| y > 0.0);
                    let line = LeastSquaresLine::through_logarithms(&points).filter(|_| positive);
                    if let Some(line) = line.filter(|_| points.len() == group.len()) {
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

/// Returns sentences about the largest network, growth, predictions and interrupted measurements.
fn sentences(rows: &[CostRow], fits: &[GrowthFit]) -> Vec<String> {
    let mut sentences = Vec::new();
    let largest = networks(rows)
        .into_iter()
        .max_by_key(|network| network[0].parameters);
    if let Some(network) = &largest {
        let find = |label: &str| network.iter().copied().find(|row| row.label == label);
        sentences.extend(find(BACKPROP).and_then(backprop_sentence));
        sentences.extend(find("forward-difference/full").and_then(full_sentence));
        let (forward, central) = (
            find("forward-difference/incremental"),
            find("central-difference/full"),
        );
        sentences.extend(forward.and_then(incremental_sentence));
        sentences.extend(central.and_then(central_sentence));
    }
    sentences.extend(growth_sentences(fits));
    sentences.extend(prediction_sentence(rows));
    sentences.extend(interruption_sentence(rows));
    sentences
}

fn backprop_sentence(row: &CostRow) -> Option<String> {
    let multiplications = row.multiplications_to_forward?;
    let time = row.seconds_to_forward.map_or(String::new(), |ratio| {
        format!(" and {} times its time", times(ratio))
    });
    Some(format!(
        "Backprop computes all N = {} partial derivatives of {} with {} times the multiplications of one forward pass{time}: they share one forward and one backward pass, for any N.",
        whole(row.parameters as u64),
        topology(&row.layers),
        times(multiplications),
    ))
}

fn full_sentence(row: &CostRow) -> Option<String> {
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

fn central_sentence(row: &CostRow) -> Option<String> {
    Some(format!(
        "Central differences evaluate 2N = {} losses: {} times backprop's multiplications.",
        whole(row.tally_performed.evaluations),
        times(row.multiplications_to_backprop?),
    ))
}

fn incremental_sentence(row: &CostRow) -> Option<String> {
    let multiplications = row.multiplications_to_backprop?;
    let time = row.seconds_to_backprop.map_or(String::new(), |ratio| {
        format!(
            ", and {} times its time on this data, where zero inputs cost nothing and equal inputs are computed once",
            times(ratio)
        )
    });
    let depth = match row.hidden().len() {
        0 => "Without a hidden layer a perturbation affects the loss directly.",
        1 => {
            "With one hidden layer that factor is about n_L, the number of outputs, for any N; from two on it grows with N."
        }
        _ => {
            "From two hidden layers on it grows with N: only the next layer is updated by single products, later layers are recomputed."
        }
    };
    Some(format!(
        "Computing only what each perturbation changes, the same N + 1 losses take {} times backprop's multiplications{time}. {depth}",
        times(multiplications),
    ))
}

/// Returns one sentence per depth or width about the methods that have a formula.
fn growth_sentences(fits: &[GrowthFit]) -> Vec<String> {
    let named = [
        (BACKPROP, "backprop"),
        ("forward-difference/incremental", "incremental differences"),
        ("forward-difference/full", "full differences"),
    ];
    let mut seen = Vec::new();
    let mut sentences = Vec::new();
    let is_counted = |fit: &&GrowthFit| fit.quantity == "multiplications" && fit.line.points > 2;
    for fit in fits.iter().filter(is_counted) {
        let group = (&fit.over, fit.at);
        if seen.contains(&group) {
            continue;
        }
        seen.push(group);
        let exponent = |(label, name): &(&str, &str)| {
            let same =
                |other: &&GrowthFit| other.method == *label && (&other.over, other.at) == group;
            let fit = fits.iter().filter(is_counted).find(same)?;
            Some(format!("N^{:.2} ({name})", fit.line.slope))
        };
        let exponents: Vec<String> = named.iter().filter_map(exponent).collect();
        if exponents.is_empty() {
            continue;
        }
        let [first, last] = fit.range;
        let scope = match fit.over.as_str() {
            "widths" => format!(
                "With {} hidden, from width {first} to {last}",
                counted(fit.at, "layer")
            ),
            _ => format!("At width {}, from {first} to {last} hidden layers", fit.at),
        };
        sentences.push(format!(
            "{scope}, the multiplications of a gradient grow as {}.",
            exponents.join(", ")
        ));
    }
    sentences
}

fn prediction_sentence(rows: &[CostRow]) -> Option<String> {
    let factor = |row: &CostRow| {
        let ratio = row.seconds? / row.predicted_seconds;
        Some(ratio.max(1.0 / ratio))
    };
    let measured = rows.iter().filter_map(|row| Some((row, factor(row)?)));
    let count = measured.clone().count();
    let (worst, off) = measured.max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(format!(
        "The worst of {count} predictions was off by a factor of {off:.2}: {} on {}.",
        worst.label,
        topology(&worst.layers),
    ))
}

fn interruption_sentence(rows: &[CostRow]) -> Option<String> {
    let shares: Vec<f64> = (rows.iter())
        .filter_map(|row| row.measured_share)
        .filter(|&share| share < 1.0)
        .collect();
    let least = shares.iter().copied().reduce(f64::min)?;
    Some(format!(
        "* {} gradient{} interrupted at the time limit, the earliest after {:.2} % of its evaluations: the time is extrapolated from the completed evaluations.",
        shares.len(),
        if shares.len() == 1 { " was" } else { "s were" },
        100.0 * least,
    ))
}
