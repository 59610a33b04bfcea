//! Summary sentences of a cost study, with the rows' numbers.
//!
//! A sentence is left out if its rows are missing. "Dense" says that both numbers of a ratio are
//! counts of a plain implementation, "performed" that both are counts of the kernels on the rows.

use serde::Serialize;

use super::exponents::local_exponents;
use super::tables::{self, HeadedTable};
use super::{BACKPROP, CostRow, LocalExponent};
use crate::study::table::{Table, counted, times, topology, whole};
use crate::study::{StudyReport, closing};

const INCREMENTAL: &str = "forward-difference/incremental";
const FULL: &str = "forward-difference/full";

/// The rows of a cost study with local exponents and summary sentences.
#[derive(Clone, Debug, Serialize)]
pub struct CostReport<'a> {
    /// The config's name.
    pub name: &'a str,
    /// The study's directory.
    pub study: String,
    /// One row per method and network.
    pub rows: &'a [CostRow],
    /// Exponents of N between neighbouring networks.
    pub exponents: Vec<LocalExponent>,
    /// Summary sentences.
    pub findings: Vec<String>,
}

impl<'a> CostReport<'a> {
    /// Summarizes `rows`, which are recorded in the directory `study`.
    pub fn new(name: &'a str, study: String, rows: &'a [CostRow]) -> Self {
        let exponents = local_exponents(rows);
        let findings = sentences(rows, &exponents);
        Self {
            name,
            study,
            rows,
            exponents,
            findings,
        }
    }

    /// Returns the tables by section: two for each network, one of what the inputs save, those of
    /// the exponents.
    pub fn sections(&self) -> Vec<Vec<HeadedTable>> {
        tables::sections(self.rows, &self.exponents)
    }
}

impl StudyReport for CostReport<'_> {
    fn heading(&self) -> String {
        format!("Cost of a gradient: {}", self.name)
    }

    fn render(&self, heading: &str, table: &dyn Fn(&Table) -> String) -> String {
        let tables = self.sections().into_iter().flatten();
        let tables =
            tables.map(|(title, contents)| format!("{heading}{title}\n\n{}\n", table(&contents)));
        tables.collect::<String>() + &closing(&self.findings, &self.study)
    }
}

