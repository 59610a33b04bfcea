//! Optimizers: what turns a gradient into an update.

pub mod sgd;

pub use sgd::Schedule;

/// `[optimizer]`.
#[derive(Clone, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// Which optimizer: `sgd`.
    pub kind: String,
    /// The learning rate at the start.
    pub learning_rate: f64,
    /// μ of v ← μv + g.
    pub momentum: f64,
    /// λ of g ← g + λθ, biases included.
    pub weight_decay: f64,
    /// How the learning rate moves.
    pub schedule: Schedule,
}
