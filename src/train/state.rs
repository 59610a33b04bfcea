//! Where a run stands between two steps: what a checkpoint keeps, and what an epoch came to.

use serde::{Deserialize, Serialize};

use crate::model::Parameters;
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::optimizer::OptimizerState;

/// One epoch, as a line of the metrics tells it; with L-BFGS one iteration, `train_loss` and
/// `gradient_norm` those of the whole training set after it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Steps since the start of the run.
    pub steps: u64,
    /// The learning rate of the epoch; with L-BFGS the step's length, as the line search found it.
    pub learning_rate: f64,
    /// Mean of the samples' losses, each before its step; l2 left out.
    pub train_loss: f64,
    /// Mean loss of the validation rows after the epoch.
    pub validation_loss: Option<f64>,
    /// Fraction of validation rows whose class was predicted.
    pub validation_accuracy: Option<f64>,
    /// ‖∂L/∂θ‖₂ of the epoch's last mini-batch.
    pub gradient_norm: f64,
    /// Shuffle and steps only: the only time field.
    pub seconds: f64,
    /// Operations performed in the epoch.
    pub tally: Tally,
}

/// Where the loop stands, between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingState<R> {
    /// θ.
    pub parameters: Parameters<R>,
    /// What the optimizer remembers.
    pub memory: OptimizerState<R>,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done since the start of the run.
    pub steps: u64,
    /// The epoch in progress.
    pub partial: EpochSums,
    /// The best validation loss, its epoch and its θ.
    pub best: Option<(f64, usize, Parameters<R>)>,
    /// One record an epoch done.
    pub records: Vec<EpochRecord>,
}

/// Sums over the epoch in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochSums {
    /// Rows done.
    pub rows: usize,
    /// Sum of their losses.
    pub loss: f64,
    /// Seconds of shuffle and steps.
    pub seconds: f64,
    /// L-BFGS: operations of a last line search, which found no step. Those of rows are known once
    /// their epoch is done.
    #[serde(default)]
    pub tally: Tally,
}

impl<R: Real> TrainingState<R> {
    /// The start.
    pub fn new(parameters: Parameters<R>) -> Self {
        Self {
            parameters,
            memory: OptimizerState::Nothing,
            epoch: 0,
            steps: 0,
            partial: EpochSums::default(),
            best: None,
            records: Vec::new(),
        }
    }

    /// Seconds of shuffle and steps so far.
    pub fn seconds(&self) -> f64 {
        let done: f64 = self.records.iter().map(|record| record.seconds).sum();
        done + self.partial.seconds
    }

    /// Operations performed so far, those of an epoch in progress left out.
    pub fn tally(&self) -> Tally {
        let records = self.records.iter();
        records.fold(self.partial.tally, |sum, record| sum + record.tally)
    }
}
