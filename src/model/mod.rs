//! Models: parameters θ, network topology, losses, initialization, inference, and general functions
//! of θ.

pub mod forward;
pub mod initialization;
pub mod loss;
pub mod network;
pub mod objective;
pub mod parameters;
pub mod regression;

pub use forward::{Assessment, Forward, Mistake};
pub use initialization::Initialization;
pub use loss::Loss;
pub use network::{Network, OutputUnits};
pub use objective::{Function, Objective};
pub use parameters::{Layout, Parameters};
pub use regression::{RegressionResult, TargetErrors};

use crate::numeric::Precision;

/// Model settings: the section `[model]` of a config.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Number of units of each hidden layer; empty for a network without hidden layers.
    pub hidden: Vec<usize>,
    /// Units of the last layer.
    pub output: OutputUnits,
    /// Distribution of the initial parameters.
    pub initialization: Initialization,
    /// True if layers have biases.
    pub bias: bool,
    /// Floating-point precision of the computation.
    pub precision: Precision,
}

/// Loss settings: the section `[loss]` of a config.
#[derive(Clone, Debug, PartialEq)]
pub struct LossConfig {
    /// Kind of loss.
    pub kind: Loss,
    /// Factor λ' of the l2 term ½λ' Σ weights².
    pub l2: f64,
    /// The weights of the classes; `None` if all rows count the same.
    pub class_weights: Option<ClassWeights>,
}

/// The factors of the classes' losses.
#[derive(Clone, Debug, PartialEq)]
pub enum ClassWeights {
    /// rows / (classes · rows of the class), counted over the training rows: every class has the
    /// same weight in the sum, and the mean weight of a row is 1.
    Balanced,
    /// One factor per class, above 0, in the order of the classes.
    Given(Vec<f64>),
}
