//! A function along a line through θ, as a function of one number.

use crate::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use crate::model::Objective;
use crate::numeric::Precision;

/// A function on the line through θ along a direction, as a function of the distance.
pub(super) struct OnLine<'a> {
    pub(super) objective: &'a dyn Objective,
    pub(super) theta: &'a [f64],
    pub(super) direction: &'a [f64],
}

impl OnLine<'_> {
    /// Returns the value at `distance` from θ.
    ///
    /// # Errors
    /// [`Failure`]: the function fails, or its value is not finite.
    pub(super) fn finite(&self, distance: f64) -> Result<f64, Failure> {
        let place = EvaluationPoint::Line { distance };
        finite(self.try_value(&[distance]), place)
    }
}

impl Objective for OnLine<'_> {
    fn parameters(&self) -> usize {
        1
    }

    fn value(&self, distance: &[f64]) -> f64 {
        self.try_value(distance).unwrap_or(f64::NAN)
    }

    fn try_value(&self, distance: &[f64]) -> Result<f64, String> {
        let moved = self.theta.iter().zip(self.direction);
        let theta: Vec<f64> = moved.map(|(theta, v)| theta + distance[0] * v).collect();
        self.objective.try_value(&theta)
    }

    fn precision(&self) -> Precision {
        self.objective.precision()
    }

    fn name(&self, _: usize) -> String {
        "the distance from θ along a direction".to_owned()
    }
}

/// Returns a finite value, or the failure at `place`.
pub(super) fn finite(outcome: Result<f64, String>, place: EvaluationPoint) -> Result<f64, Failure> {
    match outcome {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) => Err(Failure::NotFinite { value, place }),
        Err(message) => Err(Failure::Function { message, place }),
    }
}
