//! The rows of a sweep as a page reads them: the error of finite differences as a function of the
//! increment, one row per method and increment. `nplus1 check --sweep` records more of each.

use serde::{Deserialize, Serialize};

/// The parameters of a sweep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepPlan {
    /// Layer sizes.
    pub layers: Vec<usize>,
    /// The model file that θ was read from; without one, θ is the initial θ of training.
    pub weights: Option<String>,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Random directions of the check, if it was along directions alone.
    #[serde(default)]
    pub directions: Option<u32>,
    /// Whether slow methods were measured as well.
    pub full: bool,
}

/// One method at one increment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepRow {
    /// Name of the method, spelled as in a config.
    pub method: String,
    /// Reuse of a perturbed loss, spelled as in a config.
    pub evaluation: String,
    /// Arithmetic of a difference, spelled as in a config.
    pub arithmetic: String,
    /// Summation over the rows, spelled as in a config.
    pub summation: String,
    /// `f32` or `f64`.
    pub precision: String,
    /// The increment h.
    pub increment: f64,
    /// ‖ĝ − g‖₂/‖g‖₂; `None` if h is lost in θ.
    #[serde(alias = "relative_error")]
    pub measured: Option<f64>,
    /// The predicted ‖ĝ − g‖₂/‖g‖₂.
    pub predicted: Option<f64>,
    /// Whether the gradient is right; `None` if that cannot be told.
    pub passed: Option<bool>,
}

impl SweepRow {
    /// Returns the full name of the method, which identifies its curve.
    pub fn label(&self) -> String {
        let variant = match (self.evaluation.as_str(), self.arithmetic.as_str()) {
            ("incremental", "plain") => "incremental".to_owned(),
            ("incremental", arithmetic) => arithmetic.to_owned(),
            (evaluation, _) => format!("{evaluation}, {}", self.summation),
        };
        format!("{}, {variant}, {}", self.method, self.precision)
    }
}

/// Groups the rows by curve, in the order of each curve's first row, and sorts each curve from the
/// largest increment to the smallest.
pub fn curves(rows: &[SweepRow]) -> Vec<(String, Vec<&SweepRow>)> {
    let mut curves: Vec<(String, Vec<&SweepRow>)> = Vec::new();
    for row in rows {
        let label = row.label();
        match curves.iter_mut().find(|(other, _)| *other == label) {
            Some((_, curve)) => curve.push(row),
            None => curves.push((label, vec![row])),
        }
    }
    for (_, curve) in &mut curves {
        curve.sort_by(|a, b| b.increment.total_cmp(&a.increment));
    }
    curves
}
