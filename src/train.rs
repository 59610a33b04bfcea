//! The epoch loop: emits events, knows no files and no terminal.

/// `[train]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// Stop after so many epochs.
    pub epochs: Option<usize>,
    /// Stop after so many steps.
    pub max_steps: Option<u64>,
    /// Stop after so many seconds of training.
    pub max_seconds: Option<f64>,
    /// Rows of a mini-batch.
    pub batch_size: usize,
    /// Stop after so many epochs without a better validation loss, and restore the best weights.
    pub early_stopping: Option<usize>,
}
