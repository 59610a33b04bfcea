//! Stochastic gradient descent with momentum and weight decay, and schedules of the learning rate.

use super::StateForm;
use crate::kernels::elementary::cos_turn;
use crate::kernels::update::Rule;
use crate::numeric::Real;

/// Schedule of the learning rate over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Constant learning rate.
    Constant,
    /// Multiplied by `factor` every `every` epochs.
    Step {
        /// Number of epochs between two multiplications.
        every: usize,
        /// Factor of the learning rate.
        factor: f64,
    },
    /// Half a cosine, from the initial learning rate to 0 at the end of the run.
    Cosine,
}

impl Schedule {
    /// Returns the factor of the initial learning rate in epoch `epoch` (from 0) of `epochs`.
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

/// Configuration of `kind = "sgd"`: g ← g + λθ, v ← μv + g, θ ← θ − rate · v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// Initial learning rate.
    pub learning_rate: f64,
    /// Momentum μ of v ← μv + g.
    pub momentum: f64,
    /// Weight decay λ of g ← g + λθ, biases included.
    pub weight_decay: f64,
    /// Schedule of the learning rate.
    pub schedule: Schedule,
}

/// State of SGD with momentum: the velocity v. Without momentum there is none.
pub static STATE: StateForm = StateForm {
    kind: "velocity",
    vectors: &[""],
    repeated: &[],
};

definition!(
    SgdConfig as Sgd,
    "sgd",
    [learning_rate, momentum, weight_decay]
);

impl SgdConfig {
    /// Returns the update rule of an epoch: `factor` is that of the schedule, `l2` is λ' of the
    /// loss.
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
