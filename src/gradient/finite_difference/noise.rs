//! The noise of a loss, measured, and the increment that follows from it.
//!
//! *Noise* (Moré and Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33, 2011):
//! k-th differences of m + 1 equispaced values of a smooth function fall like hᵏ, those of noise
//! of deviation ε do not: their mean square is ε²·(2k)!/(k!)². So each column k of the difference
//! table has its own estimate of ε, and where three columns in a row agree within a factor of 4,
//! and the differences change sign, noise is what is left.
//!
//! *Increment* (Moré and Wild, "Estimating derivatives of noisy simulations", ACM TOMS 38, 2012):
//! with the error of the quotient written as truncation² + variance,
//!
//! ```text
//! forward:  (μ₂h/2)² + 2(ε/h)²      least at h = ⁴√8 · √(ε/μ₂)
//! central:  (μ₃h²/6)² + ½(ε/h)²     least at h = ∛(3ε/μ₃)
//! ```
//!
//! μ₂ = |f″| by their heuristic: f(−h) − 2f(0) + f(h) over h², at h = ⁴√ε, or else at the
//! h = ⁴√(ε/μ) that the first try suggests, accepted if it stands well above the noise and f does
//! not change much. Ours besides: μ₃ = |f‴| is found the same way, with four points and fifth
//! roots; where f changes too much it is looked at once more, closer.
//!
//! A loss may be given per *sample*. The differences of B samples are then taken one by one and
//! averaged, as the gradient engines do: independent noises ε_s make √(Σ ε_s²)/B. Estimates from B
//! tables are pooled, which makes them B times as sure; with B = 1 all is as in the papers.
//!
//! Refused: a function that jumps by more than a tenth of itself, or does not change at all,
//! wherever looked at. No increment follows from such values.

use super::Scheme;
use crate::error::Error;
use crate::numeric::Real;

/// Values in a difference table, m + 1: the papers' 6 to 8 differences, θ in the middle.
pub const POINTS: usize = 9;

/// Values that differ by more than this fraction are not those of a function seen at close range.
const CLOSE_RANGE: f64 = 0.1;
/// Estimates of three columns agree within this factor.
const AGREEMENT: f64 = 4.0;
/// A difference this many times the noise is the function's own (τ₁ of the second paper).
const ABOVE_NOISE: f64 = 100.0;
/// What the spacing is multiplied or divided by after a verdict.
const STRIDE: f64 = 100.0;
/// Tables tried before giving up.
const TABLES: usize = 10;
/// Distances tried for a derivative.
const LOOKS: usize = 3;

/// What a difference table says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NoiseVerdict {
    /// Noise of this standard deviation.
    Noise(f64),
    /// Half the neighbors are equal: the values' own grid is seen. Try 100·h.
    TooSmall,
    /// The function's changes hide the noise. Try h/100.
    TooLarge,
}

/// Why there is no estimate.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Unmeasured {
    /// The loss is the same all along the line.
    #[error("the loss does not change within {distance:?} of θ{NUMBER}")]
    Constant {
        /// How far was looked.
        distance: f64,
    },
    /// The loss changes too much, however close it is looked at.
    #[error(
        "the loss changes by a tenth and more, or without pattern, at every spacing down to {spacing:?}, so that its noise cannot be told apart{NUMBER}"
    )]
    Steep {
        /// The least spacing tried.
        spacing: f64,
    },
    /// The loss is infinite or NaN.
    #[error("the loss is not finite {distance:?} from θ{NUMBER}")]
    NotFinite {
        /// Where on the line.
        distance: f64,
    },
}

const NUMBER: &str = "\n  help: leave the increment to `auto`, or give it as a number";

impl From<Unmeasured> for Error {
    fn from(unmeasured: Unmeasured) -> Self {
        Self::Usage(format!("increment \"noise\": {unmeasured}"))
    }
}

/// The noise that a table of losses shows (ECnoise).
///
/// `losses`, `(points, samples)`, at equispaced points of a line; 4 points at least, 7 to 9 make a
/// good estimate. The table is formed in place. The result is the noise of the samples' mean,
/// √(Σ ε_s²)/B. A sample whose loss is the same everywhere adds none.
///
/// # Panics
/// With fewer than 4 points, or a number of losses that is no multiple of `samples`.
pub fn verdict(losses: &mut [f64], samples: usize) -> NoiseVerdict {
    assert!(samples > 0 && losses.len().is_multiple_of(samples));
    let points = losses.len() / samples;
    assert!(points >= 4, "{points} points: a table has 4 at least");
    let column = |sample: usize| (0..points).map(move |point| point * samples + sample);
    let (mut range, mut largest) = (0.0, 0.0);
    let (mut moving, mut equal) = (0, 0);
    for sample in 0..samples {
        let values = || column(sample).map(|at| losses[at]);
        let (least, most) = (
            values().fold(f64::MAX, f64::min),
            values().fold(f64::MIN, f64::max),
        );
        range += most - least;
        largest += most.abs().max(least.abs());
        if most > least {
            moving += 1;
            equal += values()
                .zip(values().skip(1))
                .filter(|(a, b)| a == b)
                .count();
        }
    }
    if range > CLOSE_RANGE * largest {
        return NoiseVerdict::TooLarge;
    }
    if moving == 0 || 2 * equal >= moving * points {
        return NoiseVerdict::TooSmall;
    }
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
        levels.push((deviation, 2 * alternating >= moving));
    }
    levels
        .windows(3)
        .find(|three| {
            let least = three.iter().map(|level| level.0).fold(f64::MAX, f64::min);
            let most = three.iter().map(|level| level.0).fold(0.0, f64::max);
            three[0].1 && most <= AGREEMENT * least
        })
        .map_or(NoiseVerdict::TooLarge, |three| {
            NoiseVerdict::Noise(three[0].0)
        })
}

