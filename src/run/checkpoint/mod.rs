//! `checkpoint-NNNNNN.bin`: everything that a resumed run needs to continue with the same bits.
//!
//! ```text
//! magic "nplus1cp" · format version u32 · payload length u64 · SHA-256 of the payload · payload
//! payload: header length u32 · header (JSON) · θ · the optimizer's vectors · best θ
//! ```
//! All integers and floats are little-endian. A checkpoint is written under a temporary name beside
//! its predecessors and renamed when it is complete. The newest two are kept, so that a damaged one
//! costs only the time since the one before, not the run. Refused: any file whose hash, lengths or
//! numbers do not match.
//!
//! This file converts a training state to a checkpoint and back; `encoding.rs` converts checkpoints
//! to bytes and back, `files.rs` saves, finds and removes the files.

mod encoding;
mod files;

pub use files::{FIRST, ValidCheckpoint, any, newest, number_of, save};

use std::path::Path;
use std::sync::Arc;

use crate::data::Schema;
use crate::error::{Error, Result};
use crate::model::{Layout, Parameters};
use crate::numeric::{Precision, Real};
use crate::optimizer::OptimizerState;
use crate::optimizer::state::StateScalars;
use crate::train::{EpochRecord, EpochSums, TrainingState};

/// The state of a run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The resolved config, as TOML.
    pub config: String,
    /// What is known of the columns of the training rows.
    pub schema: Schema,
    /// Number of epochs completed.
    pub epoch: usize,
    /// Number of steps since the start of the run.
    pub steps: u64,
    /// The precision of all vectors.
    pub precision: Precision,
    /// θ in layout order, little-endian.
    pub parameters: Vec<u8>,
    /// The scalar part of the optimizer state.
    pub scalars: StateScalars,
    /// The vectors of the optimizer state, each as long as θ, little-endian.
    pub optimizer_vectors: Vec<Vec<u8>>,
    /// The best θ so far, if early stopping is on.
    pub best: Option<Best>,
    /// Sums over the epoch in progress.
    pub partial: EpochSums,
    /// Record of an epoch whose steps are done, but not its validation.
    pub unevaluated: Option<EpochRecord>,
    /// One record per completed epoch, as in `metrics.jsonl`.
    pub records: Vec<EpochRecord>,
}

/// The parameters of the best validation epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// Its validation loss.
    pub loss: f64,
    /// θ in layout order, little-endian.
    pub parameters: Vec<u8>,
}

impl Checkpoint {
    /// Creates the checkpoint of a run in `state`, with its resolved config.
    pub fn from_state<R: Real>(config: String, state: &TrainingState<R>) -> Self {
        let bytes = |numbers: &[R]| {
            let mut bytes = Vec::new();
            R::extend_bytes(numbers, &mut bytes);
            bytes
        };
        Self {
            config,
            schema: Schema::default(),
            epoch: state.epoch,
            steps: state.steps,
            precision: R::PRECISION,
            parameters: bytes(state.parameters.flat()),
            scalars: state.optimizer_state.scalars(),
            optimizer_vectors: state
                .optimizer_state
                .vectors()
                .into_iter()
                .map(bytes)
                .collect(),
            best: state.best.as_ref().map(|(loss, epoch, parameters)| Best {
                epoch: *epoch,
                loss: *loss,
                parameters: bytes(parameters.flat()),
            }),
            partial: state.partial,
            unevaluated: state.unevaluated.clone(),
            records: state.records.clone(),
        }
    }

    /// Returns the checkpoint with what is known of the columns of the training rows.
    #[must_use]
    pub fn with_schema(self, schema: Schema) -> Self {
        Self { schema, ..self }
    }

    /// Restores the state of the run, for a network of this layout.
    ///
    /// # Errors
    /// Another number of parameters or another precision, or vectors that do not match the
    /// optimizer state's scalars, are refused; errors name `path`.
    pub fn state<R: Real>(&self, layout: &Arc<Layout>, path: &Path) -> Result<TrainingState<R>> {
        let found = self.parameters.len() / width(self.precision);
        if self.precision != R::PRECISION || found != layout.len() {
            return Err(Error::refused(
                path,
                format!(
                    "the checkpoint has {found} parameters in {}, but the config requires {} in {}",
                    self.precision.name(),
                    layout.len(),
                    R::PRECISION.name()
                ),
            )
            .help("a resumed run must have the same network and precision"));
        }
        let numbers = |bytes: &[u8]| bytes.chunks_exact(R::BYTES).map(R::from_bytes).collect();
        let parameters = |bytes: &[u8]| Parameters::from_flat(Arc::clone(layout), numbers(bytes));
        let vectors = self
            .optimizer_vectors
            .iter()
            .map(|bytes| numbers(bytes))
            .collect();
        let optimizer_state = OptimizerState::from_parts(self.scalars, vectors, layout)
            .ok_or_else(|| {
                let count = self.optimizer_vectors.len();
                let problem =
                    format!("its optimizer state cannot have {count} vectors with these scalars");
                Error::refused(path, problem)
            })?;
        Ok(TrainingState {
            parameters: parameters(&self.parameters),
            optimizer_state,
            epoch: self.epoch,
            steps: self.steps,
            partial: self.partial,
            unevaluated: self.unevaluated.clone(),
            best: self
                .best
                .as_ref()
                .map(|best| (best.loss, best.epoch, parameters(&best.parameters))),
            records: self.records.clone(),
        })
    }
}

