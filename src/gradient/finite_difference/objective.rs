//! The gradient of any function by finite differences, with its evaluations distributed over
//! threads.
//!
//! The evaluations of a gradient are independent and numbered, θ itself first. Each thread takes
//! the next number, perturbs its own copy of θ in place, evaluates, and restores θ; so a slow
//! evaluation delays no other. The quotients are formed after the last evaluation, so the bits do
//! not depend on the distribution. A failed evaluation prevents later ones from starting, never
//! earlier ones: the reported failure is the first in order, on any number of threads.
//!
//! Every h is checked before the first evaluation. The divisor is the distance as rounded,
//! (θ + h) − θ.

use super::failure::{EvaluationPoint, Failure};
use super::noise::NoiseEstimate;
use super::objective_evaluation::{ObjectiveEvaluator, rounded};
use super::objective_noise::{self, NearbyNoise, direction};
use super::{Arithmetic, Increment, Scheme, increment, quotient, richardson};
use crate::gradient::Control;
use crate::model::Objective;
use crate::numeric::statistics::t_quantile;
use crate::numeric::{Precision, Real};
use crate::parallel::EvaluationThreads;

/// The number of parameters along which [`Increment::Noise`] estimates derivatives.
const SAMPLED_PARAMETERS: usize = 4;

/// The probability that normal noise of a value is within what an error estimate allows for it.
const CONFIDENCE: f64 = 0.998;

/// The options of a finite-difference gradient of any function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Differences {
    /// One-sided or two-sided.
    pub scheme: Scheme,
    /// The rule that chooses h, for each parameter separately. [`Increment::Noise`] takes at least
    /// 17 further evaluations (central: 25), fewer if N < 4.
    pub increment: Increment,
    /// The number of quotients, at h, h/2, … h/2^(levels − 1), that are extrapolated to h → 0; 1:
    /// no extrapolation.
    pub levels: usize,
    /// Whether the errors of an extrapolated gradient are estimated. Where the increment's rule does
    /// not measure the noise, that takes 9 further evaluations, mostly, and 25 where it is well above
    /// round-off.
    pub errors: bool,
}

/// A gradient, with its error estimate and its cost.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientEstimate {
    /// The gradient, `(N,)`.
    pub gradient: Vec<f64>,
    /// An estimate of each partial derivative's error, `(N,)`, if it was asked for: what truncation
    /// and the measured noise of the values leave. Infinite where the noise could not be measured.
    pub errors: Option<Vec<f64>>,
    /// The value at θ, if the scheme evaluates it.
    pub value: Option<f64>,
    /// The number of evaluations: levels·N + 1 or levels·2N, and those of the noise measurement.
    pub evaluations: u64,
    /// The measurement of [`Increment::Noise`]: ε, and h relative to max(1, |θ|).
    pub noise: Option<(f64, f64)>,
}

impl Differences {
    /// Forward differences: N + 1 evaluations, `auto` increment, no extrapolation.
    pub const FORWARD: Self = Self {
        scheme: Scheme::Forward,
        increment: Increment::Auto,
        levels: 1,
        errors: false,
    };
    /// Central differences: 2N evaluations, `auto` increment, no extrapolation.
    pub const CENTRAL: Self = Self {
        scheme: Scheme::Central,
        ..Self::FORWARD
    };

    /// Returns the number of evaluations of a gradient of `parameters` partial derivatives,
    /// levels·N + 1 (forward) or levels·2N (central), without those that measure noise.
    pub fn evaluations(&self, parameters: usize) -> u64 {
        self.scheme.evaluations((self.levels * parameters) as u64)
    }

