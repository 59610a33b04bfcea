//! State of a run between two steps, as checkpoints store it, and the record of an epoch.

use serde::{Deserialize, Serialize};

use crate::model::Parameters;
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::optimizer::OptimizerState;

/// Record of one epoch: a line of the metrics. With L-BFGS an epoch is one iteration, and
/// `train_loss` and `gradient_norm` are those of the whole training set after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Number of the epoch, from 1.
    pub epoch: usize,
    /// Number of steps since the start of the run.
    pub steps: u64,
    /// Learning rate of the epoch; with L-BFGS the step length that the line search found.
    pub learning_rate: f64,
    /// Mean of the samples' losses, each evaluated before its step; l2 left out.
    pub train_loss: f64,
    /// Mean loss of the validation rows after the epoch.
    pub validation_loss: Option<f64>,
    /// Fraction of validation rows whose class was predicted.
    pub validation_accuracy: Option<f64>,
    /// R² on the validation rows of a regression, the mean of its targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_r2: Option<f64>,
    /// ‖∂L/∂θ‖₂ of the epoch's last mini-batch.
    pub gradient_norm: f64,
    /// Seconds of shuffle and steps only; no other field is a time.
    pub seconds: f64,
    /// Operations performed in the epoch.
    pub tally: Tally,
}

/// State of the training loop between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingState<R> {
    /// Parameters θ.
    pub parameters: Parameters<R>,
    /// State of the optimizer.
    pub optimizer_state: OptimizerState<R>,
    /// Number of epochs done.
    pub epoch: usize,
    /// Number of steps done since the start of the run.
    pub steps: u64,
    /// Sums over the epoch in progress.
    pub partial: EpochSums,
    /// Record of an epoch whose steps are done, without its validation: the run was stopped before
    /// that. The epoch is not among `epoch` and `records` yet.
    pub unevaluated: Option<EpochRecord>,
    /// Best validation loss, its epoch and its θ; kept for early stopping.
    pub best: Option<(f64, usize, Parameters<R>)>,
    /// One record per epoch done.
    pub records: Vec<EpochRecord>,
}

/// Sums over the epoch in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Number of rows done.
    pub rows: usize,
    /// Sum of the losses of these rows.
    pub loss: f64,
    /// Seconds of shuffle and steps.
    pub seconds: f64,
    /// Operations of L-BFGS's last line search, if it found no step. Operations of mini-batches are
    /// counted once their epoch is done.
    #[serde(default)]
    pub tally: Tally,
}

impl<R: Real> TrainingState<R> {
    /// Creates the state at the start of a run.
    pub fn new(parameters: Parameters<R>) -> Self {
        Self {
            parameters,
            optimizer_state: OptimizerState::default(),
            epoch: 0,
            steps: 0,
            partial: EpochSums::default(),
            unevaluated: None,
            best: None,
            records: Vec::new(),
        }
    }

    /// Returns the seconds of shuffle and steps so far.
    pub fn seconds(&self) -> f64 {
        let done: f64 = self.stepped().map(|record| record.seconds).sum();
        done + self.partial.seconds
    }

    /// Returns the operations performed so far, without those of an epoch in progress.
    pub fn tally(&self) -> Tally {
        self.stepped()
            .fold(self.partial.tally, |sum, record| sum + record.tally)
    }

    /// Returns the records of all epochs whose steps are done.
    pub(super) fn stepped(&self) -> impl Iterator<Item = &EpochRecord> {
        self.records.iter().chain(&self.unevaluated)
    }
}
