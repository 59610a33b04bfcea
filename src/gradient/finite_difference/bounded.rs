//! A partial derivative of any function with a bound of its error, by central differences at
//! several distances.
//!
//! Three quotients D(h), D(h/2), D(h/4) are extrapolated to h → 0 (Richardson):
//!
//! ```text
//! E₁ = (4·D(h/2) − D(h))/3, E₂ = (4·D(h/4) − D(h/2))/3      error O(h⁴)
//! E  = (16·E₂ − E₁)/15 = (D(h) − 20·D(h/2) + 64·D(h/4))/45  error O(h⁶)
//! ```
//!
//! The bound of E's error adds
//!
//! - truncation: |E − E₁|, the error of the entry of lower order; or the same of the second
//!   differences, from the even part of f, times h. So a coincidence in one of them is no harm. What
//!   the noise makes of these differences is not counted twice;
//! - noise: t·s. s is the standard deviation of E by its weights, if the value f at a point errs by
//!   max(ε·max(1, |f|/|f₀|), u·(|f| + |slope|·(|θ| + h))): ε is the deviation measured near θ, where
//!   values are of size |f₀| (a noise may be relative, and grow with |f|), and u the unit round-off.
//!   t is the quantile of Student's distribution for the degrees of freedom of ε and the number of
//!   elements compared ([`deviations`]);
//! - where f bends at θ, the difference of the slopes on either side: it does not shrink with h, so
//!   the derivative does not exist.
//!
//! The first h suits the noise, u^(1/7) for round-off. While truncation outweighs noise, further
//! rounds are 16 times closer to θ each, so functions that change over short distances, or end near
//! θ, have derivatives, too. While noise outweighs truncation and hides much of the derivative,
//! further rounds are twice as far, which takes two new values each. The round with the smallest bound counts.

use super::failure::{EvaluationPoint, Failure};
use super::objective::scale;
use super::objective_noise::NearbyNoise;
use super::{increment, quotient};
use crate::model::Objective;
use crate::numeric::statistics::t_quantile;

/// The number of distances of a round.
pub(super) const LEVELS: usize = 3;
/// The largest number of rounds: 16⁷ reaches from h = 2⁻⁸ to 2⁻³⁶.
const MOST_ROUNDS: usize = 8;
/// The factor of h between two rounds that come closer.
const CLOSER: f64 = 16.0;
/// The number of failures, such as at points outside the function's domain, after which the rounds come
/// closer by the square of the factor before, and so on: 16², 16⁴, … up to 16¹²⁸.
const PATIENCE: i32 = 3;
const LONGEST: i32 = PATIENCE + 7;
/// The factor of h between two rounds that go farther.
const FARTHER: f64 = 2.0;
/// The largest first increment, relative to max(1, |θ|).
const FARTHEST: f64 = 0.125;
/// The largest increment, relative to max(1, |θ|).
const REACH: f64 = 0.5;
/// The share of its derivative up to which a bound is small enough: no round goes farther.
const FINE: f64 = 1e-9;
/// The factor by which noise outweighs truncation where a round that is farther may do better.
const NOISY: f64 = 8.0;
/// The factor by which the difference of the one-sided slopes shrinks at least when h shrinks by 4,
/// if the function is smooth: it is 4 up to higher orders.
const SMOOTH: f64 = 2.0;
/// The probability that one of all elements that are compared is beyond its bound although it is
/// right.
pub const FALSE_ALARM: f64 = 1e-6;
/// The number of standard deviations of normal noise that a derivative exceeds on one side once in
/// 10⁵ cases.
pub(super) const POWER: f64 = 4.265;
/// The smallest increment of a plain central difference, relative to the closest of a round.
const NEAREST: f64 = 1.0 / 65536.0;
/// The weights of D(h), D(h/2) and D(h/4) in E.
const LIMIT: [f64; LEVELS] = [1.0 / 45.0, -20.0 / 45.0, 64.0 / 45.0];
/// Their weights in E − E₁.
const CORRECTION: [f64; LEVELS] = [16.0 / 45.0, -80.0 / 45.0, 64.0 / 45.0];

/// Returns how many standard deviations of noise are allowed where `elements` are compared and the
/// deviation was measured with `freedom` degrees of freedom: none of the elements exceeds them but
/// with probability [`FALSE_ALARM`], if the noise is normal.
pub fn deviations(elements: usize, freedom: u32) -> f64 {
    // Below 1e-13 the confidence would round to 1.
    let each = (FALSE_ALARM / elements as f64).max(1e-13);
    t_quantile(1.0 - each, freedom)
}