/// Returns the number of bytes of a float.
fn width(precision: Precision) -> usize {
    match precision {
        Precision::F32 => f32::BYTES,
        Precision::F64 => f64::BYTES,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::tally::Tally;
    use crate::optimizer::{History, adam, sgd};

    /// Returns a checkpoint with every part.
    pub(super) fn checkpoint() -> Checkpoint {
        let record = EpochRecord {
            epoch: 1,
            steps: 500,
            learning_rate: 0.1,
            train_loss: 1.0 / 3.0,
            validation_loss: None,
            validation_accuracy: Some(0.1),
            validation_r2: None,
            gradient_norm: 2.0,
            seconds: 1.0,
            tally: Tally::default(),
        };
        Checkpoint {
            config: "name = \"a\"\n".to_owned(),
            schema: Schema {
                image: Some((2, 3)),
                ..Schema::default()
            },
            epoch: 3,
            steps: 1517,
            precision: Precision::F32,
            parameters: vec![1; 12],
            scalars: StateScalars {
                kind: (&adam::STATE).into(),
                steps: u64::MAX,
                value: 0.1 + 0.2,
            },
            optimizer_vectors: vec![vec![2; 12], vec![4; 12]],
            best: Some(Best {
                epoch: 2,
                loss: 0.1 + 0.2,
                parameters: vec![3; 12],
            }),
            partial: EpochSums {
                rows: 170,
                loss: 1e-300,
                seconds: 0.1,
                tally: Tally::multiplications(7),
            },
            unevaluated: Some(EpochRecord {
                epoch: 2,
                ..record.clone()
            }),
            records: vec![record],
        }
    }

    pub(super) fn decoded(bytes: &[u8]) -> Result<Checkpoint> {
        Checkpoint::from_bytes(bytes, Path::new("checkpoint-000001.bin"))
    }

    #[test]
    fn a_training_state_is_restored_from_its_checkpoint() {
        let layout = Arc::new(Layout::new(&[1, 1], true));
        let theta = |x: f64| Parameters::from_flat(Arc::clone(&layout), vec![x, -x]);
        let path = Path::new("checkpoint-000001.bin");
        let mut moments = OptimizerState::zeros(&adam::STATE, &layout);
        moments.steps = 11;
        *moments.vectors_mut() = [theta(0.3), theta(1e-300)];
        let states = [
            OptimizerState::default(),
            OptimizerState::zeros(&sgd::STATE, &layout),
            moments,
            OptimizerState::from(History {
                value: 0.1 + 0.2,
                gradient: theta(0.3),
                pairs: (0..3).map(|k| (theta(f64::from(k)), theta(0.5))).collect(),
            }),
        ];
        for optimizer_state in states {
            let state = TrainingState {
                optimizer_state,
                best: Some((f64::MIN_POSITIVE, 1, theta(7.0))),
                epoch: 1,
                steps: 11,
                partial: checkpoint().partial,
                unevaluated: checkpoint().unevaluated,
                records: checkpoint().records,
                ..TrainingState::new(theta(0.1))
            };
            let mut checkpoint =
                decoded(&Checkpoint::from_state("".to_owned(), &state).to_bytes()).unwrap();
            assert_eq!(checkpoint.state(&layout, path).unwrap(), state);
            let other = Arc::new(Layout::new(&[1, 2], true));
            assert!(checkpoint.state::<f64>(&other, path).is_err());
            assert!(checkpoint.state::<f32>(&layout, path).is_err());
            checkpoint
                .optimizer_vectors
                .extend([vec![0; 16], vec![0; 16], vec![0; 16]]);
            assert!(checkpoint.state::<f64>(&layout, path).is_err());
        }
    }
}
