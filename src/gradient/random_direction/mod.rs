//! Estimates of the gradient from random directions: K derivatives along a direction each, instead
//! of N along the axes.
//!
//! With v of independent components of mean 0 and variance 1, (g·v)·v is g on average; what varies
//! is its length (g = ∂L/∂θ, N parameters):
//!
//! ```text
//! E‖(g·v)·v‖² = N‖g‖²          v of ±1 (Rademacher)
//!             = (N + 2)‖g‖²    v of N(0, 1)
//! E|cos(ĝ, g)| ≈ √(2/πN)       of one direction: an estimate is nearly at right angles to g
//! ```
//!
//! The ways differ in how g·v is found, and in what is moved:
//! - [`Spsa`]: by the difference of two losses (Spall, 1992): 2 evaluations a direction.
//! - [`PerturbedWeights`]: exactly, by one pass of dual numbers (Baydin et al., "Gradients without
//!   backpropagation", 2022).
//! - [`PerturbedActivations`]: the same, but what moves are the pre-activations, in each sample by
//!   directions of their own (Ren et al., "Scaling forward gradient with local losses", 2022):
//!   ĝ grows with the number of units, not of weights.
//!
//! Directions are drawn again where they are needed and never held as a list ([`direction`]). No
//! estimate is refused for being poor: what it is worth is for its user to know.

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

/// How many directions an estimate takes, and from what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectionsConfig {
    /// K, from 1 to [`MOST_DIRECTIONS`].
    pub count: usize,
    /// What components are drawn from.
    pub distribution: Distribution,
}

impl DirectionsConfig {
    /// Direction `number` of a step.
    fn of(self, draw: DirectionSeed, number: usize) -> Direction {
        Direction {
            draw,
            number,
            distribution: self.distribution,
        }
    }
}

/// `method = "spsa"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpsaConfig {
    /// The directions.
    pub directions: DirectionsConfig,
    /// h; `None`: by precision and network.
    pub increment: Option<f64>,
}

/// What a forward gradient moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerturbedQuantity {
    /// θ.
    Weights,
    /// The pre-activations of every sample.
    Activations,
}

impl PerturbedQuantity {
    /// As configs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => "weights",
            Self::Activations => "activations",
        }
    }
}

/// `method = "forward-gradient"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ForwardGradientConfig {
    /// The directions.
    pub directions: DirectionsConfig,
    /// What is moved.
    pub perturbed: PerturbedQuantity,
}
