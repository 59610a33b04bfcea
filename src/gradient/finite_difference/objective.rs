//! The gradient of any function by finite differences, its evaluations spread over a team.
//!
//! The evaluations of a gradient are independent: they are numbered (θ itself first), and each
//! worker takes the next one, perturbs its own copy of θ in place, evaluates, restores. So a slow
//! evaluation holds nobody up. The quotients are formed when all have ended: whoever evaluated,
//! the bits are the same. An evaluation that fails keeps later ones from starting, never earlier
//! ones: the failure reported is the first in order, on any number of threads.
//!
//! h is checked for every parameter before the first evaluation, and divided by as it became:
//! (θ + h) − θ.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use ndarray_rand::rand::RngCore;

use super::failure::{EvaluationPoint, Failure};
use super::noise::{self, NoiseEstimate};
use super::{Arithmetic, Increment, Scheme, increment, quotient, richardson};
use crate::gradient::Control;
use crate::model::Objective;
use crate::numeric::random::{Purpose, stream};
use crate::parallel::Workers;

/// Parameters along which derivatives are estimated for [`Increment::NoiseEstimate`].
const PROBES: usize = 4;

/// How a function is differentiated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Differences {
    /// One-sided or two-sided.
    pub scheme: Scheme,
    /// The choice of h, for each parameter on its own. [`Increment::NoiseEstimate`] makes some 20
    /// evaluations besides.
    pub increment: Increment,
    /// Quotients at h, h/2, … h/2^(levels − 1), extrapolated to h → 0; 1: at h only.
    pub levels: usize,
}

/// A gradient, and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientEstimate {
    /// The gradient, `(N,)`.
    pub gradient: Vec<f64>,
    /// With extrapolation: an estimate of each partial derivative's error, `(N,)`.
    pub errors: Option<Vec<f64>>,
    /// The value at θ, where the scheme evaluates it.
    pub value: Option<f64>,
    /// Evaluations made: N + 1 or 2N for each level (θ itself once for all), and those that
    /// measured the noise.
    pub evaluations: u64,
    /// What [`Increment::NoiseEstimate`] found: ε, and h relative to max(1, |θ|).
    pub noise: Option<(f64, f64)>,
}

impl Differences {
    /// Forward differences, N + 1 evaluations: `auto` increment, no extrapolation.
    pub const FORWARD: Self = Self {
        scheme: Scheme::Forward,
        increment: Increment::Auto,
        levels: 1,
    };
    /// Central differences, 2N evaluations: `auto` increment, no extrapolation.
    pub const CENTRAL: Self = Self {
        scheme: Scheme::Central,
        ..Self::FORWARD
    };

    /// Evaluations of a gradient of `parameters` partial derivatives, the measurement of noise
    /// left out: levels·N + 1 (forward), levels·2N (central).
    pub fn evaluations(&self, parameters: usize) -> u64 {
        self.scheme.evaluations((self.levels * parameters) as u64)
    }

    /// The gradient of `objective` at `theta`, `(N,)`.
    ///
    /// ```
    /// use nplus1::gradient::finite_difference::Differences;
    /// use nplus1::model::Function;
    /// use nplus1::parallel::Workers;
    ///
    /// let rosenbrock = Function::new(2, |x: &[f64]| {
    ///     (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2)
    /// });
    /// let team = Team::new(None)?;
    /// let estimate = Differences::FORWARD.gradient(&rosenbrock, &[-1.2, 1.0], &team)?;
    /// assert_eq!(estimate.evaluations, 3); // N + 1
    /// assert!((estimate.gradient[0] - -215.6).abs() < 1e-4);
    /// assert!((estimate.gradient[1] - -88.0).abs() < 1e-4);
    /// # Ok::<(), nplus1::error::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Failure`]: lengths, increments, values that are not finite.
    ///
    /// # Panics
    /// If the objective panics; no further evaluation begins then.
    pub fn gradient(
        &self,
        objective: &dyn Objective,
        theta: &[f64],
        team: &Workers,
    ) -> Result<GradientEstimate, Failure> {
        self.gradient_under(objective, theta, team, &Control::default())
    }

