//! `summary.json`: the summary of a run. `train --json` prints the same.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::numeric::tally::Tally;

/// The summary of a run. Fractions are between 0 and 1; losses are without the l2 term.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// The run's directory.
    pub run: PathBuf,
    /// The config's name.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// Layer sizes n_0 … n_L.
    pub sizes: Vec<usize>,
    /// Number of parameters, N.
    pub parameters: usize,
    /// Upper bound on the number of workers.
    pub threads: usize,
    /// Number of epochs completed.
    pub epochs: usize,
    /// The reason why the training ended, in words.
    pub ending: String,
    /// Seconds of shuffling and training steps, summed over the epochs.
    pub seconds: f64,
    /// The median seconds per epoch; absent if no epoch was completed.
    pub seconds_per_epoch: Option<f64>,
    /// Number of training rows per epoch.
    pub samples_per_epoch: usize,
    /// The last epoch's mean mini-batch loss.
    pub train_loss: Option<f64>,
    /// Loss of the kept weights on the validation rows.
    pub validation_loss: Option<f64>,
    /// Accuracy of the kept weights on the validation rows.
    pub validation_accuracy: Option<f64>,
    /// Loss of the kept weights on the test rows.
    pub test_loss: Option<f64>,
    /// Accuracy of the kept weights on the test rows.
    pub test_accuracy: Option<f64>,
    /// The epoch whose weights were kept.
    pub kept_epoch: usize,
    /// SHA-256 of θ; see [`crate::model::Parameters::sha256`].
    pub weights_sha256: String,
    /// Operations performed in all training steps.
    pub tally: Tally,
}
