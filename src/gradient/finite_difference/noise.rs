//! The measurement of the noise of a loss, and the increment that follows from it.
//!
//! *Noise* (Moré and Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011):
//! k-th differences of m + 1 equispaced values of a smooth function shrink like hᵏ. Those of noise
//! of deviation ε do not: their mean square is ε²·(2k)!/(k!)². So each column k of the difference
//! table gives an estimate of ε. Where three consecutive columns agree within a factor of 4, and
//! the differences change sign, the differences are noise.
//!
//! *Increment* (Moré and Wild, "Estimating derivatives of noisy simulations", ACM TOMS 38, 2012):
//! the mean squared error of the quotient, truncation² + variance, is
//!
//! ```text
//! forward:  (μ₂h/2)² + 2(ε/h)²      least at h = ⁴√8 · √(ε/μ₂)
//! central:  (μ₃h²/6)² + ½(ε/h)²     least at h = ∛(3ε/μ₃)
//! ```
//!
//! μ₂ = |f″| is estimated by their heuristic: (f(−h) − 2f(0) + f(h))/h², at h = ⁴√ε, or else at
//! the h = ⁴√(ε/μ) that the first trial suggests; it is accepted if the difference is well above
//! the noise and f does not change much. Two additions are not in the papers: μ₃ = |f‴| is
//! estimated the same way, with four points and fifth roots, and where f changes too much, a
//! further trial is closer to θ.
//!
//! A loss may be given per *sample*. The differences of B samples are then taken sample by sample
//! and averaged, as the gradient engines do: independent noises ε_s give a noise of √(Σ ε_s²)/B.
//! The estimates of B tables are pooled, which gives B times as many numbers to estimate from; with
//! B = 1 everything is as in the papers.
//!
//! A function that changes by more than a tenth of itself, or not at all, at all spacings that are
//! tried is refused: no increment follows from such values.

use super::Scheme;
use super::increment::power_of_two_below;
use crate::error::Error;
use crate::numeric::Real;

/// The number of values of a difference table, m + 1, with θ in the middle; the papers take m from
/// 6 to 8.
pub const POINTS: usize = 9;

/// The largest relative change of the loss for which its differences are used.
const CLOSE_RANGE: f64 = 0.1;
/// The factor within which the estimates of three columns agree.
const AGREEMENT: f64 = 4.0;
/// The multiple of the noise from which a difference is due to the function (τ₁ of the second
/// paper).
const ABOVE_NOISE: f64 = 100.0;
/// The factor by which the spacing grows or shrinks after a failed table.
const STRIDE: f64 = 100.0;
/// The largest number of tables that are tried.
const MAX_TABLES: usize = 10;
/// The largest number of distances that are tried for a derivative.
const MAX_TRIALS: usize = 3;

/// The result of analyzing a difference table.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoiseVerdict {
    /// Noise of this standard deviation, and the order of the first differences that are noise.
    Noise(f64, usize),
    /// At least half of the neighboring values are equal, so the spacing shows only their rounding.
    /// A spacing 100 times as large may do.
    TooSmall,
    /// The changes of the function hide the noise. A hundredth of the spacing may do.
    TooLarge,
}

/// The reason why there is no estimate.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Unmeasured {
    /// The loss does not change along the line.
    #[error("the loss does not change within {distance:?} of θ{NUMBER}")]
    Constant {
        /// The largest distance from θ that was evaluated.
        distance: f64,
    },
    /// The loss changes too much at every spacing.
    #[error(
        "the loss changes by a tenth or more, or irregularly, at every spacing down to {spacing:?}, so its noise cannot be separated from its changes{NUMBER}"
    )]
    Steep {
        /// The smallest spacing tried.
        spacing: f64,
    },
    /// The loss is infinite or NaN.
    #[error("the loss is not finite at a distance of {distance:?} from θ{NUMBER}")]
    NotFinite {
        /// The distance from θ on the line.
        distance: f64,
    },
}

/// The way out that the error messages name.
const NUMBER: &str = "\n  help: leave the increment to `auto`, or give it as a number";

impl From<Unmeasured> for Error {
    fn from(unmeasured: Unmeasured) -> Self {
        Self::Usage(format!("increment \"noise\": {unmeasured}"))
    }
}