    /// As [`Differences::gradient`], stopped and watched by `control`, evaluation by evaluation.
    ///
    /// # Errors
    /// [`Failure::Stopped`] besides.
    pub fn gradient_under(
        &self,
        objective: &dyn Objective,
        theta: &[f64],
        team: &Workers,
        control: &Control,
    ) -> Result<GradientEstimate, Failure> {
        self.check(objective, theta)?;
        let evaluator = ObjectiveEvaluator {
            objective,
            theta,
            team,
            control,
        };
        let (mut spent, mut measured) = (0, None);
        if self.increment == Increment::Noise {
            let (noise, increment, evaluations) = self.measure(&evaluator)?;
            spent = evaluations;
            measured = Some((noise.deviation, increment));
        }
        let increments = self.increments(&evaluator, measured.map(|(_, increment)| increment))?;
        let values = self.values(&evaluator, &increments)?;
        let (gradient, errors) = self.quotients(theta, &increments, &values);
        Ok(GradientEstimate {
            gradient,
            errors: (self.levels > 1).then_some(errors),
            value: (self.scheme == Scheme::Forward).then(|| values[0]),
            evaluations: spent + values.len() as u64,
            noise: measured,
        })
    }

    fn check(&self, objective: &dyn Objective, theta: &[f64]) -> Result<(), Failure> {
        let (found, parameters) = (theta.len(), objective.parameters());
        if found != parameters {
            return Err(Failure::Length { found, parameters });
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

    /// h of each parameter at the first level; refuses those that would divide by nothing.
    fn increments(
        &self,
        of: &ObjectiveEvaluator<'_>,
        noise: Option<f64>,
    ) -> Result<Vec<f64>, Failure> {
        // Extrapolation takes the truncation error away: the measured h is for the last level.
        let noise = noise.map_or(f64::NAN, |h| h * ((self.levels - 1) as f64).exp2());
        let rule = |value: f64| match self.increment {
            Increment::Auto if self.levels > 1 => increment::power_of_two(
                richardson::relative::<f64>(self.scheme, self.levels) * scale(value),
            ),
            rule => rule.of_unit::<f64>(self.scheme, Arithmetic::Plain, value.abs(), noise),
        };
        let checked = |(index, &value): (usize, &f64)| {
            let increment = rule(value);
            let narrowest = self.at_level(increment, self.levels - 1);
            let inside = (value + increment).is_finite() && (value - increment).is_finite();
            if !(increment > 0.0 && inside) {
                return Err(Failure::Increment {
                    parameter: of.objective.name(index),
                    value,
                    increment,
                });
            }
            if value + narrowest == value || value - narrowest == value {
                return Err(Failure::Vanishes {
                    parameter: of.objective.name(index),
                    value,
                    increment: narrowest,
                    least: value.abs().next_up() - value.abs(),
                    auto: Increment::Auto.of_unit::<f64>(
                        self.scheme,
                        Arithmetic::Plain,
                        value.abs(),
                        f64::NAN,
                    ),
                });
            }
            Ok(increment)
        };
        of.theta.iter().enumerate().map(checked).collect()
    }

    fn at_level(&self, increment: f64, level: usize) -> f64 {
        increment / (level as f64).exp2()
    }

    /// Which parameter evaluation `number` perturbs, and by what; `None`: θ itself.
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

    /// The values of all evaluations, in order.
    fn values(&self, of: &ObjectiveEvaluator<'_>, increments: &[f64]) -> Result<Vec<f64>, Failure> {
        let count = self.evaluations(increments.len());
        let perturbation = |number| self.perturbation(increments, number);
        let values = of.values(count as usize, |number, theta| match perturbation(number) {
            None => 0..0,
            Some((index, increment)) => {
                theta[index] += increment;
                index..index + 1
            }
        })?;
        match values.iter().position(|value| !value.is_finite()) {
            None => Ok(values),
            Some(number) => Err(Failure::NotFinite {
                value: values[number],
                place: match perturbation(number) {
                    None => EvaluationPoint::Theta,
                    Some((index, increment)) => EvaluationPoint::Perturbed {
                        parameter: of.objective.name(index),
                        value: of.theta[index],
                        increment,
                    },
                },
            }),
        }
    }

    fn quotients(&self, theta: &[f64], increments: &[f64], values: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut levels = vec![0.0; self.levels];
        let of_parameter = |(index, (&value, &increment)): (usize, (&f64, &f64))| {
            for (level, partial) in levels.iter_mut().enumerate() {
                let h = self.at_level(increment, level);
                let number = index * self.levels + level;
                *partial = match self.scheme {
                    Scheme::Forward => {
                        quotient::quotient(values[number + 1] - values[0], (value + h) - value)
                    }
                    Scheme::Central => quotient::quotient(
                        values[2 * number] - values[2 * number + 1],
                        (value + h) - (value - h),
                    ),
                };
            }
            richardson::table(self.scheme, &mut levels)
        };
        theta
            .iter()
            .zip(increments)
            .enumerate()
            .map(of_parameter)
            .unzip()
    }

    /// The noise along a random direction, and the increment relative to max(1, |θ|) that makes the
    /// sum of squared errors least: the root mean square of the derivatives along a few
    /// parameters stands for all. Returns the evaluations made besides.
    fn measure(&self, of: &ObjectiveEvaluator<'_>) -> Result<(NoiseEstimate, f64, u64), Failure> {
        let parameters = of.theta.len();
        let mut random = stream(0, Purpose::Directions);
        let direction: Vec<f64> = of
            .theta
            .iter()
            .map(|&value| {
                let sign = if random.next_u32() & 1 == 0 {
                    1.0
                } else {
                    -1.0
                };
                sign * scale(value) / (parameters as f64).sqrt()
            })
            .collect();
        let spacing = noise::first_spacing::<f64>();
        let noise = noise::measure(spacing, 1, |distances, values| {
            of.along(distances, values, |distance, theta| {
                for (value, component) in theta.iter_mut().zip(&direction) {
                    *value += distance * component;
                }
                0..parameters
            })
        })?;
        let mut evaluations = noise.evaluations;
        let probes = parameters.min(PROBES);
        let mut squares = 0.0;
        for probe in 0..probes {
            let index = probe * parameters / probes;
            let found = noise.derivative::<Failure>(self.scheme, |distances, values| {
                of.along(distances, values, |distance, theta| {
                    theta[index] += distance * scale(theta[index]);
                    index..index + 1
                })
            })?;
            evaluations += found.evaluations;
            squares += found.magnitude * found.magnitude;
        }
        let derivative = (squares / probes as f64).sqrt();
        let increment = noise.increment(self.scheme, derivative);
        Ok((noise, increment, evaluations))
    }
}

/// What h is relative to.
fn scale(value: f64) -> f64 {
    value.abs().max(1.0)
}

/// A function near θ, and who evaluates it.
struct ObjectiveEvaluator<'a> {
    objective: &'a dyn Objective,
    theta: &'a [f64],
    team: &'a Workers,
    control: &'a Control,
}

impl ObjectiveEvaluator<'_> {
    /// The values of evaluations `0..count`. `place(number, θ)` moves a copy of θ to where that
    /// evaluation is made, and returns what it wrote, to be restored.
    ///
    /// After a value that is not finite, NaN stands for all that were not begun.
    fn values(
        &self,
        count: usize,
        place: impl Fn(usize, &mut [f64]) -> Range<usize> + Sync,
    ) -> Result<Vec<f64>, Failure> {
        let values: Vec<AtomicU64> = (0..count)
            .map(|_| AtomicU64::new(f64::NAN.to_bits()))
            .collect();
        let (next, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed = AtomicBool::new(false);
        let workers = self.team.threads().min(count).max(1);
        let seats = vec![self.theta.to_vec(); workers];
        self.team.each(seats, |mut theta| {
            let _panics = PanicFlag(&failed);
            while !failed.load(Ordering::Relaxed) && !self.control.is_stopped() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(slot) = values.get(number) else {
                    break;
                };
                let moved = place(number, &mut theta);
                let value = self.objective.value(&theta);
                theta[moved.clone()].copy_from_slice(&self.theta[moved]);
                slot.store(value.to_bits(), Ordering::Relaxed);
                ended.fetch_add(1, Ordering::Relaxed);
                self.control.count(1);
                if !value.is_finite() {
                    failed.store(true, Ordering::Relaxed);
                }
            }
        });
        let ended = ended.into_inner();
        if ended < count && !failed.into_inner() {
            return Err(Failure::Stopped {
                evaluations: ended as u64,
                planned: count as u64,
            });
        }
        let number = |bits: AtomicU64| f64::from_bits(bits.into_inner());
        Ok(values.into_iter().map(number).collect())
    }

    /// The values at some distances along a line, as [`noise`] asks for them.
    fn along(
        &self,
        distances: &[f64],
        values: &mut [f64],
        place: impl Fn(f64, &mut [f64]) -> Range<usize> + Sync,
    ) -> Result<(), Failure> {
        let found = self.values(distances.len(), |number, theta| {
            place(distances[number], theta)
        })?;
        if let Some(number) = found.iter().position(|value| !value.is_finite()) {
            return Err(Failure::NotFinite {
                value: found[number],
                place: EvaluationPoint::Line {
                    distance: distances[number],
                },
            });
        }
        values.copy_from_slice(&found);
        Ok(())
    }
}

/// Raises a flag if its worker panics, so that the others begin nothing more.
struct PanicFlag<'a>(&'a AtomicBool);

impl Drop for PanicFlag<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
