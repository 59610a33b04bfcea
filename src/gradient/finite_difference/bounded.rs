//! A partial derivative of any function with a bound of its error, by central differences at
//! several distances.
//!
//! Three quotients, at h, h/2 and h/4, are extrapolated to h → 0; the table of Richardson's
//! extrapolation estimates what truncation is left. The bound adds
//!
//! - twice that estimate;
//! - the noise of the values, 25·ε/(h/4): ε is the measured standard deviation, but at least
//!   u·(|f| + |slope|·max(1, |θ|)), the error of a value whose operations are rounded once each. One
//!   ε over h/4 is the standard deviation of the extrapolated quotient, and 25 of them are room for
//!   many parameters and for an ε that was measured from few values: Student's t of 5 degrees of
//!   freedom exceeds 25 about once in 10⁶;
//! - where f bends at θ, half the difference of the slopes on either side: it does not shrink with
//!   h, so the derivative does not exist.
//!
//! The first h suits the noise, u^(1/7) for round-off. While truncation outweighs noise, further
//! rounds are 16 times closer to θ each; the round with the smallest bound counts. So functions that
//! change over short distances, or end near θ, have derivatives, too.

use super::failure::{EvaluationPoint, Failure};
use super::objective::scale;
use super::{Scheme, increment, quotient, richardson};
use crate::model::Objective;

/// The number of distances of a round.
const LEVELS: usize = 3;
/// The largest number of rounds: 16⁷ reaches from h = 2⁻⁸ to 2⁻³⁶.
const MOST_ROUNDS: usize = 8;
/// The factor of h between two rounds.
const CLOSER: f64 = 16.0;
/// The largest first increment, relative to max(1, |θ|).
const FARTHEST: f64 = 0.125;
/// The factor of the noise in the bound.
const DEVIATIONS: f64 = 25.0;
/// The factor by which the difference of the one-sided slopes shrinks at least when h shrinks by 4,
/// if the function is smooth: it is 4 up to higher orders.
const SMOOTH: f64 = 2.0;

/// A function near θ, whose partial derivatives are wanted with bounds.
pub struct BoundedDerivatives<'a> {
    /// The function.
    pub objective: &'a dyn Objective,
    /// θ, `(N,)`.
    pub theta: &'a [f64],
    /// The value at θ.
    pub value: f64,
    /// The standard deviation ε of the values' noise; 0 if it is not known.
    pub noise: f64,
    /// The unit round-off u of the precision in which the function seems to compute.
    pub unit: f64,
}

/// A partial derivative, and what is known of its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundedDerivative {
    /// The partial derivative.
    pub derivative: f64,
    /// The bound of its error.
    pub bound: f64,
    /// The noise ε that the bound assumes.
    pub noise: f64,
    /// The largest slope from θ to a point of the round: the scale of the derivatives near θ.
    pub slope: f64,
    /// Whether the function bends at θ: then the bound does not shrink with the noise.
    pub bent: bool,
    /// The smallest distance from θ of the round's points.
    pub closest: f64,
    /// The number of evaluations made.
    pub evaluations: u64,
}

impl BoundedDerivatives<'_> {
    /// Computes the partial derivative with respect to parameter `index`: 6 evaluations, and 6 more
    /// for each further round, of which there are at most 7.
    ///
    /// # Errors
    /// [`Failure`] if no round has finite values only: the last failure.
    pub fn derivative(&self, index: usize) -> Result<BoundedDerivative, Failure> {
        let value = self.theta[index];
        let relative_noise = match self.noise / self.value.abs() {
            relative if relative.is_finite() => relative.max(self.unit),
            _ => self.unit,
        };
        let order = (2 * LEVELS + 1) as f64;
        let relative = relative_noise.powf(1.0 / order).min(FARTHEST);
        let mut h = increment::power_of_two(relative * scale(value));
        let mut theta = self.theta.to_vec();
        let mut best: Option<BoundedDerivative> = None;
        let (mut evaluations, mut failure) = (0, None);
        for _ in 0..MOST_ROUNDS {
            if value + h / 4.0 == value || value - h / 4.0 == value {
                break;
            }
            match self.round(index, h, &mut theta) {
                Ok(Round { result, settled }) => {
                    evaluations += result.evaluations;
                    if best.is_none_or(|best| result.bound < best.bound) {
                        best = Some(result);
                    }
                    if settled {
                        break;
                    }
                }
                Err(failed) => {
                    evaluations += 1;
                    failure = Some(failed);
                }
            }
            h /= CLOSER;
        }
        match (best, failure) {
            (Some(best), _) => Ok(BoundedDerivative {
                evaluations,
                ..best
            }),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Failure::Increment {
                parameter: self.objective.name(index),
                value,
                increment: h,
            }),
        }
    }

    /// Makes the quotients at h, h/2 and h/4; `theta` is a copy of θ.
    fn round(&self, index: usize, h: f64, theta: &mut [f64]) -> Result<Round, Failure> {
        let value = self.theta[index];
        let mut quotients = [0.0; LEVELS];
        let mut bends = [0.0; LEVELS];
        let (mut largest, mut slope) = (self.value.abs(), 0f64);
        for (level, (partial, bend)) in quotients.iter_mut().zip(&mut bends).enumerate() {
            let h = h / (level as f64).exp2();
            let (above, below) = (value + h, value - h);
            let high = self.evaluate(index, h, theta)?;
            let low = self.evaluate(index, -h, theta)?;
            *partial = quotient::quotient(high - low, above - below);
            let right = quotient::quotient(high - self.value, above - value);
            let left = quotient::quotient(self.value - low, value - below);
            *bend = (right - left).abs();
            slope = slope.max(right.abs()).max(left.abs());
            largest = largest.max(high.abs()).max(low.abs());
        }
        let (derivative, truncation) = richardson::table(Scheme::Central, &mut quotients);
        let rounding = self.unit * (largest + slope * scale(value));
        let noise = self.noise.max(rounding);
        let closest = h / 4.0;
        let by_noise = DEVIATIONS * noise / closest;
        // Noise alone bends the slopes by √6·ε/h.
        let bent = bends[LEVELS - 1] > by_noise && SMOOTH * bends[LEVELS - 1] > bends[0];
        let by_bend = if bent { bends[LEVELS - 1] / 2.0 } else { 0.0 };
        let bound = 2.0 * truncation + by_noise + by_bend;
        Ok(Round {
            result: BoundedDerivative {
                derivative,
                bound,
                noise,
                slope,
                bent,
                closest,
                evaluations: 2 * LEVELS as u64,
            },
            settled: truncation <= by_noise && !bent,
        })
    }

    /// Evaluates the function with parameter `index` changed by `increment`.
    fn evaluate(&self, index: usize, increment: f64, theta: &mut [f64]) -> Result<f64, Failure> {
        let value = self.theta[index];
        theta[index] = value + increment;
        let outcome = self.objective.try_value(theta);
        theta[index] = value;
        let place = || EvaluationPoint::Perturbed {
            parameter: self.objective.name(index),
            value,
            increment,
        };
        match outcome {
            Ok(value) if value.is_finite() => Ok(value),
            Ok(value) => Err(Failure::NotFinite {
                value,
                place: place(),
            }),
            Err(message) => Err(Failure::Function {
                message,
                place: place(),
            }),
        }
    }
}

/// The result of one round.
struct Round {
    result: BoundedDerivative,
    /// Whether a closer round cannot have a smaller bound.
    settled: bool,
}