/// Estimates the noise from a table of losses (ECnoise).
///
/// `losses`, `(points, samples)`, are the losses at equispaced points of a line; at least 4 points,
/// 7 to 9 for a good estimate. The difference table overwrites them. The result is the noise of the
/// samples' mean, √(Σ ε_s²)/B. A sample whose loss is the same at all points adds no noise.
///
/// # Panics
/// With fewer than 4 points, or if the number of losses is not a multiple of `samples`.
pub fn verdict(losses: &mut [f64], samples: usize) -> NoiseVerdict {
    assert!(samples > 0 && losses.len().is_multiple_of(samples));
    let points = losses.len() / samples;
    assert!(points >= 4, "{points} points, but a table needs at least 4");
    let column = |sample: usize| (0..points).map(move |point| point * samples + sample);
    let (mut range, mut largest) = (0.0, 0.0);
    let (mut changing, mut equal) = (0, 0);
    for sample in 0..samples {
        let values = || column(sample).map(|at| losses[at]);
        let (least, most) = (
            values().fold(f64::MAX, f64::min),
            values().fold(f64::MIN, f64::max),
        );
        range += most - least;
        largest += most.abs().max(least.abs());
        if most > least {
            changing += 1;
            equal += values()
                .zip(values().skip(1))
                .filter(|(a, b)| a == b)
                .count();
        }
    }
    if range > CLOSE_RANGE * largest {
        return NoiseVerdict::TooLarge;
    }
    if changing == 0 || 2 * equal >= changing * points {
        return NoiseVerdict::TooSmall;
    }
    // Squares of very large or small losses would leave the range of numbers.
    let size = power_of_two_below(largest).max(f64::MIN_POSITIVE);
    losses.iter_mut().for_each(|loss| *loss /= size);
    let mut scale = 1.0;
    let mut levels = Vec::with_capacity(points - 1);
    for order in 1..points {
        let rows = points - order;
        scale *= 0.5 * order as f64 / (2 * order - 1) as f64;
        let (mut squares, mut alternating) = (0.0, 0);
        for sample in 0..samples {
            let (mut least, mut most) = (0f64, 0f64);
            for at in column(sample).take(rows) {
                losses[at] = losses[at + samples] - losses[at];
                squares += losses[at] * losses[at];
                least = least.min(losses[at]);
                most = most.max(losses[at]);
            }
            alternating += usize::from(least < 0.0 && most > 0.0);
        }
        let deviation = (scale * squares / rows as f64).sqrt() / samples as f64;
        levels.push((deviation, 2 * alternating >= changing));
    }
    levels
        .windows(3)
        .enumerate()
        .find(|(_, three)| {
            let least = three.iter().map(|level| level.0).fold(f64::MAX, f64::min);
            let most = three.iter().map(|level| level.0).fold(0.0, f64::max);
            three[0].1 && most <= AGREEMENT * least
        })
        .map_or(NoiseVerdict::TooLarge, |(below, three)| {
            NoiseVerdict::Noise(three[0].0 * size, below + 1)
        })
}

/// Returns the deviation of `values` at `distances` from the polynomial of `degree` that fits them
/// best, and its degrees of freedom, values less coefficients: for normal noise, its square has a χ²
/// distribution with these.
///
/// # Panics
/// Unless there are more values than coefficients.
pub fn about_polynomial(distances: &[f64], values: &[f64], degree: usize) -> (f64, u32) {
    assert!(values.len() > degree + 1, "no degrees of freedom");
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let largest = |numbers: &[f64]| numbers.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
    let reach = largest(distances);
    // Each power, less its projections on the lower ones, twice for the sake of round-off.
    let mut basis: Vec<Vec<f64>> = Vec::new();
    let without = |numbers: &mut [f64], basis: &[Vec<f64>]| {
        for vector in basis.iter().chain(basis) {
            let share = dot(vector, numbers);
            let pairs = numbers.iter_mut().zip(vector);
            pairs.for_each(|(number, unit)| *number -= share * unit);
        }
    };
    for power in 0..=degree {
        let mut vector: Vec<f64> = distances
            .iter()
            .map(|distance| (distance / reach).powi(power as i32))
            .collect();
        without(&mut vector, &basis);
        let length = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|number| *number /= length);
        basis.push(vector);
    }
    // Near θ the values are nearly equal: their differences are exact, and in range.
    let first = values[0];
    let mut rest: Vec<f64> = values.iter().map(|value| value - first).collect();
    let size = largest(&rest);
    if size == 0.0 {
        return (0.0, (values.len() - degree - 1) as u32);
    }
    rest.iter_mut().for_each(|number| *number /= size);
    without(&mut rest, &basis);
    let freedom = values.len() - degree - 1;
    let deviation = size * (dot(&rest, &rest) / freedom as f64).sqrt();
    (deviation, freedom as u32)
}

/// The estimated noise of a loss near θ.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseEstimate {
    /// The standard deviation ε of the mean over the samples.
    pub deviation: f64,
    /// The spacing of the table that showed it.
    pub spacing: f64,
    /// The order of the first differences that are noise: a polynomial of a lower degree has the
    /// values' smooth part.
    pub order: usize,
    /// The number of evaluations made.
    pub evaluations: u64,
    /// The losses at θ, `(samples,)`.
    at_theta: Vec<f64>,
}

