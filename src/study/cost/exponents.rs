//! Local exponents: how a quantity grows with N from one network to the next wider one.
//!
//! Counts are deterministic and follow no single power of N, so there is nothing to fit and no
//! interval to give. Between two neighbours the exponent is ln(y₂/y₁)/ln(N₂/N₁); beside it stands the
//! limit that the formula has for wide layers ([`super::MethodGrowth`]). Networks that differ in
//! their number of hidden layers have no exponent of N in common.

use serde::{Deserialize, Serialize};

use super::CostRow;

/// The growth of a quantity from one network to the next wider one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalExponent {
    /// The method's label.
    pub method: String,
    /// `multiplications` (of a plain implementation), `multiplications_performed`, `seconds`.
    pub quantity: String,
    /// The layers that widen: `hidden`, or `all`, inputs and outputs included.
    pub layers: String,
    /// Number of hidden layers of both networks.
    pub hidden_layers: usize,
    /// Layer sizes of both networks.
    pub networks: [Vec<usize>; 2],
    /// Number of parameters of both networks.
    pub parameters: [usize; 2],
    /// The exponent of N between them.
    pub exponent: f64,
    /// The exponent in the limit of wide layers; of `multiplications` only.
    pub limit: Option<f64>,
}

/// A quantity's name and its value in a row.
type Quantity = (&'static str, fn(&CostRow) -> Option<f64>);

/// The quantities that have exponents.
const QUANTITIES: [Quantity; 3] = [
    ("multiplications", |row| {
        Some(row.tally?.multiplications as f64)
    }),
    ("multiplications_performed", |row| {
        Some(row.tally_performed.multiplications as f64)
    }),
    ("seconds", |row| row.seconds),
];

/// Computes the exponents of every method between neighbours of the same number of hidden layers,
/// quantity by quantity.
pub fn local_exponents(rows: &[CostRow]) -> Vec<LocalExponent> {
    let mut depths: Vec<usize> = rows.iter().map(|row| row.hidden().len()).collect();
    depths.sort_unstable();
    depths.dedup();
    let mut exponents = Vec::new();
    for depth in depths {
        for (quantity, value) in QUANTITIES {
            for label in super::summary::labels(rows) {
                let mut group: Vec<&CostRow> = (rows.iter())
                    .filter(|row| row.label == label && row.hidden().len() == depth)
                    .collect();
                group.sort_by_key(|row| row.parameters);
                for pair in group.windows(2) {
                    exponents.extend(between([pair[0], pair[1]], (quantity, value)));
                }
            }
        }
    }
    exponents
}

/// Returns the exponent between two rows of one method; `None` if N does not grow, a value is
/// missing, or the networks belong to no family.
fn between(pair: [&CostRow; 2], (quantity, value): Quantity) -> Option<LocalExponent> {
    let [first, last] = pair;
    let widened = widened_layers(pair)?;
    let n = pair.map(|row| (row.parameters as f64).ln());
    let (low, high) = (value(first)?, value(last)?);
    if n[1] <= n[0] || low <= 0.0 || high <= 0.0 {
        return None;
    }
    let limit = match widened {
        "all" => last.growth.all_limit,
        _ => last.growth.hidden_limit,
    };
    Some(LocalExponent {
        method: first.label.clone(),
        quantity: quantity.to_owned(),
        layers: widened.to_owned(),
        hidden_layers: first.hidden().len(),
        networks: pair.map(|row| row.layers.clone()),
        parameters: pair.map(|row| row.parameters),
        exponent: (high / low).ln() / (n[1] - n[0]),
        limit: limit.filter(|_| quantity == "multiplications"),
    })
}

/// Returns which layers widen from the first network to the second: the hidden ones, if inputs and
/// outputs are the same and the hidden layers of each are of one width; or all of them.
fn widened_layers([first, last]: [&CostRow; 2]) -> Option<&'static str> {
    let ends = |row: &CostRow| (row.layers[0], row.layers[row.layers.len() - 1]);
    if ends(first) == ends(last) {
        return (first.width().is_some() && last.width().is_some()).then_some("hidden");
    }
    let mut pairs = first.layers.iter().zip(&last.layers);
    pairs.all(|(first, last)| first < last).then_some("all")
}
