//! The error of finite differences over the increment: the rows that `nplus1 check --sweep` leaves
//! behind, one a method and increment.

use serde::{Deserialize, Serialize};

/// What was asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// Layer sizes.
    pub layers: Vec<usize>,
    /// The model whose θ it is; without one, θ as training begins with it.
    pub weights: Option<String>,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Whether methods that take long were measured, too.
    pub full: bool,
}

/// One method at one increment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    /// As configs spell it.
    pub method: String,
    /// The same.
    pub evaluation: String,
    /// The same.
    pub arithmetic: String,
    /// The same.
    pub summation: String,
    /// `f32` or `f64`.
    pub precision: String,
    /// h.
    pub increment: f64,
    /// ‖ĝ − g‖₂/‖g‖₂; none if h is lost in θ.
    pub measured: Option<f64>,
    /// What it should be.
    pub predicted: Option<f64>,
    /// Whether every element is within its bound.
    pub passed: bool,
}

impl SweepRow {
    /// The method in full, which tells its curve from others.
    pub fn label(&self) -> String {
        let way = match (self.evaluation.as_str(), self.arithmetic.as_str()) {
            ("incremental", "plain") => "incremental".to_owned(),
            ("incremental", arithmetic) => arithmetic.to_owned(),
            (evaluation, _) => format!("{evaluation}, {}", self.summation),
        };
        format!("{}, {way}, {}", self.method, self.precision)
    }
}

/// The rows of each curve, in the order of their first rows; of each curve from the largest increment
/// to the smallest.
pub fn curves(rows: &[SweepRow]) -> Vec<(String, Vec<&SweepRow>)> {
    let mut curves: Vec<(String, Vec<&SweepRow>)> = Vec::new();
    for row in rows {
        let label = row.label();
        match curves.iter_mut().find(|(other, _)| *other == label) {
            Some((_, own)) => own.push(row),
            None => curves.push((label, vec![row])),
        }
    }
    for (_, own) in &mut curves {
        own.sort_by(|a, b| b.increment.total_cmp(&a.increment));
    }
    curves
}
