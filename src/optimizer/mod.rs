//! Optimizers: what turns gradients into a better θ.
//!
//! They know numbers only: θ, a gradient, and for L-BFGS a closure that gives the loss and the
//! gradient at another θ. Where a gradient comes from is none of their business, so any of them
//! goes with any gradient method.

pub mod adam;
pub mod lbfgs;
pub mod line_search;
pub mod sgd;
pub mod state;

pub use adam::{AdamConfig, Moments};
pub use lbfgs::{History, LbfgsConfig};
pub use sgd::{Schedule, SgdConfig};
pub use state::OptimizerState;

/// `[optimizer]`.
#[derive(Clone, Debug, PartialEq)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent.
    Sgd(SgdConfig),
    /// Adam.
    Adam(AdamConfig),
    /// L-BFGS over the whole training set.
    Lbfgs(LbfgsConfig),
}

impl OptimizerConfig {
    /// `sgd`, `adam` or `lbfgs`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Adam(_) => "adam",
            Self::Lbfgs(_) => "lbfgs",
        }
    }

    /// The learning rate at the start; L-BFGS searches its step's length instead.
    pub fn learning_rate(&self) -> Option<f64> {
        match self {
            Self::Sgd(config) => Some(config.learning_rate),
            Self::Adam(config) => Some(config.learning_rate),
            Self::Lbfgs(_) => None,
        }
    }

    /// How the learning rate moves.
    pub fn schedule(&self) -> Option<Schedule> {
        match self {
            Self::Sgd(config) => Some(config.schedule),
            Self::Adam(config) => Some(config.schedule),
            Self::Lbfgs(_) => None,
        }
    }
}
