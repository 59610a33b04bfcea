//! Models: parameters θ, network topology, losses, initialization; any other function of θ.

pub mod forward;
pub mod initialization;
pub mod loss;
pub mod network;
pub mod objective;
pub mod parameters;

pub use forward::{Assessment, Forward, Mistake};
pub use initialization::Initialization;
pub use loss::Loss;
pub use network::{Network, OutputUnits};
pub use objective::{Function, Objective};
pub use parameters::{Layout, Parameters};

use crate::numeric::Precision;

/// `[model]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Units of each hidden layer; empty: none.
    pub hidden: Vec<usize>,
    /// Units of the last layer.
    pub output: OutputUnits,
    /// The first parameters.
    pub initialization: Initialization,
    /// Whether layers have biases.
    pub bias: bool,
    /// What it is computed in.
    pub precision: Precision,
}

/// `[loss]`.
#[derive(Clone, Debug, PartialEq)]
pub struct LossConfig {
    /// Which loss.
    pub kind: Loss,
    /// λ' of ½λ' Σ weights².
    pub l2: f64,
}
