//! One method over increments: measured, and predicted.

use serde::Serialize;

use super::rows::MethodRow;
use crate::gradient_check::{CheckedMethod, Minimum};
use crate::study::sweep;

/// A curve.
#[derive(Clone, Debug, Serialize)]
pub struct CurveSummary {
    /// As configs spell it.
    pub method: &'static str,
    /// The same.
    pub evaluation: &'static str,
    /// The same.
    pub arithmetic: &'static str,
    /// The same.
    pub summation: &'static str,
    /// `f32` or `f64`.
    pub precision: &'static str,
    /// What it should come down to; none if every increment is lost.
    pub predicted: Option<CurveMinimum>,
    /// What it came down to.
    pub measured: Option<CurveMinimum>,
    /// From the largest increment to the smallest.
    pub points: Vec<CurvePoint>,
}

/// Where a curve is lowest.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CurveMinimum {
    /// The best h; none of a curve without a V.
    pub increment: Option<f64>,
    /// The relative error there; without a V, at the smallest h.
    pub floor: f64,
}

/// One increment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct CurvePoint {
    /// h.
    pub increment: f64,
    /// ‖ĝ − g‖₂/‖g‖₂; none if h is lost in θ.
    pub measured: Option<f64>,
    /// What it should be.
    pub predicted: Option<f64>,
    /// Whether every element is within its bound.
    pub passed: bool,
}

impl CurveSummary {
    /// Of the rows of `method` at their increments, each with the error predicted; `None` if the method
    /// is no difference.
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

    /// The same, as a study keeps it: a row an increment.
    pub fn rows(&self) -> impl Iterator<Item = sweep::SweepRow> {
        self.points.iter().map(|point| sweep::SweepRow {
            method: self.method.to_owned(),
            evaluation: self.evaluation.to_owned(),
            arithmetic: self.arithmetic.to_owned(),
            summation: self.summation.to_owned(),
            precision: self.precision.to_owned(),
            increment: point.increment,
            measured: point.measured,
            predicted: point.predicted,
            passed: point.passed,
        })
    }

    /// `full, differences`, `cancellation-free`.
    pub fn way(&self) -> String {
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
