//! Random directions v ∈ ℝⁿ that are not stored: any component can be drawn again.
//!
//! Component i of direction k of a step is a function of (seed, step, k, i) alone, drawn from the
//! ChaCha stream of the seed and the step, from word k·2⁴⁰ on. So a direction takes no memory (as
//! in MeZO, arXiv 2305.17333) and is the same for every worker and in both precisions, and a
//! resumed run continues with the directions of an uninterrupted one.

use ndarray_rand::rand::RngCore;
use rand_chacha::ChaCha12Rng;

use crate::numeric::random::{GAUSSIANS_PER_CALL, Purpose, epoch_stream, gaussians};

/// Maximum number of directions of a gradient.
pub const MOST_DIRECTIONS: usize = 1 << 16;

/// Seed of the random directions of one step of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionSeed {
    /// The run's seed.
    pub seed: u64,
    /// Number of steps since the start of the run.
    pub step: u64,
}

/// Distribution of the components of a direction: independent, of mean 0 and variance 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// −1 or 1, with equal probability.
    Rademacher,
    /// N(0, 1).
    Gaussian,
}

impl Distribution {
    /// Returns the name used in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rademacher => "rademacher",
            Self::Gaussian => "gaussian",
        }
    }

    /// Returns the number of 32-bit words of the stream that [`GAUSSIANS_PER_CALL`] components take.
    fn words(self) -> u128 {
        match self {
            Self::Rademacher => GAUSSIANS_PER_CALL as u128 / 32,
            Self::Gaussian => GAUSSIANS_PER_CALL as u128,
        }
    }
}

/// One direction of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Seed and step.
    pub seed: DirectionSeed,
    /// Index among the step's directions, from 0.
    pub number: usize,
    /// Distribution of the components.
    pub distribution: Distribution,
}

impl Direction {
    /// Returns the components, from the first on.
    pub fn components(&self) -> Components {
        let DirectionSeed { seed, step } = self.seed;
        Components {
            random: epoch_stream(seed, Purpose::Estimate, step as usize),
            distribution: self.distribution,
            start: (self.number as u128) << 40,
            chunk: None,
            numbers: [0.0; GAUSSIANS_PER_CALL],
            next: GAUSSIANS_PER_CALL,
        }
    }
}

/// Cursor over the components of a direction.
#[derive(Clone, Debug)]
pub struct Components {
    random: ChaCha12Rng,
    distribution: Distribution,
    /// Index of the direction's first word in the stream.
    start: u128,
    /// Index of the chunk of components that `numbers` holds.
    chunk: Option<u64>,
    numbers: [f32; GAUSSIANS_PER_CALL],
    /// Index of the next component in `numbers`.
    next: usize,
}

impl Components {
    /// Moves the cursor to component `index`.
    pub fn seek(&mut self, index: usize) {
        let chunk = (index / GAUSSIANS_PER_CALL) as u64;
        if self.chunk != Some(chunk) {
            let follows = self.chunk.is_some_and(|current| current + 1 == chunk);
            if !follows {
                let word = self.start + u128::from(chunk) * self.distribution.words();
                self.random.set_word_pos(word);
            }
            self.draw(chunk);
        }
        self.next = index % GAUSSIANS_PER_CALL;
    }

    /// Returns the component at the cursor, and moves to the next one.
    #[inline(always)]
    pub fn step(&mut self) -> f32 {
        if self.next == GAUSSIANS_PER_CALL {
            self.seek(self.chunk.map_or(0, |current| current + 1) as usize * GAUSSIANS_PER_CALL);
        }
        let number = self.numbers[self.next];
        self.next += 1;
        number
    }

    /// Draws chunk `chunk`, which begins at the stream's current position.
    fn draw(&mut self, chunk: u64) {
        match self.distribution {
            Distribution::Rademacher => {
                let bits = self.random.next_u64();
                for (k, number) in self.numbers.iter_mut().enumerate() {
                    let sign = (bits >> k & 1) as u32;
                    *number = f32::from_bits(1f32.to_bits() | sign << 31);
                }
            }
            Distribution::Gaussian => {
                let mut words = [0; GAUSSIANS_PER_CALL];
                words.fill_with(|| self.random.next_u32());
                gaussians(&words, &mut self.numbers);
            }
        }
        self.chunk = Some(chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn direction(seed: u64, step: u64, number: usize, distribution: Distribution) -> Direction {
        Direction {
            seed: DirectionSeed { seed, step },
            number,
            distribution,
        }
    }

    fn first(direction: Direction, count: usize) -> Vec<f32> {
        let mut components = direction.components();
        (0..count).map(|_| components.step()).collect()
    }

    #[test]
    fn any_component_can_be_drawn_again_in_any_order() {
        for distribution in [Distribution::Rademacher, Distribution::Gaussian] {
            let direction = direction(3, 5, 2, distribution);
            let components_in_order = first(direction, 1000);
            let mut components = direction.components();
            for index in [999, 0, 64, 63, 65, 700, 128, 127, 0] {
                components.seek(index);
                assert_eq!(
                    components.step(),
                    components_in_order[index],
                    "{distribution:?} {index}"
                );
                if let Some(&next) = components_in_order.get(index + 1) {
                    assert_eq!(components.step(), next, "{distribution:?} after {index}");
                }
            }
        }
    }

    #[test]
    fn directions_differ_between_seeds_steps_and_numbers() {
        for distribution in [Distribution::Rademacher, Distribution::Gaussian] {
            let mut seen = Vec::new();
            for seed in 0..3 {
                for step in [0, 1, 2, 1 << 40] {
                    for number in [0, 1, MOST_DIRECTIONS - 1] {
                        seen.push(first(direction(seed, step, number, distribution), 128));
                    }
                }
            }
            for (index, one) in seen.iter().enumerate() {
                assert!(seen[..index].iter().all(|other| other != one));
            }
        }
    }

    #[test]
    fn a_rademacher_direction_has_components_of_plus_or_minus_one_in_equal_parts() {
        let components = first(direction(1, 0, 0, Distribution::Rademacher), 1 << 16);
        assert!(components.iter().all(|&v| v.abs() == 1.0));
        // 4 standard errors of √n.
        assert!(components.iter().sum::<f32>().abs() < 4.0 * 256.0);
    }
}
