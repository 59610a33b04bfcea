//! `summary.json`: the summary of a run. `train --json` prints the same.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::evaluation::RarestClass;
use crate::model::TargetErrors;
use crate::numeric::tally::Tally;
use crate::parallel::Ranks;

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
    /// Mean R² of a regression's targets on the validation rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation_r2: Option<f64>,
    /// Mean R² of a regression's targets on the test rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_r2: Option<f64>,
    /// The errors of a regression's targets, in their units, on the test rows, or on the validation
    /// rows if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_errors: Vec<TargetErrors>,
    /// The class with the fewest training rows, on the test rows, or on the validation rows if there
    /// are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rarest_class: Option<RarestClass>,
    /// The epoch whose weights were kept.
    pub kept_epoch: usize,
    /// SHA-256 of θ; see [`crate::model::Parameters::sha256`].
    pub weights_sha256: String,
    /// Operations performed in all training steps.
    pub tally: Tally,
    /// The ranks that computed together; absent if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranks: Option<RankSummary>,
}

/// The ranks of a run, and what they exchanged since they started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RankSummary {
    /// Number of ranks.
    pub count: usize,
    /// How gradients of backprop came together: `exact` or `fast`.
    pub reduce: String,
    /// Bytes delivered from a rank to another one, summed over all ranks.
    pub bytes: u64,
    /// Collective calls.
    pub exchanges: u64,
}

impl RankSummary {
    /// Describes `ranks`; `None` if there is one.
    pub fn of(ranks: &Ranks) -> Option<Self> {
        let traffic = ranks.traffic();
        ranks.are_many().then(|| Self {
            count: ranks.size(),
            reduce: ranks.reduce().name().to_owned(),
            bytes: traffic.bytes,
            exchanges: traffic.exchanges,
        })
    }
}
