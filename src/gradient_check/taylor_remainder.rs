//! The order of Taylor's remainder: |f(θ + t·v) − f(θ) − t·g·v| falls as t² if g is the gradient, and
//! as t if it is wrong along v.
//!
//! dolfin-adjoint's `taylor_test` made it a habit. It needs no bound, but tells only where the
//! remainder is well above the noise, so it is evidence beside a verdict and not the verdict.

use super::line::OnLine;
use crate::gradient::finite_difference::failure::Failure;
use crate::parallel::EvaluationThreads;

/// The number of distances, each half of the one before.
const DISTANCES: usize = 4;
/// The range of the first distance.
const FIRST: (f64, f64) = (1.0 / 64.0, 0.25);
/// The first distance in multiples of √(noise/|f|), at which f″t²/2 is 128 times the noise if f″ is
/// of the size of f.
const ABOVE_NOISE: f64 = 16.0;
/// The number of standard deviations of noise below which a remainder tells nothing.
const HIDDEN: f64 = 10.0;

/// Remainders at several distances from θ along a direction.
#[derive(Clone, Debug, PartialEq)]
pub struct TaylorRemainders {
    /// The distances t, each half of the one before.
    pub distances: Vec<f64>,
    /// |f(θ + t·v) − f(θ) − t·g·v| at each.
    pub remainders: Vec<f64>,
    /// The noise below which a remainder tells nothing.
    pub hidden: f64,
}

impl TaylorRemainders {
    /// Evaluates the function on `line`, whose value at θ is `value`, at 4 distances. `slope` is g·v,
    /// and `noise` the standard deviation of a value.
    ///
    /// # Errors
    /// [`Failure`] of an evaluation.
    pub(super) fn new(
        line: &OnLine<'_>,
        value: f64,
        slope: f64,
        noise: f64,
        threads: EvaluationThreads<'_>,
    ) -> Result<Self, Failure> {
        let relative = noise / value.abs();
        let first = if relative.is_finite() {
            (ABOVE_NOISE * relative.sqrt()).clamp(FIRST.0, FIRST.1)
        } else {
            FIRST.0
        };
        let distances: Vec<f64> = (0..DISTANCES)
            .map(|halvings| first / (halvings as f64).exp2())
            .collect();
        let values = threads.map(DISTANCES, |at| line.finite(distances[at]));
        let values = values.map_err(|error| Failure::Threads(error.to_string()))?;
        let mut remainders = Vec::new();
        for (value_there, distance) in values.into_iter().zip(&distances) {
            remainders.push((value_there? - value - distance * slope).abs());
        }
        Ok(Self {
            distances,
            remainders,
            hidden: HIDDEN * noise,
        })
    }

    /// Returns the orders at which the remainder falls, log₂ of its ratio from each distance to the
    /// next, as far as it is above the noise: near 2 if the gradient is right, near 1 if it is wrong.
    pub fn orders(&self) -> Vec<f64> {
        let clear = self.remainders.iter().take_while(|&&r| r > self.hidden);
        let clear: Vec<f64> = clear.copied().collect();
        let pairs = clear.windows(2);
        pairs.map(|pair| (pair[0] / pair[1]).log2()).collect()
    }
}
