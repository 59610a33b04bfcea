//! RMSprop: each step is the gradient divided by the root of the decaying mean of its squares.
//!
//! Tieleman and Hinton, "Lecture 6.5: rmsprop" (2012), by the formulas of PyTorch's
//! `torch.optim.RMSprop` without momentum and centering; λθ is added to the gradient, so the mean
//! includes it. The arithmetic is in double precision; θ and the mean are rounded once per step, to
//! the precision of θ.

use super::{Optimizer, OptimizerState, Schedule, StateForm};
use crate::model::Parameters;
use crate::numeric::Real;

/// Configuration of `kind = "rmsprop"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RmspropConfig {
    /// Initial learning rate.
    pub learning_rate: f64,
    /// ρ of v ← ρv + (1 − ρ)g².
    pub rho: f64,
    /// ε of θ ← θ − rate · g/(√v + ε).
    pub epsilon: f64,
    /// Weight decay λ of g ← g + λθ, biases included.
    pub weight_decay: f64,
    /// Schedule of the learning rate.
    pub schedule: Schedule,
}

/// State of RMSprop: the decaying mean of the gradient's squares.
pub static STATE: StateForm = StateForm {
    kind: "square_mean",
    vectors: &[""],
    repeated: &[],
};

definition!(
    RmspropConfig as Rmsprop,
    "rmsprop",
    [learning_rate, rho, epsilon, weight_decay]
);

impl<R: Real> Optimizer<R> for RmspropConfig {
    fn state_form(&self) -> &'static StateForm {
        &STATE
    }

    /// Cost: 5 multiplications, a division and a square root per parameter.
    fn step(
        &self,
        factor: f64,
        theta: &mut Parameters<R>,
        gradient: &Parameters<R>,
        state: &mut OptimizerState<R>,
    ) {
        let [squares] = state.vectors_mut();
        let (squares, theta, gradient) = (squares.flat_mut(), theta.flat_mut(), gradient.flat());
        assert!(
            [gradient.len(), squares.len()] == [theta.len(); 2],
            "θ, its gradient and the mean of its squares have N numbers"
        );
        let rate = self.learning_rate * factor;
        for ((theta, v), gradient) in theta.iter_mut().zip(squares).zip(gradient) {
            let w = theta.to_f64();
            let g = gradient.to_f64() + self.weight_decay * w;
            let square = self.rho * v.to_f64() + (1.0 - self.rho) * g * g;
            *v = R::from_f64(square);
            *theta = R::from_f64(w - rate * g / (square.sqrt() + self.epsilon));
        }
    }
}
