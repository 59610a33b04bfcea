//! Stochastic gradient descent: momentum, weight decay, schedules.

/// How the learning rate moves over a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// It stays.
    Constant,
    /// Multiplied by `factor` after every `every` epochs.
    Step {
        /// Epochs between drops.
        every: usize,
        /// What it is multiplied by.
        factor: f64,
    },
    /// Half a cosine from the start to 0 over the run.
    Cosine,
}
