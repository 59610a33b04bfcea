//! Optimizers: SGD, Adam and L-BFGS, which update θ by gradients.
//!
//! They see numbers only: θ, a gradient, and in L-BFGS a closure that returns the objective and the
//! gradient at another θ. They do not know how a gradient is computed. (Configs refuse one
//! combination: L-BFGS with random directions, because its pairs are changes of the gradient, and
//! new directions in each step would change it, too.)

pub mod adam;
pub mod lbfgs;
pub mod line_search;
pub mod sgd;
pub mod state;

pub use adam::{AdamConfig, Moments};
pub use lbfgs::{History, LbfgsConfig};
pub use sgd::{Schedule, SgdConfig};
pub use state::OptimizerState;

/// Optimizer and its settings: the section `[optimizer]` of a config.
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
    /// Returns the name used in configs: `sgd`, `adam` or `lbfgs`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Sgd(_) => "sgd",
            Self::Adam(_) => "adam",
            Self::Lbfgs(_) => "lbfgs",
        }
    }

    /// Returns the initial learning rate; `None` for L-BFGS, whose line search chooses the step
    /// length.
    pub fn learning_rate(&self) -> Option<f64> {
        match self {
            Self::Sgd(config) => Some(config.learning_rate),
            Self::Adam(config) => Some(config.learning_rate),
            Self::Lbfgs(_) => None,
        }
    }

    /// Returns the schedule of the learning rate; `None` for L-BFGS.
    pub fn schedule(&self) -> Option<Schedule> {
        match self {
            Self::Sgd(config) => Some(config.schedule),
            Self::Adam(config) => Some(config.schedule),
            Self::Lbfgs(_) => None,
        }
    }
}
