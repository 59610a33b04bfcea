//! Adam: steps about as large as the learning rate in each parameter, whatever the gradient's
//! scale.
//!
//! Kingma and Ba, "Adam: a method for stochastic optimization" (arXiv 1412.6980), algorithm 1, with
//! the weight decay of PyTorch's `torch.optim.Adam`: λθ is added to the gradient, so the moments
//! include it. The arithmetic is in double precision; θ and both moments are rounded once per step,
//! to the precision of θ.

use super::{Optimizer, OptimizerState, Schedule, StateForm};
use crate::model::Parameters;
use crate::numeric::Real;

/// Configuration of `kind = "adam"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamConfig {
    /// Initial learning rate.
    pub learning_rate: f64,
    /// β₁ of m ← β₁m + (1 − β₁)g.
    pub beta1: f64,
    /// β₂ of v ← β₂v + (1 − β₂)g².
    pub beta2: f64,
    /// ε of θ ← θ − rate · m̂/(√v̂ + ε).
    pub epsilon: f64,
    /// Weight decay λ of g ← g + λθ, biases included.
    pub weight_decay: f64,
    /// Schedule of the learning rate.
    pub schedule: Schedule,
}

impl Default for AdamConfig {
    /// Returns the defaults of PyTorch's `torch.optim.Adam`.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
        }
    }
}

/// State of Adam: the decaying means of past gradients and of their squares. Each is biased by the
/// factor 1 − β^steps.
pub static STATE: StateForm = StateForm {
    kind: "moments",
    vectors: &["first", "second"],
    repeated: &[],
};

definition!(
    AdamConfig as Adam,
    "adam",
    [learning_rate, beta1, beta2, epsilon, weight_decay]
);

impl<R: Real> Optimizer<R> for AdamConfig {
    fn state_form(&self) -> &'static StateForm {
        &STATE
    }

    /// Cost: about 10 multiplications, 2 divisions and a square root per parameter.
    fn step(
        &self,
        factor: f64,
        theta: &mut Parameters<R>,
        gradient: &Parameters<R>,
        state: &mut OptimizerState<R>,
    ) {
        state.steps += 1;
        let steps = state.steps;
        let [first, second] = state.vectors_mut();
        let (first, second) = (first.flat_mut(), second.flat_mut());
        let (theta, gradient) = (theta.flat_mut(), gradient.flat());
        assert!(
            [gradient.len(), first.len(), second.len()] == [theta.len(); 3],
            "θ, its gradient and both moments have N numbers"
        );
        let rate = self.learning_rate * factor / (1.0 - power(self.beta1, steps));
        let bias = (1.0 - power(self.beta2, steps)).sqrt();
        let moments = theta.iter_mut().zip(first).zip(second);
        for (((theta, m), v), gradient) in moments.zip(gradient) {
            let w = theta.to_f64();
            let g = gradient.to_f64() + self.weight_decay * w;
            let mean = m.to_f64() + (1.0 - self.beta1) * (g - m.to_f64());
            let square = self.beta2 * v.to_f64() + (1.0 - self.beta2) * g * g;
            *m = R::from_f64(mean);
            *v = R::from_f64(square);
            *theta = R::from_f64(w - rate * mean / (square.sqrt() / bias + self.epsilon));
        }
    }
}

/// Returns base^exponent, computed by multiplications only: the same bits on every machine, which
/// the standard library does not guarantee.
fn power(base: f64, mut exponent: u64) -> f64 {
    let (mut square, mut product) = (base, 1.0);
    while exponent > 0 {
        if exponent & 1 == 1 {
            product *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    product
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::Layout;

    const ADAM: AdamConfig = AdamConfig {
        learning_rate: 1e-3,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        schedule: Schedule::Constant,
    };

    #[test]
    fn the_first_step_has_the_size_of_the_learning_rate_in_each_parameter() {
        let layout = Arc::new(Layout::new(&[2, 1], true));
        let gradient = Parameters::from_flat(Arc::clone(&layout), vec![1e-3, -20.0, 0.0]);
        let mut theta = Parameters::<f64>::zeros(Arc::clone(&layout));
        let mut moments = OptimizerState::zeros(&STATE, &layout);
        ADAM.step(1.0, &mut theta, &gradient, &mut moments);
        // ε shortens a step by the fraction 1e-8/|g|.
        let allowed = 1e-3 * 1e-8 / 1e-3 + 1e-15;
        for (value, expected) in theta.flat().iter().zip([-1e-3, 1e-3, 0.0]) {
            assert!((value - expected).abs() <= allowed, "{value}");
        }
        assert_eq!(moments.steps, 1);
    }

    #[test]
    fn powers_equal_repeated_products() {
        for exponent in [0, 1, 2, 3, 7, 64, 1000] {
            let repeated = (0..exponent).fold(1.0, |product, _| product * 0.999);
            // Each product rounds once.
            let allowed = 2.0 * exponent as f64 * f64::EPSILON;
            assert!((power(0.999, exponent) / repeated - 1.0).abs() <= allowed);
        }
        assert_eq!(power(0.9, u64::MAX), 0.0);
    }
}