/// The noise of a loss near θ.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseEstimate {
    /// Its standard deviation, ε: of the mean over the samples.
    pub deviation: f64,
    /// The spacing at which it was seen.
    pub spacing: f64,
    /// Evaluations made.
    pub evaluations: u64,
    /// The losses at θ, `(samples,)`.
    at_theta: Vec<f64>,
}

/// Where to look first: √u, at which second differences are near round-off (f32 2.4e-4, f64 1e-8).
pub fn first_spacing<R: Real>() -> f64 {
    R::UNIT_ROUNDOFF.sqrt()
}

/// Measures the noise along a line through θ: [`POINTS`] evaluations, as many again after each
/// verdict that the spacing was too small or too large.
///
/// `line(distances, losses)` fills `losses`, `(distances, samples)`, with the losses at
/// θ + distance·p, in units in which θ is of order 1: p of length 1 in θ/max(1, |θ|).
///
/// # Errors
/// [`Unmeasured`], and those of `line`.
pub fn measure<E: From<Unmeasured>>(
    spacing: f64,
    samples: usize,
    mut line: impl FnMut(&[f64], &mut [f64]) -> Result<(), E>,
) -> Result<NoiseEstimate, E> {
    let mut losses = vec![0.0; POINTS * samples];
    let (mut small, mut large) = (0f64, f64::INFINITY);
    let mut spacing = spacing;
    for table in 1..=TABLES {
        let middle = POINTS / 2;
        let distances =
            std::array::from_fn::<f64, POINTS, _>(|point| (point as f64 - middle as f64) * spacing);
        evaluate(&distances, &mut losses, &mut line)?;
        let at_theta = losses[middle * samples..][..samples].to_vec();
        match verdict(&mut losses, samples) {
            NoiseVerdict::Noise(deviation) => {
                return Ok(NoiseEstimate {
                    deviation,
                    spacing,
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
        // Beyond 1 the line has left θ's neighborhood.
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

/// What a derivative is estimated from.
struct Stencil {
    order: i32,
    offsets: &'static [f64],
    weights: &'static [f64],
    at_theta: f64,
    /// √Σ weights²: the noise of the sum over the noise of a value.
    noise: f64,
}

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

/// A derivative along a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DerivativeEstimate {
    /// |f″| for forward differences, |f‴| for central ones; where it is lost in the noise, the
    /// most that noise can hide.
    pub magnitude: f64,
    /// Evaluations made: 2 or 4 at each of up to 3 distances.
    pub evaluations: u64,
}

impl NoiseEstimate {
    /// The derivative along a line that sets the truncation error of `scheme`.
    ///
    /// `line` as in [`measure`], not necessarily along the same direction.
    ///
    /// # Errors
    /// [`Unmeasured::Steep`] where f changes too much for its curvature to mean anything, and
    /// those of `line`.
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
        let mut look = |h: f64| -> Result<DerivativeTrial, E> {
            let distances: Vec<f64> = stencil.offsets.iter().map(|offset| offset * h).collect();
            evaluate(&distances, &mut losses, &mut line)?;
            evaluations += distances.len() as u64;
            Ok(self.look(&stencil, h, &losses))
        };
        let mut h = self.deviation.powf(root).min(1.0);
        // The farthest look from which f was seen at close range: it says most about curvature.
        let mut farthest: Option<DerivativeTrial> = None;
        for _ in 0..LOOKS {
            let seen = look(h)?;
            let balance = (self.deviation / seen.magnitude.max(f64::MIN_POSITIVE)).powf(root);
            let close = seen.range <= CLOSE_RANGE;
            let next = if close {
                balance
            } else {
                0.8 * h * CLOSE_RANGE / seen.range
            };
            // Not closer than the noise was seen at, nor farther than θ is large.
            h = next.clamp(self.spacing, 1.0);
            if !close {
                continue;
            }
            let sound = seen.difference >= ABOVE_NOISE * self.deviation
                || farthest.as_ref().is_some_and(|other| {
                    (other.magnitude - seen.magnitude).abs() <= 0.5 * seen.magnitude
                });
            if sound {
                farthest = Some(seen);
                break;
            }
            if farthest.as_ref().is_none_or(|other| other.h < seen.h) {
                farthest = Some(seen);
            }
        }
        let chosen = farthest.ok_or(Unmeasured::Steep { spacing: h })?;
        let hidden = stencil.noise * self.deviation / chosen.h.powi(stencil.order);
        Ok(DerivativeEstimate {
            magnitude: chosen.magnitude.max(hidden),
            evaluations,
        })
    }

    fn look(&self, stencil: &Stencil, h: f64, losses: &[f64]) -> DerivativeTrial {
        let samples = self.at_theta.len();
        let mean = |sum: f64| sum / samples as f64;
        let middle = mean(self.at_theta.iter().sum());
        let mut range = 0f64;
        for losses in losses.chunks(samples) {
            let change = losses.iter().zip(&self.at_theta);
            let change = mean(change.map(|(loss, at_theta)| loss - at_theta).sum());
            let largest = middle.abs().max((middle + change).abs());
            // A loss of 0 that stays 0 has not moved.
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

    /// The increment that balances this noise and `derivative`.
    pub fn increment(&self, scheme: Scheme, derivative: f64) -> f64 {
        match scheme {
            Scheme::Forward => 8f64.sqrt().sqrt() * (self.deviation / derivative).sqrt(),
            Scheme::Central => (3.0 * self.deviation / derivative).cbrt(),
        }
    }
}

/// One try at a derivative.
struct DerivativeTrial {
    h: f64,
    difference: f64,
    magnitude: f64,
    /// How much f changes, as a fraction of itself.
    range: f64,
}
