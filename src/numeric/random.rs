//! Seeded random streams: separate for each purpose, counter-based, the same on every machine.

use ndarray_rand::rand::Rng;
use ndarray_rand::rand_distr::Distribution;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use super::elementary::{cos_turn, ln};

/// What a stream of random numbers is for. Each purpose has its own stream, so that drawing more
/// of one never shifts another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The first weights and biases.
    Initialization = 0,
    /// Which rows are for training, validation and test.
    Split = 1,
    /// The order of the rows in an epoch.
    Shuffle = 2,
    /// Random directions.
    Directions = 3,
}

/// The stream of `seed` for `purpose`.
pub fn stream(seed: u64, purpose: Purpose) -> ChaCha12Rng {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(purpose as u64);
    random
}

/// The stream of `seed` for `purpose` in one epoch: an epoch can be drawn without those before it.
pub fn epoch_stream(seed: u64, purpose: Purpose, epoch: usize) -> ChaCha12Rng {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    random.set_stream(purpose as u64 | (epoch as u64) << 8);
    random
}

/// N(0, 1) by Box and Muller, with elementary functions that are the same on every machine.
#[derive(Clone, Copy, Debug)]
pub struct Gaussian;

impl Distribution<f64> for Gaussian {
    fn sample<G: Rng + ?Sized>(&self, random: &mut G) -> f64 {
        let radius = (-2.0 * ln(1.0 - unit(random))).sqrt();
        radius * cos_turn(unit(random))
    }
}

/// Uniform in [0, 1), 53 bits.
pub fn unit<G: Rng + ?Sized>(random: &mut G) -> f64 {
    (random.next_u64() >> 11) as f64 * (0.5f64).powi(53)
}