    /// Computes the gradient of `objective` at `theta`, `(N,)`. `threads` are those of a
    /// [`Workers`](crate::parallel::Workers), or [`EvaluationThreads::Waiting`].
    ///
    /// ```
    /// use nplus1::gradient::finite_difference::Differences;
    /// use nplus1::model::Function;
    /// use nplus1::parallel::Workers;
    ///
    /// let rosenbrock = Function::new(2, |x: &[f64]| {
    ///     (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2)
    /// });
    /// let workers = Workers::new(None)?;
    /// let estimate = Differences::FORWARD.gradient(&rosenbrock, &[-1.2, 1.0], &workers)?;
    /// assert_eq!(estimate.evaluations, 3); // N + 1
    /// assert!((estimate.gradient[0] - -215.6).abs() < 1e-4);
    /// assert!((estimate.gradient[1] - -88.0).abs() < 1e-4);
    /// # Ok::<(), nplus1::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Failure`] if θ's length, the number of levels or an increment is out of range, a value is
    /// not finite, or the noise cannot be measured.
    ///
    /// # Panics
    /// If the objective panics; no further evaluation starts then.
    pub fn gradient<'a>(
        &self,
        objective: &dyn Objective,
        theta: &[f64],
        threads: impl Into<EvaluationThreads<'a>>,
    ) -> Result<GradientEstimate, Failure> {
        self.gradient_with_control(objective, theta, threads, &Control::default())
    }

    /// Computes the gradient as [`Differences::gradient`] does, and checks and updates `control`
    /// at each evaluation.
    ///
    /// # Errors
    /// Those of [`Differences::gradient`], and [`Failure::Stopped`].
    pub fn gradient_with_control<'a>(
        &self,
        objective: &dyn Objective,
        theta: &[f64],
        threads: impl Into<EvaluationThreads<'a>>,
        control: &Control,
    ) -> Result<GradientEstimate, Failure> {
        let evaluator = ObjectiveEvaluator {
            objective,
            theta,
            threads: threads.into(),
            control,
        };
        self.estimate(&evaluator, None)
    }

    /// Computes the gradient as [`Differences::gradient_with_control`] does, with the given h of
    /// each parameter, `(N,)`, in place of the rule's.
    ///
    /// # Errors
    /// Those of [`Differences::gradient_with_control`], and [`Failure::Increments`].
    pub fn gradient_with_increments<'a>(
        &self,
        objective: &dyn Objective,
        theta: &[f64],
        increments: &[f64],
        threads: impl Into<EvaluationThreads<'a>>,
        control: &Control,
    ) -> Result<GradientEstimate, Failure> {
        let evaluator = ObjectiveEvaluator {
            objective,
            theta,
            threads: threads.into(),
            control,
        };
        self.estimate(&evaluator, Some(increments))
    }

    fn estimate(
        &self,
        evaluator: &ObjectiveEvaluator<'_>,
        given: Option<&[f64]>,
    ) -> Result<GradientEstimate, Failure> {
        let (objective, theta) = (evaluator.objective, evaluator.theta);
        self.check(objective, theta)?;
        check_count(given, theta)?;
        let (mut evaluations, mut measured) = (0, None);
        if self.increment == Increment::Noise && given.is_none() {
            let (noise, increment, taken) = self.measure_noise(evaluator)?;
            evaluations = taken;
            measured = Some((noise, increment));
        }
        let relative = measured.as_ref().map(|&(_, increment)| increment);
        let increments = self.increments(evaluator, relative, given)?;
        let values = self.values(evaluator, &increments)?;
        evaluations += values.len() as u64;
        let errors = self.errors && self.levels > 1;
        let noise = match &measured {
            _ if !errors => None,
            Some((noise, _)) => Some(objective_noise::of_estimate(noise)),
            None => {
                let noise = objective_noise::near_or_unknown(evaluator, values[0])?;
                evaluations += noise.evaluations;
                Some(noise)
            }
        };
        let (gradient, estimates) = self.quotients(evaluator, &increments, &values, noise);
        Ok(GradientEstimate {
            gradient,
            errors: errors.then_some(estimates),
            value: (self.scheme == Scheme::Forward).then(|| values[0]),
            evaluations,
            noise: measured.map(|(noise, increment)| (noise.deviation, increment)),
        })
    }

    fn check(&self, objective: &dyn Objective, theta: &[f64]) -> Result<(), Failure> {
        let (found, parameters) = (theta.len(), objective.parameters());
        if found != parameters {
            return Err(Failure::Length { found, parameters });
        }
        if parameters == 0 {
            return Err(Failure::NoParameters);
        }
        if !(1..=richardson::MOST_LEVELS).contains(&self.levels) {
            let levels = self.levels;
            return Err(Failure::Levels { levels });
        }
        match theta.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(index) => Err(Failure::Theta {
                parameter: objective.name(index),
                value: theta[index],
            }),
        }
    }

    /// Returns h of each parameter, `(N,)`, given or by the rule.
    ///
    /// # Errors
    /// θ or an increment is refused.
    pub(super) fn checked_increments(
        &self,
        evaluator: &ObjectiveEvaluator<'_>,
        given: Option<&[f64]>,
    ) -> Result<Vec<f64>, Failure> {
        self.check(evaluator.objective, evaluator.theta)?;
        check_count(given, evaluator.theta)?;
        self.increments(evaluator, None, given)
    }

    /// Returns h of each parameter at the first level; refuses an h that is not positive or does
    /// not change θ.
    fn increments(
        &self,
        evaluator: &ObjectiveEvaluator<'_>,
        noise: Option<f64>,
        given: Option<&[f64]>,
    ) -> Result<Vec<f64>, Failure> {
        // Extrapolation removes the leading truncation error, so the measured h is that of the last
        // level.
        let noise = noise.map_or(f64::NAN, |h| h * ((self.levels - 1) as f64).exp2());
        let precision = evaluator.objective.precision();
        let rule = |value: f64| match precision {
            Precision::F32 => self.increment_in::<f32>(self.increment, value, noise),
            Precision::F64 => self.increment_in::<f64>(self.increment, value, noise),
        };
        let checked = |(index, &value): (usize, &f64)| {
            let increment = given.map_or_else(|| rule(value), |given| given[index]);
            let smallest = self.at_level(increment, self.levels - 1);
            let (above, below) = (value + increment, value - increment);
            let inside =
                rounded(precision, above).is_finite() && rounded(precision, below).is_finite();
            if !(increment > 0.0 && inside) {
                return Err(Failure::Increment {
                    parameter: evaluator.objective.name(index),
                    value,
                    increment,
                });
            }
            let vanishes = |moved| rounded(precision, moved) == value;
            if vanishes(value + smallest) || vanishes(value - smallest) {
                let single = Differences { levels: 1, ..*self };
                let (least, auto) = match precision {
                    Precision::F32 => (
                        f64::from((value as f32).abs().next_up()) - value.abs(),
                        single.increment_in::<f32>(Increment::Auto, value, f64::NAN),
                    ),
                    Precision::F64 => (
                        value.abs().next_up() - value.abs(),
                        single.increment_in::<f64>(Increment::Auto, value, f64::NAN),
                    ),
                };
                return Err(Failure::Vanishes {
                    parameter: evaluator.objective.name(index),
                    value,
                    increment: smallest,
                    least,
                    auto,
                });
            }
            Ok(increment)
        };
        evaluator.theta.iter().enumerate().map(checked).collect()
    }

    /// Returns h of a parameter at the first level, by `rule`, in precision `R`.
    fn increment_in<R: Real>(&self, rule: Increment, value: f64, noise: f64) -> f64 {
        match rule {
            Increment::Auto if self.levels > 1 => increment::power_of_two(
                richardson::relative::<R>(self.scheme, self.levels) * scale(value),
            ),
            rule => rule
                .for_unit::<R>(self.scheme, Arithmetic::Plain, value.abs(), noise)
                .to_f64(),
        }
    }

    fn at_level(&self, increment: f64, level: usize) -> f64 {
        increment / (level as f64).exp2()
    }

    /// Returns the index of the parameter that evaluation `number` perturbs, and the increment;
    /// `None` for θ itself.
    fn perturbation(&self, increments: &[f64], number: usize) -> Option<(usize, f64)> {
        let (number, sign) = match self.scheme {
            Scheme::Forward => (number.checked_sub(1)?, 1.0),
            Scheme::Central => (
                number / 2,
                if number.is_multiple_of(2) { 1.0 } else { -1.0 },
            ),
        };
        let (index, level) = (number / self.levels, number % self.levels);
        Some((index, sign * self.at_level(increments[index], level)))
    }

    /// Evaluates the objective at all points; returns the values in order.
    fn values(
        &self,
        evaluator: &ObjectiveEvaluator<'_>,
        increments: &[f64],
    ) -> Result<Vec<f64>, Failure> {
        let count = self.evaluations(increments.len());
        let perturbation = |number| self.perturbation(increments, number);
        let precision = evaluator.objective.precision();
        let values =
            evaluator.values(count as usize, |number, theta| match perturbation(number) {
                None => 0..0,
                Some((index, increment)) => {
                    theta[index] = rounded(precision, theta[index] + increment);
                    index..index + 1
                }
            })?;
        values.finite(|number| match perturbation(number) {
            None => EvaluationPoint::Theta,
            Some((index, increment)) => EvaluationPoint::Perturbed {
                parameter: evaluator.objective.name(index),
                value: evaluator.theta[index],
                increment,
            },
        })
    }

    /// Returns the partial derivatives and the estimates of their errors, with the given noise.
    fn quotients(
        &self,
        evaluator: &ObjectiveEvaluator<'_>,
        increments: &[f64],
        values: &[f64],
        noise: Option<NearbyNoise>,
    ) -> (Vec<f64>, Vec<f64>) {
        let precision = evaluator.objective.precision();
        let unit = match precision {
            Precision::F64 if !noise.is_some_and(|noise| noise.single) => f64::UNIT_ROUNDOFF,
            _ => f32::UNIT_ROUNDOFF,
        };
        let deviations = noise.map_or(0.0, |noise| t_quantile(CONFIDENCE, noise.freedom));
        // At least one rounding of each value.
        let allowed = |value: f64| {
            noise.map_or(0.0, |noise| {
                deviations * noise.at(value).max(unit * value.abs())
            })
        };
        let mut levels = vec![richardson::Entry::default(); self.levels];
        let moved = |value| rounded(precision, value);
        let extrapolated = |(index, (&value, &increment)): (usize, (&f64, &f64))| {
            for (level, entry) in levels.iter_mut().enumerate() {
                let h = self.at_level(increment, level);
                let number = index * self.levels + level;
                let (high, low, distance) = match self.scheme {
                    Scheme::Forward => (number + 1, 0, moved(value + h) - value),
                    Scheme::Central => (
                        2 * number,
                        2 * number + 1,
                        moved(value + h) - moved(value - h),
                    ),
                };
                let (high, low) = (values[high], values[low]);
                *entry = richardson::Entry {
                    value: quotient::quotient(high - low, distance),
                    noise: allowed(high).hypot(allowed(low)) / distance,
                };
            }
            richardson::table(self.scheme, &mut levels)
        };
        let parameters = evaluator.theta.iter().zip(increments).enumerate();
        parameters.map(extrapolated).unzip()
    }

    /// Measures the noise along a random direction, and chooses the increment, relative to
    /// max(1, |θ|), that minimizes the sum of squared errors. The root mean square of the
    /// derivatives along a few parameters represents all of them. Returns the noise, the increment
    /// and the number of evaluations.
    fn measure_noise(
        &self,
        evaluator: &ObjectiveEvaluator<'_>,
    ) -> Result<(NoiseEstimate, f64, u64), Failure> {
        let parameters = evaluator.theta.len();
        let noise = objective_noise::along(evaluator, &direction(evaluator.theta))?;
        let mut evaluations = noise.evaluations;
        let sampled = parameters.min(SAMPLED_PARAMETERS);
        let mut squares = 0.0;
        for number in 0..sampled {
            let index = number * parameters / sampled;
            let derivative = noise.derivative::<Failure>(self.scheme, |distances, values| {
                evaluator.values_on_line(distances, values, |distance, theta| {
                    theta[index] += distance * scale(theta[index]);
                    index..index + 1
                })
            })?;
            evaluations += derivative.evaluations;
            squares += derivative.magnitude * derivative.magnitude;
        }
        let derivative = (squares / sampled as f64).sqrt();
        let increment = noise.increment(self.scheme, derivative);
        Ok((noise, increment, evaluations))
    }
}

/// Refuses increments whose number is not that of the parameters.
fn check_count(given: Option<&[f64]>, theta: &[f64]) -> Result<(), Failure> {
    match given.filter(|given| given.len() != theta.len()) {
        None => Ok(()),
        Some(given) => Err(Failure::Increments {
            found: given.len(),
            parameters: theta.len(),
        }),
    }
}

/// Returns max(1, |θ|), to which relative increments refer.
pub(super) fn scale(value: f64) -> f64 {
    value.abs().max(1.0)
}
