//! Seeded random streams and the normal distribution.
//!
//! Each purpose has a separate counter-based stream (ChaCha with 12 rounds), whose numbers are the
//! same on every machine.

use ndarray_rand::rand::Rng;
use ndarray_rand::rand_distr::Distribution;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::kernels::elementary::{cos_turn, ln};

/// The purpose of a random stream. Purposes have separate streams, so that drawing more numbers for
/// one never shifts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The initial weights and biases.
    Initialization = 0,
    /// The split of the rows into training, validation and test.
    Split = 1,
    /// The order of the rows in an epoch.
    Shuffle = 2,
    /// Random directions.
    Directions = 3,
    /// The directions along which a step estimates the gradient.
    Estimate = 4,
}

/// Returns the stream of `seed` for `purpose`.
pub fn stream(seed: u64, purpose: Purpose) -> ChaCha12Rng {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(purpose as u64);
    random
}

/// Returns the stream of `seed` for `purpose` in one epoch (for [`Purpose::Estimate`]: in one
/// step). It does not depend on the streams of earlier epochs.
pub fn epoch_stream(seed: u64, purpose: Purpose, epoch: usize) -> ChaCha12Rng {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(purpose as u64 | (epoch as u64) << 8);
    random
}

/// The normal distribution N(0, 1) by Box and Muller's method, with elementary functions that give
/// the same bits on every machine.
#[derive(Clone, Copy, Debug)]
pub struct Gaussian;

impl Distribution<f64> for Gaussian {
    fn sample<G: Rng + ?Sized>(&self, random: &mut G) -> f64 {
        let radius = (-2.0 * ln(1.0 - unit(random))).sqrt();
        radius * cos_turn(unit(random))
    }
}

/// Number of normal numbers that one call of [`gaussians`] computes.
pub const GAUSSIANS_PER_CALL: usize = 64;

/// Computes numbers from N(0, 1) out of random words, by Box and Muller's method, fast and in
/// single precision.
///
/// Word k of the first half gives a radius, word k of the second half an angle; the pair gives two
/// numbers. With x uniform in (0, 1) and φ in (−π/4, π/4), the point
/// √(−2 ln x)·(cos(φ + π/4), sin(φ + π/4)) lies in the first quadrant and equals
/// √(−ln x)·(cos φ − sin φ, cos φ + sin φ); two bits of the angle's word give the signs. x has 32
/// bits, so no number exceeds 6.66 in size, as one in 4·10¹⁰ should.
///
/// The loop consists of single operations, so that the compiler vectorizes it and the bits stay the
/// same.
pub fn gaussians(words: &[u32; GAUSSIANS_PER_CALL], numbers: &mut [f32; GAUSSIANS_PER_CALL]) {
    const HALF: usize = GAUSSIANS_PER_CALL / 2;
    const SIGN: u32 = 1 << 31;
    let (radii, angles) = words.split_at(HALF);
    let (first, second) = numbers.split_at_mut(HALF);
    let pairs = radii.iter().zip(angles);
    for ((&radius, &angle), (a, b)) in pairs.zip(first.iter_mut().zip(second)) {
        // x = mantissa·2^(−1 − zeros), mantissa in [1, 2).
        let zeros = (radius | 1).leading_zeros();
        let mantissa = ((radius | 1) << zeros >> 8) as f32 * (1.0 / (1 << 23) as f32);
        let s = (mantissa - 1.0) / (mantissa + 1.0);
        let s2 = s * s;
        // ln mantissa = 2 atanh s, s < 1/3.
        let series = [13.0, 11.0, 9.0, 7.0, 5.0, 3.0, 1.0]
            .iter()
            .fold(1.0 / 15.0, |p: f32, odd| p * s2 + 1.0 / odd);
        let logarithm = 2.0 * s * series;
        // Near x = 1 the difference of the two may be rounded to below 0.
        let square = ((zeros + 1) as f32 * std::f32::consts::LN_2 - logarithm).max(0.0);
        let turn = ((angle & (SIGN / 2 - 1)) >> 6) as f32 * (1.0 / (1 << 24) as f32);
        let phi = (turn - 0.5) * std::f32::consts::FRAC_PI_2;
        let phi2 = phi * phi;
        let cos = [1.0 / 720.0, 1.0 / 24.0, 0.5, 1.0]
            .iter()
            .fold(1.0 / 40_320.0, |p: f32, term| term - p * phi2);
        let sin = [1.0 / 120.0, 1.0 / 6.0, 1.0]
            .iter()
            .fold(1.0 / 5040.0, |p: f32, term| term - p * phi2)
            * phi;
        let radius = square.sqrt();
        let signed = |number: f32, sign: u32| f32::from_bits(number.to_bits() ^ (sign & SIGN));
        *a = signed(radius * (cos - sin), angle);
        *b = signed(radius * (cos + sin), angle << 1);
    }
}

