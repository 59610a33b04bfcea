//! TOML → a validated [`Config`].

use crate::data::DataConfig;
use crate::gradient::GradientConfig;
use crate::model::{LossConfig, ModelConfig};
use crate::optimizer::OptimizerConfig;
use crate::train::TrainConfig;

/// A run, resolved: every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Names the run's directory.
    pub name: String,
    /// Seeds every random stream.
    pub seed: u64,
    /// Which rows.
    pub data: DataConfig,
    /// Which network.
    pub model: ModelConfig,
    /// Which loss.
    pub loss: LossConfig,
    /// Which gradient.
    pub gradient: GradientConfig,
    /// Which update.
    pub optimizer: OptimizerConfig,
    /// How long.
    pub train: TrainConfig,
    /// On which threads, and what is kept.
    pub run: RunConfig,
}

/// `[run]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// At most so many workers; `None`: as many as the process has physical cores.
    pub threads: Option<usize>,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
}
