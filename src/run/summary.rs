//! `summary.json`: what a run came to. `train --json` prints the same.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::numeric::tally::Tally;

/// The outcome of a run. Fractions are between 0 and 1; losses are without the l2 term.
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
    /// Upper bound of the workers.
    pub threads: usize,
    /// Epochs done.
    pub epochs: usize,
    /// Why the training ended, in words.
    pub ending: String,
    /// Seconds of shuffle and steps, summed over the epochs.
    pub seconds: f64,
    /// The median of the epochs' seconds; absent before the first is done.
    pub seconds_per_epoch: Option<f64>,
    /// Training rows an epoch.
    pub samples_per_epoch: usize,
    /// The last epoch's mean mini-batch loss.
    pub train_loss: Option<f64>,
    /// Loss on the validation rows, of the weights kept.
    pub validation_loss: Option<f64>,
    /// Accuracy on the validation rows, of the weights kept.
    pub validation_accuracy: Option<f64>,
    /// Loss on the test rows, of the weights kept.
    pub test_loss: Option<f64>,
    /// Accuracy on the test rows, of the weights kept.
    pub test_accuracy: Option<f64>,
    /// The epoch whose weights were kept.
    pub kept_epoch: usize,
    /// SHA-256 of θ: see [`crate::model::Parameters::sha256`].
    pub weights_sha256: String,
    /// Operations performed in all training steps.
    pub tally: Tally,
}