/// Draws a number that is uniform in [0, 1), with 53 bits.
pub fn unit<G: Rng + ?Sized>(random: &mut G) -> f64 {
    (random.next_u64() >> 11) as f64 * (0.5f64).powi(53)
}

#[cfg(test)]
mod tests {
    use ndarray_rand::rand::RngCore;

    use super::*;

    /// Draws 2²⁰ numbers, one block after the other.
    fn drawn() -> Vec<f64> {
        let mut random = stream(7, Purpose::Estimate);
        let mut words = [0; GAUSSIANS_PER_CALL];
        let mut numbers = [0.0; GAUSSIANS_PER_CALL];
        let mut all = Vec::new();
        for _ in 0..(1 << 20) / GAUSSIANS_PER_CALL {
            words.fill_with(|| random.next_u32());
            gaussians(&words, &mut numbers);
            all.extend(numbers.iter().map(|&x| f64::from(x)));
        }
        all
    }

    /// Compares means of powers of n numbers with their expectations, within 4 standard errors: the
    /// standard deviations of x, x², x³ and x⁴ are 1, √2, √15 and √96.
    #[test]
    fn fast_gaussians_have_the_moments_and_the_tails_of_a_normal_distribution() {
        let all = drawn();
        let n = all.len() as f64;
        let mean = |of: &dyn Fn(f64) -> f64| all.iter().map(|&x| of(x)).sum::<f64>() / n;
        for (power, expected, variance) in [
            (1, 0.0, 1.0),
            (2, 1.0, 2.0f64),
            (3, 0.0, 15.0),
            (4, 3.0, 96.0),
        ] {
            let found = mean(&|x| x.powi(power));
            let allowed = 4.0 * variance.sqrt() / n.sqrt();
            assert!((found - expected).abs() < allowed, "x^{power}: {found}");
        }
        // P(|x| > 1, 2, 3, 4).
        for (beyond, expected) in [
            (1.0, 0.317_310_507_9),
            (2.0, 0.045_500_263_9),
            (3.0, 0.002_699_796_1),
            (4.0, 0.000_063_342_5f64),
        ] {
            let found = mean(&|x| f64::from(u8::from(x.abs() > beyond)));
            let allowed = 4.0 * (expected / n).sqrt();
            assert!(
                (found - expected).abs() < allowed,
                "beyond {beyond}: {found}"
            );
        }
        // The correlation of neighbors, and of the two numbers of a pair.
        for distance in [1, GAUSSIANS_PER_CALL / 2] {
            let pairs = all.iter().zip(&all[distance..]);
            let found = pairs.map(|(a, b)| a * b).sum::<f64>() / n;
            assert!(found.abs() < 4.0 / n.sqrt(), "{distance} apart: {found}");
        }
    }

    /// Compares with Box and Muller's formula over the library's functions: the errors are a few
    /// roundings of numbers below 7.
    #[test]
    fn fast_gaussians_agree_with_the_formula_at_every_extreme() {
        let extremes = [
            0,
            1,
            2,
            3,
            255,
            1 << 31,
            u32::MAX - 1,
            u32::MAX,
            0x1234_5678,
        ];
        for radius in extremes {
            for angle in extremes {
                let mut words = [radius; GAUSSIANS_PER_CALL];
                words[GAUSSIANS_PER_CALL / 2..].fill(angle);
                let mut numbers = [f32::NAN; GAUSSIANS_PER_CALL];
                gaussians(&words, &mut numbers);
                let x = f64::from(radius | 1) / 2f64.powi(32);
                let turn = f64::from((angle & 0x3fff_ffff) >> 6) / 2f64.powi(24);
                let phi = turn * std::f64::consts::FRAC_PI_2;
                let length = (-2.0 * x.ln()).sqrt();
                let sign = |bit: u32| if angle >> bit & 1 == 1 { -1.0 } else { 1.0 };
                let exact = [sign(31) * length * phi.cos(), sign(30) * length * phi.sin()];
                let found = [numbers[0], numbers[GAUSSIANS_PER_CALL / 2]].map(f64::from);
                for (found, exact) in found.iter().zip(exact) {
                    // Near x = 1, the root turns an error e of −ln x into √e.
                    let allowed = if x > 0.99 { 5e-4 } else { 3e-6 };
                    assert!(
                        (found - exact).abs() <= allowed,
                        "{radius} {angle}: {found} {exact}"
                    );
                }
            }
        }
    }
}
