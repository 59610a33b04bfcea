//! Stochastic gradient descent: momentum, weight decay, schedules.

use crate::kernels::elementary::cos_turn;
use crate::kernels::update::Rule;
use crate::numeric::Real;

/// How the learning rate moves over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Multiplied by `factor` after every `every` epochs.
    Step {
        /// Epochs between drops.
        every: usize,
        /// What it is multiplied by.
        factor: f64,
    },
    /// Half a cosine from the start to 0 over the run.
    Cosine,
}

impl Schedule {
    /// What the learning rate is multiplied by in epoch `epoch` (from 0) of `epochs`.
    pub fn factor(&self, epoch: usize, epochs: f64) -> f64 {
        match *self {
            Self::Constant => 1.0,
            Self::Step { every, factor } => {
                (0..epoch / every.max(1)).fold(1.0, |product, _| product * factor)
            }
            Self::Cosine => {
                let progress = (epoch as f64 / epochs).min(1.0);
                0.5 * (1.0 + cos_turn(0.5 * progress))
            }
        }
    }
}

/// `kind = "sgd"`: g ← g + λθ, v ← μv + g, θ ← θ − rate · v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// The learning rate at the start.
    pub learning_rate: f64,
    /// μ of v ← μv + g.
    pub momentum: f64,
    /// λ of g ← g + λθ, biases included.
    pub weight_decay: f64,
    /// How the learning rate moves.
    pub schedule: Schedule,
}

impl SgdConfig {
    /// The rule of an epoch whose schedule stands at `factor`, for a loss with λ' = `l2`.
    pub fn rule<R: Real>(&self, l2: f64, factor: f64) -> Rule<R> {
        Rule {
            rate: R::from_f64(self.learning_rate * factor),
            l2: R::from_f64(l2),
            decay: R::from_f64(self.weight_decay),
            momentum: R::from_f64(self.momentum),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_start_at_one_and_fall() {
        assert_eq!(Schedule::Cosine.factor(0, 30.0), 1.0);
        assert!((Schedule::Cosine.factor(15, 30.0) - 0.5).abs() < 1e-15);
        assert!(Schedule::Cosine.factor(29, 30.0) < 0.01);
        let step = Schedule::Step {
            every: 10,
            factor: 0.5,
        };
        assert_eq!(
            [0, 9, 10, 25].map(|epoch| step.factor(epoch, 30.0)),
            [1.0, 1.0, 0.5, 0.25]
        );
    }
}
