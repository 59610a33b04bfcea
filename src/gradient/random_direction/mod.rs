//! Gradient estimates from random directions: K directional derivatives instead of N along the
//! axes.
//!
//! If the components of v are independent, of mean 0 and variance 1, the mean of (g·v)·v is g. Its
//! length varies (g = ∂L/∂θ, N parameters):
//!
//! ```text
//! E‖(g·v)·v‖² = N‖g‖²          v of ±1 (Rademacher)
//!             = (N + 2)‖g‖²    v of N(0, 1)
//! E|cos(ĝ, g)| ≈ √(2/πN)       of one direction: the estimate is nearly orthogonal to g
//! ```
//!
//! The methods differ in how they compute g·v, and in what they perturb:
//! - [`Spsa`]: θ; g·v by the difference of two losses (Spall, 1992), 2 evaluations per direction.
//! - [`PerturbedWeights`]: θ; g·v exactly, by one pass of dual numbers (Baydin et al., "Gradients
//!   without backpropagation", 2022).
//! - [`PerturbedActivations`]: the pre-activations, with independent directions in each sample;
//!   exact as well (Ren et al., "Scaling forward gradient with local losses", 2022). ‖ĝ‖ grows with
//!   the number of units, not of weights.
//!
//! Directions are drawn again wherever they are needed, never stored ([`direction`]). An estimate
//! is never refused for its variance; whether it is good enough is the caller's decision.

mod activations;
pub mod direction;
mod projection;
mod spsa;
pub(in crate::gradient) mod tangent;
mod weights;

pub use activations::PerturbedActivations;
pub use direction::{DirectionSeed, Distribution, MOST_DIRECTIONS};
pub use spsa::{Spsa, check_increment};
pub use weights::PerturbedWeights;

use direction::Direction;

/// Number of directions of an estimate, and their distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectionsConfig {
    /// K, from 1 to [`MOST_DIRECTIONS`].
    pub count: usize,
    /// Distribution of the components.
    pub distribution: Distribution,
}

impl DirectionsConfig {
    /// Returns direction `number` of the step that `direction_seed` identifies.
    fn direction(self, direction_seed: DirectionSeed, number: usize) -> Direction {
        Direction {
            seed: direction_seed,
            number,
            distribution: self.distribution,
        }
    }
}

/// Configuration of `method = "spsa"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpsaConfig {
    /// Number and distribution of the directions.
    pub directions: DirectionsConfig,
    /// Increment h; `None`: chosen by precision and network.
    pub increment: Option<f64>,
}

/// Quantity that a forward gradient perturbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerturbedQuantity {
    /// The parameters θ.
    Weights,
    /// The pre-activations of each sample.
    Activations,
}

impl PerturbedQuantity {
    /// Returns the name used in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Activations => "activations",
        }
    }
}

/// Configuration of `method = "forward-gradient"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForwardGradientConfig {
    /// Number and distribution of the directions.
    pub directions: DirectionsConfig,
    /// Quantity that is perturbed.
    pub perturbed: PerturbedQuantity,
}