/// Groups the rows by network, in order of appearance.
pub(super) fn networks(rows: &[CostRow]) -> Vec<Vec<&CostRow>> {
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

/// Returns the distinct labels, in the order of the rows.
pub(super) fn labels(rows: &[CostRow]) -> Vec<&str> {
    let mut labels: Vec<&str> = Vec::new();
    for row in rows {
        if !labels.contains(&row.label.as_str()) {
            labels.push(&row.label);
        }
    }
    labels
}

/// Returns sentences about the largest network, the range over networks, growth, predictions and
/// interrupted measurements.
fn sentences(rows: &[CostRow], exponents: &[LocalExponent]) -> Vec<String> {
    let mut sentences = Vec::new();
    let networks = networks(rows);
    let largest = networks.iter().max_by_key(|network| network[0].parameters);
    if let Some(network) = largest {
        let find = |label: &str| network.iter().copied().find(|row| row.label == label);
        sentences.extend(find(BACKPROP).and_then(backprop_sentence));
        sentences.extend(range_sentence(&networks));
        sentences.extend(find(FULL).and_then(full_sentence));
        sentences.extend(find("central-difference/full").and_then(central_sentence));
        sentences.extend(find(INCREMENTAL).and_then(incremental_sentence));
        sentences.extend(data_sentence(network));
    }
    sentences.extend(growth_sentences(exponents));
    sentences.extend(depth_sentence(rows));
    sentences.extend(prediction_sentence(rows));
    sentences.extend(interruption_sentence(rows));
    sentences
}

/// Formats "2.12 times (dense), 3.70 times (performed)".
fn both(plain: Option<f64>, performed: Option<f64>) -> Option<String> {
    Some(format!(
        "{} times (dense) and {} times (performed)",
        times(plain?),
        times(performed?)
    ))
}

fn backprop_sentence(row: &CostRow) -> Option<String> {
    let ratios = both(
        row.multiplications_to_forward,
        row.multiplications_performed_to_forward,
    )?;
    let time = row.seconds_to_forward.map_or(String::new(), |ratio| {
        format!(", and {} times its time", times(ratio))
    });
    Some(format!(
        "Backprop computes all N = {} partial derivatives of {} with {ratios} the multiplications of one forward pass{time}: they share one forward and one backward pass. As layers widen, the dense ratio tends to 3 + 1/B = {} or less (narrow layers take a little more), and to 2 where the first layer holds most weights, because nobody needs the gradient of the inputs.",
        whole(row.parameters as u64),
        topology(&row.layers),
        times(3.0 + 1.0 / row.batch_rows as f64),
    ))
}

/// Returns the range of backprop's ratios over networks, if there are several.
fn range_sentence(networks: &[Vec<&CostRow>]) -> Option<String> {
    let rows = networks
        .iter()
        .filter_map(|network| network.iter().find(|row| row.label == BACKPROP));
    let range = |of: fn(&CostRow) -> Option<f64>| {
        let ratios: Vec<f64> = rows.clone().filter_map(|row| of(row)).collect();
        let least = ratios.iter().copied().reduce(f64::min)?;
        let most = ratios.iter().copied().reduce(f64::max)?;
        (ratios.len() > 1).then(|| format!("{} to {}", times(least), times(most)))
    };
    let plain = range(|row| row.multiplications_to_forward)?;
    let performed = range(|row| row.multiplications_performed_to_forward)?;
    let time = range(|row| row.seconds_to_forward)
        .map_or(String::new(), |range| format!(", {range} of their time"));
    Some(format!(
        "Over the {} networks here backprop takes {plain} forward passes of multiplications (dense), {performed} (performed){time}.",
        networks.len(),
    ))
}

fn full_sentence(row: &CostRow) -> Option<String> {
    let ratios = both(
        row.multiplications_to_backprop,
        row.multiplications_performed_to_backprop,
    )?;
    let time = match (row.seconds_to_forward, row.seconds_to_backprop) {
        (Some(forward), Some(backprop)) => format!(
            "; measured, {} times the time of a forward pass and {} times backprop's",
            times(forward),
            times(backprop)
        ),
        _ => String::new(),
    };
    Some(format!(
        "Forward differences evaluate N + 1 = {} losses for the same gradient: {ratios} backprop's multiplications{time}. Of N + 1 only the 1 is negligible.",
        whole(row.tally_performed.evaluations),
    ))
}

fn central_sentence(row: &CostRow) -> Option<String> {
    let ratios = both(
        row.multiplications_to_backprop,
        row.multiplications_performed_to_backprop,
    )?;
    Some(format!(
        "Central differences evaluate 2N = {} losses: {ratios} backprop's multiplications.",
        whole(row.tally_performed.evaluations),
    ))
}

fn incremental_sentence(row: &CostRow) -> Option<String> {
    let ratios = both(
        row.multiplications_to_backprop,
        row.multiplications_performed_to_backprop,
    )?;
    let time = row.seconds_to_backprop.map_or(String::new(), |ratio| {
        format!(", and {} times its time", times(ratio))
    });
    let wide = |exponent: Option<f64>| match exponent? {
        exponent if exponent <= 1.0 => Some("stays below a constant".to_owned()),
        exponent if exponent < 2.0 => Some("grows as √N".to_owned()),
        _ => Some("grows as N".to_owned()),
    };
    let depth = match (row.hidden().len(), row.growth.ratio_limit) {
        (0, _) => "Without a hidden layer a perturbation affects the loss directly.".to_owned(),
        (1, _) => "With one hidden layer the dense factor is about n_L, the number of outputs, however wide that layer is.".to_owned(),
        (depth, limit) => {
            let hidden = match limit {
                Some(limit) => format!("approaches {}", times(limit)),
                None => wide(row.growth.hidden_limit)?,
            };
            format!(
                "With {} the dense factor {hidden} as they widen while inputs and outputs stay as they are, and {} if these widen as well: the next layer is updated by single products, later layers are recomputed.",
                counted(depth, "hidden layer"),
                wide(row.growth.all_limit)?,
            )
        }
    };
    Some(format!(
        "Computing only what each perturbation changes, the same N + 1 losses take {ratios} backprop's multiplications{time}. {depth}"
    ))
}

/// Tells whether any count of a network differs among the forms of inputs.
pub(super) fn depends_on_inputs(network: &[&CostRow]) -> bool {
    let mut counts = network.iter().map(|row| row.multiplications_by_inputs);
    counts.any(|of| of.unit != of.dense || of.standard != of.dense)
}

/// Returns what zeros and equal inputs save the best methods, relative to backprop on the same form
/// of inputs.
fn data_sentence(network: &[&CostRow]) -> Option<String> {
    let find = |label: &str| network.iter().find(|row| row.label == label);
    let backprop = find(BACKPROP)?.multiplications_by_inputs;
    let methods = [
        (INCREMENTAL, "incremental differences"),
        (
            "forward-difference/cancellation-free",
            "cancellation-free ones",
        ),
        ("forward-mode/incremental", "incremental forward mode"),
    ];
    if !depends_on_inputs(network) {
        return None;
    }
    let of = |(label, name): (&str, &str)| {
        let row = find(label)?.multiplications_by_inputs;
        let quotient = |count: u64, base: u64| times(count as f64 / base as f64);
        Some(format!(
            "{name} {}, {} and {} times",
            quotient(row.unit, backprop.unit),
            quotient(row.standard, backprop.standard),
            quotient(row.dense, backprop.dense),
        ))
    };
    let found: Vec<String> = methods.into_iter().filter_map(of).collect();
    (!found.is_empty()).then(|| {
        format!(
            "The inputs decide much of it. Of backprop's multiplications, both performed on the same rows, with unit scaling, standardized, and without any zero or equal value: {}.",
            found.join("; ")
        )
    })
}

/// Returns one sentence per number of hidden layers: the first and the last local exponent of the
/// dense multiplications, and the limit.
fn growth_sentences(exponents: &[LocalExponent]) -> Vec<String> {
    let named = [
        (BACKPROP, "backprop"),
        (INCREMENTAL, "incremental differences"),
        (FULL, "full differences"),
    ];
    let counts = || {
        let all = exponents.iter();
        all.filter(|exponent| exponent.quantity == "multiplications")
    };
    let mut depths: Vec<usize> = counts().map(|exponent| exponent.hidden_layers).collect();
    depths.dedup();
    let sentence = |depth: usize| {
        let of = |(label, name): (&str, &str)| {
            let own =
                || counts().filter(move |own| own.method == label && own.hidden_layers == depth);
            let (first, last) = (own().next()?, own().next_back()?);
            let limit = last
                .limit
                .map_or(String::new(), |limit| format!(", limit {limit}"));
            Some(format!(
                "{:.2} to {:.2} ({name}{limit})",
                first.exponent, last.exponent
            ))
        };
        let found: Vec<String> = named.into_iter().filter_map(of).collect();
        let all = || counts().filter(move |own| own.hidden_layers == depth);
        let (first, last) = (all().next()?, all().next_back()?);
        let widened = match last.layers.as_str() {
            "all" => "all layers widen",
            _ => "the hidden layers widen and inputs and outputs do not",
        };
        (!found.is_empty()).then(|| {
            format!(
                "From {} to {}, where {widened}, the exponent of N in the dense multiplications between neighbours goes from {}.",
                topology(&first.networks[0]),
                topology(&last.networks[1]),
                found.join(", from ")
            )
        })
    };
    depths.into_iter().filter_map(sentence).collect()
}

/// Returns how the factor of incremental differences grows with depth, at the largest width that
/// has several depths.
fn depth_sentence(rows: &[CostRow]) -> Option<String> {
    let mut own: Vec<&CostRow> = rows.iter().filter(|row| row.label == INCREMENTAL).collect();
    own.sort_by_key(|row| row.hidden().len());
    let several = |width: &usize| own.iter().filter(|row| row.width() == Some(*width)).count() > 1;
    let width = own
        .iter()
        .filter_map(|row| row.width())
        .filter(several)
        .max()?;
    let factor = |row: &&CostRow| Some(times(row.multiplications_to_backprop?));
    let at = own.iter().filter(|row| row.width() == Some(width));
    let depths: Vec<String> = at
        .clone()
        .map(|row| row.hidden().len().to_string())
        .collect();
    let factors: Vec<String> = at.filter_map(factor).collect();
    Some(format!(
        "With {} hidden layers of {width} units incremental differences take {} times backprop's multiplications (dense).",
        depths.join(", "),
        factors.join(", "),
    ))
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