impl NoiseEstimate {
    /// Returns the degrees of freedom of the deviation: the points less the coefficients of the
    /// polynomial whose differences of this order vanish, and at least 1.
    pub fn freedom(&self) -> u32 {
        POINTS.saturating_sub(self.order + 1).max(1) as u32
    }

    /// Returns the size of the mean loss at θ.
    pub fn magnitude(&self) -> f64 {
        (self.at_theta.iter().sum::<f64>() / self.at_theta.len() as f64).abs()
    }
}

/// Returns the first spacing to try: √u, at which second differences are near round-off (f32
/// 2.4e-4, f64 1e-8).
pub fn first_spacing<R: Real>() -> f64 {
    R::UNIT_ROUNDOFF.sqrt()
}

/// Measures the noise along a line through θ, with [`POINTS`] evaluations for each spacing tried.
///
/// `line(distances, losses)` fills `losses`, `(distances, samples)`, with the losses at
/// θ + distance·p, in units in which θ is of order 1: p of length 1 in θ/max(1, |θ|).
///
/// # Errors
/// [`Unmeasured`] if no spacing shows the noise, and the errors of `line`.
pub fn measure<E: From<Unmeasured>>(
    spacing: f64,
    samples: usize,
    mut line: impl FnMut(&[f64], &mut [f64]) -> Result<(), E>,
) -> Result<NoiseEstimate, E> {
    let mut losses = vec![0.0; POINTS * samples];
    let (mut small, mut large) = (0f64, f64::INFINITY);
    let mut spacing = spacing;
    for table in 1..=MAX_TABLES {
        let middle = POINTS / 2;
        let distances =
            std::array::from_fn::<f64, POINTS, _>(|point| (point as f64 - middle as f64) * spacing);
        evaluate(&distances, &mut losses, &mut line)?;
        let at_theta = losses[middle * samples..][..samples].to_vec();
        match verdict(&mut losses, samples) {
            NoiseVerdict::Noise(deviation, order) => {
                return Ok(NoiseEstimate {
                    deviation,
                    spacing,
                    order,
                    evaluations: (table * POINTS) as u64,
                    at_theta,
                });
            }
            NoiseVerdict::TooSmall => small = spacing,
            NoiseVerdict::TooLarge => large = spacing,
        }
        spacing = if small == 0.0 {
            spacing / STRIDE
        } else if large.is_infinite() {
            spacing * STRIDE
        } else {
            (small * large).sqrt()
        };
        // Beyond 1 the points are no longer close to θ.
        if spacing > 1.0 {
            break;
        }
    }
    Err(if large.is_infinite() {
        let distance = small * (POINTS / 2) as f64;
        Unmeasured::Constant { distance }
    } else {
        let spacing = large;
        Unmeasured::Steep { spacing }
    }
    .into())
}

/// Evaluates the losses at `distances`.
///
/// # Errors
/// [`Unmeasured::NotFinite`], and the errors of `line`.
fn evaluate<E: From<Unmeasured>>(
    distances: &[f64],
    losses: &mut [f64],
    line: &mut impl FnMut(&[f64], &mut [f64]) -> Result<(), E>,
) -> Result<(), E> {
    line(distances, losses)?;
    let samples = losses.len() / distances.len();
    match losses.iter().position(|loss| !loss.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Unmeasured::NotFinite {
            distance: distances[at / samples],
        }
        .into()),
    }
}

/// The stencil of a derivative, hᵏf⁽ᵏ⁾ ≈ Σ weights·f(offsets·h) + at_theta·f(0).
struct Stencil {
    /// The order of the derivative.
    order: i32,
    offsets: &'static [f64],
    weights: &'static [f64],
    /// The weight of the value at θ.
    at_theta: f64,
    /// √Σ weights², `at_theta` included: the noise of the sum, relative to that of a value.
    noise: f64,
}

/// Returns the stencil of the derivative that determines the truncation error of `scheme`.
fn stencil(scheme: Scheme) -> Stencil {
    match scheme {
        Scheme::Forward => Stencil {
            order: 2,
            offsets: &[-1.0, 1.0],
            weights: &[1.0, 1.0],
            at_theta: -2.0,
            noise: 2.449489742783178,
        },
        Scheme::Central => Stencil {
            order: 3,
            offsets: &[-2.0, -1.0, 1.0, 2.0],
            weights: &[-0.5, 1.0, -1.0, 0.5],
            at_theta: 0.0,
            noise: 1.5811388300841898,
        },
    }
}

/// The estimate of a derivative along a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DerivativeEstimate {
    /// |f″| for forward differences, |f‴| for central ones, but at least the standard deviation
    /// that noise gives such an estimate.
    pub magnitude: f64,
    /// The number of evaluations made: 2 or 4 at each of up to 3 distances.
    pub evaluations: u64,
}

