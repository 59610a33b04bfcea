//! Random directions v ∈ ℝⁿ that are never stored: any component can be drawn again.
//!
//! Component i of direction k of a step is a function of (seed, step, k, i) alone: the stream of
//! ChaCha for the seed and the step, from word k·2⁴⁰ on. So a direction costs no memory (MeZO's trick,
//! arXiv 2305.17333), is the same whoever draws it and in both precisions, and a run that is resumed
//! draws on as if it had never stopped.

use ndarray_rand::rand::RngCore;
use rand_chacha::ChaCha12Rng;

use crate::numeric::random::{DRAWN, Purpose, epoch_stream, gaussians};

/// The most directions of a gradient.
pub const MOST_DIRECTIONS: usize = 1 << 16;

/// Which random numbers: those of one step of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DirectionSeed {
    /// The run's seed.
    pub seed: u64,
    /// Steps since the start of the run.
    pub step: u64,
}

/// What the components of a direction are drawn from, each on its own; mean 0 and variance 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distribution {
    /// −1 or 1.
    Rademacher,
    /// N(0, 1).
    Gaussian,
}

impl Distribution {
    /// As configs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rademacher => "rademacher",
            Self::Gaussian => "gaussian",
        }
    }

    /// Words of the stream for [`DRAWN`] components.
    fn words(self) -> u128 {
        match self {
            Self::Rademacher => DRAWN as u128 / 32,
            Self::Gaussian => DRAWN as u128,
        }
    }
}

/// One of the directions of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// The step.
    pub draw: DirectionSeed,
    /// Which of its directions, from 0.
    pub number: usize,
    /// What its components are drawn from.
    pub distribution: Distribution,
}

impl Direction {
    /// Its components, from the first on.
    pub fn components(&self) -> Components {
        let DirectionSeed { seed, step } = self.draw;
        Components {
            random: epoch_stream(seed, Purpose::Estimate, step as usize),
            distribution: self.distribution,
            start: (self.number as u128) << 40,
            chunk: None,
            numbers: [0.0; DRAWN],
            next: DRAWN,
        }
    }
}

/// A place among the components of a direction, and the next of them.
#[derive(Clone, Debug)]
pub struct Components {
    random: ChaCha12Rng,
    distribution: Distribution,
    /// The direction's first word.
    start: u128,
    /// Which chunk of the components `numbers` holds.
    chunk: Option<u64>,
    numbers: [f32; DRAWN],
    /// The next of them.
    next: usize,
}

impl Components {
    /// Goes to component `index`.
    pub fn seek(&mut self, index: usize) {
        let chunk = (index / DRAWN) as u64;
        if self.chunk != Some(chunk) {
            let follows = self.chunk.is_some_and(|held| held + 1 == chunk);
            if !follows {
                let word = self.start + u128::from(chunk) * self.distribution.words();
                self.random.set_word_pos(word);
            }
            self.draw(chunk);
        }
        self.next = index % DRAWN;
    }

    /// The next component.
    #[inline(always)]
    pub fn step(&mut self) -> f32 {
        if self.next == DRAWN {
            self.seek(self.chunk.map_or(0, |held| held + 1) as usize * DRAWN);
        }
        let number = self.numbers[self.next];
        self.next += 1;
        number
    }

    /// The chunk at which the stream stands.
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
                let mut words = [0; DRAWN];
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
            draw: DirectionSeed { seed, step },
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
            let all = first(direction, 1000);
            let mut components = direction.components();
            for index in [999, 0, 64, 63, 65, 700, 128, 127, 0] {
                components.seek(index);
                assert_eq!(components.step(), all[index], "{distribution:?} {index}");
                if let Some(&next) = all.get(index + 1) {
                    assert_eq!(components.step(), next, "{distribution:?} after {index}");
                }
            }
        }
    }

    #[test]
    fn seeds_steps_and_numbers_have_directions_of_their_own() {
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
    fn a_rademacher_direction_is_of_signs_half_of_them_negative() {
        let all = first(direction(1, 0, 0, Distribution::Rademacher), 1 << 16);
        assert!(all.iter().all(|&v| v.abs() == 1.0));
        // 4 standard errors of √n.
        assert!(all.iter().sum::<f32>().abs() < 4.0 * 256.0);
    }
}