/// A function near θ, whose partial derivatives are wanted with bounds.
pub struct BoundedDerivatives<'a> {
    /// The function.
    pub objective: &'a dyn Objective,
    /// θ, `(N,)`.
    pub theta: &'a [f64],
    /// The value at θ.
    pub value: f64,
    /// The noise of the values near θ.
    pub noise: NearbyNoise,
    /// The unit round-off u of the precision in which the function seems to compute.
    pub unit: f64,
    /// The number of standard deviations of noise that a bound allows ([`deviations`]).
    pub deviations: f64,
}

/// A partial derivative, and what is known of its error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundedDerivative {
    /// The partial derivative.
    pub derivative: f64,
    /// The bound of its error.
    pub bound: f64,
    /// The size from which on an error of another derivative goes beyond the bound, whatever this
    /// one's own error is: missed once in 10⁵ cases.
    pub visible: f64,
    /// The largest noise of a value that the bound assumes: its standard deviation.
    pub noise: f64,
    /// The largest slope from θ to a point of the round: the scale of the derivatives near θ.
    pub slope: f64,
    /// Whether the function bends at θ: then the bound does not shrink with the noise.
    pub bent: bool,
    /// Whether truncation is within the noise: else the function changes over shorter distances than
    /// could be tried, or has no derivative.
    pub settled: bool,
    /// The smallest distance from θ of the round's points.
    pub closest: f64,
    /// The increment at which truncation and noise of a plain central difference are of one size, but
    /// at most `closest`.
    pub central: f64,
    /// The number of evaluations in rounds without a failure.
    pub evaluations: u64,
}