impl NoiseEstimate {
    /// Estimates the derivative, along a line, that determines the truncation error of `scheme`.
    ///
    /// `line` is as in [`measure`], but may have another direction.
    ///
    /// # Errors
    /// [`Unmeasured::Steep`] if f changes too much at every distance tried,
    /// [`Unmeasured::NotFinite`], and the errors of `line`.
    pub fn derivative<E: From<Unmeasured>>(
        &self,
        scheme: Scheme,
        mut line: impl FnMut(&[f64], &mut [f64]) -> Result<(), E>,
    ) -> Result<DerivativeEstimate, E> {
        let stencil = stencil(scheme);
        let samples = self.at_theta.len();
        let mut losses = vec![0.0; stencil.offsets.len() * samples];
        let root = 1.0 / f64::from(stencil.order + 2);
        let mut evaluations = 0;
        let mut trial_at = |h: f64| -> Result<DerivativeTrial, E> {
            let distances: Vec<f64> = stencil.offsets.iter().map(|offset| offset * h).collect();
            evaluate(&distances, &mut losses, &mut line)?;
            evaluations += distances.len() as u64;
            Ok(self.trial(&stencil, h, &losses))
        };
        let mut h = self.deviation.powf(root).min(1.0);
        // The farthest trial at which f changes little: it is the least disturbed by noise.
        let mut farthest: Option<DerivativeTrial> = None;
        for _ in 0..MAX_TRIALS {
            let trial = trial_at(h)?;
            let balance = (self.deviation / trial.magnitude.max(f64::MIN_POSITIVE)).powf(root);
            let close = trial.range <= CLOSE_RANGE;
            let next = if close {
                balance
            } else {
                0.8 * h * CLOSE_RANGE / trial.range
            };
            // Neither closer than the spacing of the noise table nor farther than 1.
            h = next.clamp(self.spacing, 1.0);
            if !close {
                continue;
            }
            let accepted = trial.difference >= ABOVE_NOISE * self.deviation
                || farthest.as_ref().is_some_and(|other| {
                    (other.magnitude - trial.magnitude).abs() <= 0.5 * trial.magnitude
                });
            if accepted {
                farthest = Some(trial);
                break;
            }
            if farthest.as_ref().is_none_or(|other| other.h < trial.h) {
                farthest = Some(trial);
            }
        }
        let chosen = farthest.ok_or(Unmeasured::Steep { spacing: h })?;
        let hidden = stencil.noise * self.deviation / chosen.h.powi(stencil.order);
        Ok(DerivativeEstimate {
            magnitude: chosen.magnitude.max(hidden),
            evaluations,
        })
    }

    /// Returns the trial at distance `h`, whose losses are `losses`, `(offsets, samples)`.
    fn trial(&self, stencil: &Stencil, h: f64, losses: &[f64]) -> DerivativeTrial {
        let samples = self.at_theta.len();
        let mean = |sum: f64| sum / samples as f64;
        let middle = mean(self.at_theta.iter().sum());
        let mut range = 0f64;
        for losses in losses.chunks(samples) {
            let change = losses.iter().zip(&self.at_theta);
            let change = mean(change.map(|(loss, at_theta)| loss - at_theta).sum());
            let largest = middle.abs().max((middle + change).abs());
            // A loss of 0 that remains 0 has not changed.
            range = range.max(if change == 0.0 {
                0.0
            } else {
                change.abs() / largest
            });
        }
        let difference = (0..samples).map(|sample| {
            let weighted = |(row, weight): (usize, &f64)| weight * losses[row * samples + sample];
            let around: f64 = stencil.weights.iter().enumerate().map(weighted).sum();
            around + stencil.at_theta * self.at_theta[sample]
        });
        let difference = mean(difference.sum()).abs();
        DerivativeTrial {
            h,
            difference,
            magnitude: difference / h.powi(stencil.order),
            range,
        }
    }

    /// Returns the increment that minimizes the mean squared error of the quotient, given this
    /// noise and `derivative`.
    pub fn increment(&self, scheme: Scheme, derivative: f64) -> f64 {
        match scheme {
            Scheme::Forward => 8f64.sqrt().sqrt() * (self.deviation / derivative).sqrt(),
            Scheme::Central => (3.0 * self.deviation / derivative).cbrt(),
        }
    }
}

/// An estimate of a derivative at one distance.
struct DerivativeTrial {
    /// The distance.
    h: f64,
    /// |Σ weights·f|, the mean over the samples.
    difference: f64,
    /// The estimate, |difference|/hᵏ of order k.
    magnitude: f64,
    /// The largest relative change of f.
    range: f64,
}
