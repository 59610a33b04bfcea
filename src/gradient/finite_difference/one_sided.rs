//! A partial derivative with a bound from values on one side of θ, where the function ends at θ: a
//! parameter at the edge of its domain, such as a rate of 0.
//!
//! ```text
//! E₁(h) = 2·D(h/2) − D(h)                      error O(h²)
//! E(h)  = (D(h) − 6·D(h/2) + 8·D(h/4))/3       error O(h³)
//! ```
//!
//! of forward quotients D, or backward ones. E(h/2) is the derivative; its truncation is bounded by
//! twice the sum of |E(h/2) − E(h)|, which is 7 times as large if h is small, and |E(h/2) − E₁(h/2)|. Noise
//! counts as in [`bounded`](super::bounded).

use super::bounded::{BoundedDerivative, BoundedDerivatives, LEVELS, Level, POWER, Round, sum};
use super::failure::Failure;
use super::quotient;

/// The number of distances.
const DISTANCES: usize = LEVELS + 1;
/// The weights of D(h), D(h/2), D(h/4) and D(h/8) in E(h/2).
const LIMIT: [f64; DISTANCES] = [0.0, 1.0 / 3.0, -2.0, 8.0 / 3.0];
/// Their weights in E(h/2) − E(h).
const APART: [f64; DISTANCES] = [-1.0 / 3.0, 7.0 / 3.0, -14.0 / 3.0, 8.0 / 3.0];
/// Their weights in E(h/2) − E₁(h/2).
const CORRECTION: [f64; DISTANCES] = [0.0, 4.0 / 3.0, -4.0, 8.0 / 3.0];

impl BoundedDerivatives<'_> {
    /// Makes the quotients at h, h/2, h/4 and h/8 on the side of `sign`, 1 or −1.
    pub(super) fn one_sided_round(
        &self,
        (index, sign): (usize, f64),
        h: f64,
        theta: &mut [f64],
    ) -> Result<Round, Failure> {
        let value = self.theta[index];
        let mut levels = [Level::default(); DISTANCES];
        for (number, level) in levels.iter_mut().enumerate() {
            let h = h / (number as f64).exp2();
            let beside = self.evaluate(index, sign * h, theta)?;
            let moved = value + sign * h;
            let partial = quotient::quotient(beside - self.value, moved - value);
            *level = Level {
                h,
                values: [beside, self.value],
                partial,
                slope: partial.abs(),
                ..Level::default()
            };
        }
        let slope = levels.iter().fold(0.0, |most, level| level.slope.max(most));
        let noise = |value: f64| self.value_noise(index, value, slope, h);
        let of = |(level, weight): (&Level, &f64)| weight * noise(level.values[0]) / level.h;
        let beside = levels.iter().zip(&LIMIT).map(of).fold(0.0, f64::hypot);
        // The value at θ is in every quotient.
        let weight = sum(&levels, &LIMIT, |level| 1.0 / level.h);
        let deviation = beside.hypot(noise(self.value) * weight);
        let by_noise = self.deviations * deviation;
        let difference = |weights| sum(&levels, weights, |level| level.partial).abs();
        let truncation = 2.0 * (difference(&APART) + difference(&CORRECTION));
        let bound = truncation + by_noise;
        let closest = h / 8.0;
        Ok(Round {
            levels: [levels[1], levels[2], levels[3]],
            truncation,
            by_noise,
            noise_at_theta: self.noise_at_theta(),
            result: BoundedDerivative {
                derivative: sum(&levels, &LIMIT, |level| level.partial),
                bound,
                visible: bound + truncation + POWER * deviation,
                noise: levels.iter().fold(noise(self.value), |most, level| {
                    noise(level.values[0]).max(most)
                }),
                slope,
                bent: false,
                settled: truncation <= by_noise,
                closest,
                central: closest,
                evaluations: DISTANCES as u64,
            },
        })
    }
}
