//! Measured and predicted errors of one method over increments.

use serde::Serialize;

use super::rows::MethodRow;
use crate::gradient_check::{CheckedMethod, Minimum};

/// Errors of one method over increments.
#[derive(Clone, Debug, Serialize)]
pub struct CurveSummary {
    /// Name of the method in configs.
    pub method: &'static str,
    /// Evaluation in configs.
    pub evaluation: &'static str,
    /// Arithmetic in configs.
    pub arithmetic: &'static str,
    /// Summation in configs.
    pub summation: &'static str,
    /// `f32` or `f64`.
    pub precision: &'static str,
    /// Predicted minimum; absent if every increment is lost.
    pub predicted: Option<CurveMinimum>,
    /// Measured minimum.
    pub measured: Option<CurveMinimum>,
    /// Points from the largest increment to the smallest.
    pub points: Vec<CurvePoint>,
}

/// Minimum of a curve.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CurveMinimum {
    /// The best h; none for a curve that has no minimum.
    pub increment: Option<f64>,
    /// Relative error there, or at the smallest h.
    pub floor: f64,
}

/// Point of a curve.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CurvePoint {
    /// Increment h.
    pub increment: f64,
    /// ‖ĝ − g‖₂/‖g‖₂; none if h is lost in θ.
    pub measured: Option<f64>,
    /// Predicted relative error.
    pub predicted: Option<f64>,
    /// Whether the gradient is right; none if that cannot be told.
    pub passed: Option<bool>,
}

impl CurveSummary {
    /// Makes a curve from the rows of `method` at their increments, each with its predicted error;
    /// `None` if the method is not a difference.
    pub fn new(
        method: &CheckedMethod,
        rows: &[(f64, &MethodRow, Option<f64>)],
        predicted: Option<Minimum>,
    ) -> Option<Self> {
        let config = method.gradient.difference()?;
        let measured: Vec<(f64, f64)> = rows
            .iter()
            .filter_map(|(h, row, _)| Some((*h, row.errors.relative_error?)))
            .collect();
        let mut points: Vec<CurvePoint> = rows
            .iter()
            .map(|&(increment, row, predicted)| CurvePoint {
                increment,
                measured: row.errors.relative_error,
                predicted,
                passed: row.passed,
            })
            .collect();
        points.sort_by(|a, b| b.increment.total_cmp(&a.increment));
        Some(Self {
            method: config.scheme.name(),
            evaluation: config.reuse.name(),
            arithmetic: config.arithmetic.name(),
            summation: config.summation.name(),
            precision: method.precision.name(),
            predicted: predicted.map(CurveMinimum::from),
            measured: Minimum::of(&measured, config.arithmetic).map(CurveMinimum::from),
            points,
        })
    }

    /// Returns the variant, such as `full, differences` or `cancellation-free`.
    pub fn variant(&self) -> String {
        match (self.evaluation, self.arithmetic) {
            ("incremental", "plain") => "incremental".to_owned(),
            ("incremental", arithmetic) => arithmetic.to_owned(),
            (evaluation, _) => format!("{evaluation}, {}", self.summation),
        }
    }
}

impl From<Minimum> for CurveMinimum {
    fn from(Minimum { increment, floor }: Minimum) -> Self {
        Self { increment, floor }
    }
}