impl BoundedDerivatives<'_> {
    /// Computes the partial derivative with respect to parameter `index`: 6 evaluations, and 6 more
    /// for each further round that comes closer, 2 for each that goes farther. Where the function has
    /// no values on one side of θ, those on the other side count.
    ///
    /// # Errors
    /// [`Failure`] if no round has finite values only: the last failure.
    pub fn derivative(&self, index: usize) -> Result<BoundedDerivative, Failure> {
        match self.rounds(index, Sides::Both) {
            Err(Failure::NotFinite { .. } | Failure::Function { .. }) => self.one_sided(index),
            both => both,
        }
    }

    /// Computes the partial derivative as [`derivative`](Self::derivative) does, from values above θ
    /// alone, or if there are none, below it: 4 evaluations a round.
    ///
    /// # Errors
    /// [`Failure`] if no round on either side has finite values only.
    pub fn one_sided(&self, index: usize) -> Result<BoundedDerivative, Failure> {
        let above = self.rounds(index, Sides::One(1.0));
        above.or_else(|failure| {
            let below = self.rounds(index, Sides::One(-1.0));
            below.map_err(|_| failure)
        })
    }

    fn rounds(&self, index: usize, sides: Sides) -> Result<BoundedDerivative, Failure> {
        let value = self.theta[index];
        let relative_noise = match self.noise.deviation / self.value.abs() {
            relative if relative.is_finite() => relative.max(self.unit),
            _ => self.unit,
        };
        // From one side a function that saturates looks straight at a distance.
        let (order, farthest) = match sides {
            Sides::Both => (2 * LEVELS + 1, FARTHEST),
            Sides::One(_) => (LEVELS + 1, FARTHEST / 16.0),
        };
        let relative = relative_noise.powf(1.0 / order as f64).min(farthest);
        let mut h = increment::power_of_two(relative * scale(value));
        let first = h;
        let mut theta = self.theta.to_vec();
        let mut rounds: Vec<Round> = Vec::new();
        let (mut failure, mut failures) = (None, 0);
        for _ in 0..MOST_ROUNDS {
            if value + h / 4.0 == value || value - h / 4.0 == value {
                break;
            }
            let known = rounds.last().map(|round| round.levels);
            let round = match sides {
                Sides::Both => self.round(index, h, known, &mut theta),
                Sides::One(sign) => self.one_sided_round((index, sign), h, &mut theta),
            };
            let next = match round {
                Ok(round) => {
                    let next = round.next();
                    let smallest = rounds.iter().map(|round| round.result.bound);
                    let better = round.result.bound < smallest.fold(f64::INFINITY, f64::min);
                    rounds.push(round);
                    match next {
                        Next::Closer(factor) if h <= first => h / factor,
                        Next::Farther if better && h >= first && sides == Sides::Both => {
                            h * FARTHER
                        }
                        _ => break,
                    }
                }
                Err(_) if h > first => break,
                Err(failed) => {
                    failure = Some(failed);
                    failures += 1;
                    h / CLOSER.powi(1 << (failures.clamp(PATIENCE, LONGEST) - PATIENCE))
                }
            };
            if next > REACH * scale(value) {
                break;
            }
            h = next;
        }
        match (chosen(rounds), failure) {
            (Some(chosen), _) => Ok(chosen),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Failure::Increment {
                parameter: self.objective.name(index),
                value,
                increment: h,
            }),
        }
    }

    /// Makes the quotients at h, h/2 and h/4, of which the levels of the round before, `known`, have
    /// some; `theta` is a copy of θ.
    fn round(
        &self,
        index: usize,
        h: f64,
        known: Option<[Level; LEVELS]>,
        theta: &mut [f64],
    ) -> Result<Round, Failure> {
        let value = self.theta[index];
        let mut levels = [Level::default(); LEVELS];
        let mut evaluations = 0;
        for (number, level) in levels.iter_mut().enumerate() {
            let h = h / (number as f64).exp2();
            if let Some(known) = known.iter().flatten().find(|known| known.h == h) {
                *level = *known;
                continue;
            }
            let (above, below) = (value + h, value - h);
            let high = self.evaluate(index, h, theta)?;
            let low = self.evaluate(index, -h, theta)?;
            evaluations += 2;
            let right = quotient::quotient(high - self.value, above - value);
            let left = quotient::quotient(self.value - low, value - below);
            *level = Level {
                h,
                values: [high, low],
                partial: quotient::quotient(high - low, above - below),
                second: quotient::quotient(right - left, h),
                bend: (right - left).abs(),
                slope: right.abs().max(left.abs()),
            };
        }
        let slope = levels.iter().fold(0.0, |most, level| level.slope.max(most));
        let noise = |value: f64| self.value_noise(index, value, slope, h);
        let (closest, narrow) = (h / 4.0, &levels[LEVELS - 1]);
        let deviation = spread(&levels, &LIMIT, noise);
        let by_noise = self.deviations * deviation;
        let odd = sum(&levels, &CORRECTION, |level| level.partial).abs()
            - 2.0 * spread(&levels, &CORRECTION, noise);
        // Second differences have the noise of the value at θ, too, whose weights add up to −2/h².
        let even = h * sum(&levels, &CORRECTION, |level| level.second).abs()
            - self.deviations * h * second_spread(&levels, noise, noise(self.value));
        let truncation = odd.max(even).max(0.0);
        // Noise alone bends the slopes by √6·ε/h.
        let bent = narrow.bend > by_noise && SMOOTH * narrow.bend > levels[0].bend;
        let by_bend = if bent { narrow.bend } else { 0.0 };
        let bound = truncation + by_noise + by_bend;
        let derivative = sum(&levels, &LIMIT, |level| level.partial);
        // A central difference at h/4 is off by c·h²; its noise is about that of the result.
        let balance = (deviation / (narrow.partial - derivative).abs()).cbrt();
        let balance = if balance > NEAREST {
            balance.min(1.0)
        } else {
            NEAREST
        };
        let values = levels.iter().flat_map(|level| level.values);
        Ok(Round {
            levels,
            truncation,
            by_noise,
            noise_at_theta: self.noise_at_theta(),
            result: BoundedDerivative {
                derivative,
                bound,
                visible: bound + truncation + POWER * deviation + by_bend,
                noise: values.map(noise).fold(noise(self.value), f64::max),
                slope,
                bent,
                settled: truncation <= by_noise && !bent,
                closest,
                central: closest * increment::power_of_two_below(balance),
                evaluations,
            },
        })
    }

    /// Returns the deviation of a value within h of θ along parameter `index`.
    pub(super) fn value_noise(&self, index: usize, value: f64, slope: f64, h: f64) -> f64 {
        let rounding = self.unit * (value.abs() + slope * (self.theta[index].abs() + h));
        self.noise.at(value).max(rounding)
    }

    /// Returns the deviation of the value at θ.
    pub(super) fn noise_at_theta(&self) -> f64 {
        self.noise.at(self.value).max(self.unit * self.value.abs())
    }

    /// Evaluates the function with parameter `index` changed by `increment`.
    pub(super) fn evaluate(
        &self,
        index: usize,
        increment: f64,
        theta: &mut [f64],
    ) -> Result<f64, Failure> {
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

/// The sides of θ whose values count.
#[derive(Clone, Copy, PartialEq)]
enum Sides {
    Both,
    /// That of this sign.
    One(f64),
}

/// Two values, beside θ or one of them at θ, and what follows from them.
#[derive(Clone, Copy, Default)]
pub(super) struct Level {
    pub(super) h: f64,
    pub(super) values: [f64; 2],
    /// The quotient.
    pub(super) partial: f64,
    /// The second difference over h².
    pub(super) second: f64,
    /// The difference of the slopes on either side.
    pub(super) bend: f64,
    /// The larger slope.
    pub(super) slope: f64,
}

/// Returns Σ weights·number.
pub(super) fn sum(levels: &[Level], weights: &[f64], number: impl Fn(&Level) -> f64) -> f64 {
    let terms = levels.iter().zip(weights);
    terms.map(|(level, weight)| weight * number(level)).sum()
}

/// Returns the standard deviation that independent noises leave in Σ weights·quotient.
fn spread(levels: &[Level; LEVELS], weights: &[f64; LEVELS], noise: impl Fn(f64) -> f64) -> f64 {
    let of = |(level, weight): (&Level, &f64)| {
        let [high, low] = level.values.map(&noise);
        weight * high.hypot(low) / (2.0 * level.h)
    };
    levels.iter().zip(weights).map(of).fold(0.0, f64::hypot)
}

/// Returns the standard deviation of Σ CORRECTION·second difference.
fn second_spread(levels: &[Level; LEVELS], noise: impl Fn(f64) -> f64, middle: f64) -> f64 {
    let of = |(level, weight): (&Level, &f64)| {
        let [high, low] = level.values.map(&noise);
        weight * high.hypot(low) / (level.h * level.h)
    };
    let around = levels.iter().zip(&CORRECTION).map(of).fold(0.0, f64::hypot);
    let weight = sum(levels, &CORRECTION, |level| 2.0 / (level.h * level.h));
    around.hypot(weight * middle)
}

/// The result of one round.
pub(super) struct Round {
    pub(super) result: BoundedDerivative,
    pub(super) levels: [Level; LEVELS],
    pub(super) truncation: f64,
    pub(super) by_noise: f64,
    pub(super) noise_at_theta: f64,
}

/// Returns the result with the smallest bound of those that agree, within their bounds, with all
/// that are closer to θ: at a distance, a wave may look flat by chance. If none is settled, the bound
/// has the difference of the closest two as well.
fn chosen(mut rounds: Vec<Round>) -> Option<BoundedDerivative> {
    let evaluations = rounds.iter().map(|round| round.result.evaluations).sum();
    rounds.sort_by(|one, other| one.result.closest.total_cmp(&other.result.closest));
    let mut best = rounds.first()?.result;
    let agree = |one: &BoundedDerivative, other: &BoundedDerivative| {
        (one.derivative - other.derivative).abs() <= one.bound + other.bound
    };
    for (at, round) in rounds.iter().enumerate() {
        let closer = &rounds[..at];
        let agrees = closer
            .iter()
            .all(|closer| agree(&round.result, &closer.result));
        if agrees && round.result.bound < best.bound {
            best = round.result;
        }
    }
    if let [closest, next, ..] = &rounds[..]
        && rounds.iter().all(|round| !round.result.settled)
    {
        let apart = (closest.result.derivative - next.result.derivative).abs();
        best.bound += apart;
        best.visible += 2.0 * apart;
    }
    Some(BoundedDerivative {
        evaluations,
        ..best
    })
}

/// Where another round may have a smaller bound.
enum Next {
    /// By this factor.
    Closer(f64),
    Farther,
    Nowhere,
}

impl Round {
    fn next(&self) -> Next {
        let result = &self.result;
        // The values grow with the square of the distance, or faster.
        let growth = increment::power_of_two_below((result.noise / self.noise_at_theta).sqrt());
        if !result.settled {
            Next::Closer(CLOSER)
        } else if growth >= CLOSER && result.bound > FINE * result.derivative.abs() {
            Next::Closer(growth)
        } else if NOISY * self.truncation < self.by_noise
            && result.bound > FINE * result.derivative.abs()
        {
            Next::Farther
        } else {
            Next::Nowhere
        }
    }
}
