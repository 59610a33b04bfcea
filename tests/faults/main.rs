//! What a run, a study or an export has promised to keep survives: every system call killed or
//! failed in turn (`calls.rs`), and every state that a loss of power may leave on the disk
//! (`power_loss.rs`, by the model in `disk_model.rs`). The oracle is the hash of the weights of the
//! uninterrupted run.
//!
//! A program of its own, which starts no other process: a fork would hold the locks of its files for
//! a moment after they were given back.

#![cfg(unix)]

mod calls;
mod disk_model;
mod power_loss;

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use ndarray::Array2;
use nplus1::Dataset;
use nplus1::data::{Samples, Scaling};
use nplus1::error::{Error, Result};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::optimizer::OptimizerConfig;
use nplus1::optimizer::adam::AdamConfig;
use nplus1::optimizer::lbfgs::LbfgsConfig;
use nplus1::optimizer::rmsprop::RmspropConfig;
use nplus1::optimizer::sgd::{Schedule, SgdConfig};
use nplus1::parallel::Workers;
use nplus1::run::directory::{CONFIG, MODEL};
use nplus1::run::{Checkpoint, Metrics, RunDirectory, checkpoint};
use nplus1::train::{EpochRecord, Observer, TrainConfig, Training, TrainingState};
use tempfile::TempDir;

/// The epochs of a run, each with a checkpoint.
const EPOCHS: usize = 3;

/// The config of a run.
const SETTINGS: &str = "seed = 1\n";

/// What was promised so far: shared by the code that promises and the test that judges.
type Promises = Rc<RefCell<Vec<Promise>>>;

/// A call that returned, so that what it wrote must survive.
#[derive(Clone, Debug, PartialEq)]
enum Promise {
    /// The directory exists, with its config.
    Directory,
    /// The checkpoint of an epoch.
    Checkpoint(usize),
    /// The weights of the whole run.
    Model,
    /// A row of a study.
    Row,
}

/// Returns a folder for files that need no disk: in memory where that is possible.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    tempfile::tempdir_in(memory).unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// A run of a tiny network, which keeps its files as `nplus1 train` does.
struct TinyRun {
    network: Network,
    samples: Samples<f64>,
    rows: Vec<u32>,
    optimizer: OptimizerConfig,
    pool: Arc<Workers>,
    /// Whether it logs its epochs.
    logs: bool,
}

impl TinyRun {
    /// Returns a run with each optimizer.
    fn all(logs: bool) -> Vec<Self> {
        let sgd = SgdConfig {
            learning_rate: 0.5,
            momentum: 0.9,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
        };
        [
            OptimizerConfig::Sgd(sgd),
            OptimizerConfig::Adam(AdamConfig::default()),
            OptimizerConfig::Rmsprop(RmspropConfig {
                learning_rate: 1e-2,
                rho: 0.9,
                epsilon: 1e-8,
                weight_decay: 0.0,
                schedule: Schedule::Constant,
            }),
            OptimizerConfig::Lbfgs(LbfgsConfig::default()),
        ]
        .into_iter()
        .map(|optimizer| Self::new(optimizer, logs))
        .collect()
    }

    fn new(optimizer: OptimizerConfig, logs: bool) -> Self {
        let x = Array2::from_shape_fn((12, 2), |(row, feature)| {
            ((7 * row + 3 * feature) % 11) as f64 / 11.0
        });
        let labels: Vec<&str> = (0..12).map(|row| ["a", "b"][row % 2]).collect();
        let dataset = Arc::new(Dataset::from_arrays(x.view(), &labels).unwrap());
        // A checkpoint has some nine sectors, of which every subset is tried.
        let hidden = match &optimizer {
            OptimizerConfig::Sgd(_) | OptimizerConfig::Rmsprop(_) => 44,
            OptimizerConfig::Adam(_) => 28,
            OptimizerConfig::Lbfgs(_) => 12,
        };
        let sizes = [2, hidden, 2];
        Self {
            network: Network::new(&sizes, true, OutputUnits::Softmax, Loss::CrossEntropy, 0.0)
                .unwrap(),
            samples: Samples::new(&dataset, &Scaling::identity(2)),
            rows: (0..12).collect(),
            optimizer,
            pool: Arc::new(Workers::exactly(1).unwrap()),
            logs,
        }
    }

    /// Trains from the beginning in a new directory of `parent`.
    fn begin(&self, parent: &Path, promises: &Promises) -> Result<()> {
        let files = [(CONFIG, SETTINGS.into())];
        let directory = RunDirectory::create_numbered(parent, "tiny", &files)?;
        promises.borrow_mut().push(Promise::Directory);
        self.go_on(&directory, self.start(), promises)
    }

    fn start(&self) -> TrainingState<f64> {
        TrainingState::new(Initialization::Scaled.draw(&self.network.layout, 3))
    }

    /// Trains from `state` to the end and writes the weights.
    fn go_on(
        &self,
        directory: &RunDirectory,
        mut state: TrainingState<f64>,
        promises: &Promises,
    ) -> Result<()> {
        let metrics = match self.logs {
            true => Some(Metrics::start(directory.path(), &state.records)?),
            false => None,
        };
        let mut saver = Saver {
            folder: directory.path(),
            metrics,
            promises,
        };
        self.train(&mut state, &mut saver)?;
        let hash = state.parameters.sha256();
        directory.write(MODEL, hash.as_bytes())?;
        promises.borrow_mut().push(Promise::Model);
        Ok(())
    }

    fn train(
        &self,
        state: &mut TrainingState<f64>,
        observer: &mut dyn Observer<f64>,
    ) -> Result<()> {
        let lbfgs = matches!(self.optimizer, OptimizerConfig::Lbfgs(_));
        let config = TrainConfig {
            epochs: Some(EPOCHS),
            max_steps: None,
            max_seconds: None,
            batch_size: if lbfgs { TrainConfig::ALL_ROWS } else { 5 },
            early_stopping: None,
        };
        let training = Training {
            network: &self.network,
            samples: &self.samples,
            rows: &self.rows,
            validation: None,
            classes: 2,
            gradient: &GradientConfig::Backprop,
            optimizer: &self.optimizer,
            config: &config,
            seed: 5,
            pool: &self.pool,
            isa: Isa::detect(),
            workers: Some(1),
            split: None,
            control: &Control::default(),
        };
        training.run(state, observer).map(drop)
    }

    /// Returns the hash of the weights of an uninterrupted run.
    fn uninterrupted(&self) -> String {
        let folder = scratch();
        self.begin(folder.path(), &Promises::default()).unwrap();
        let model = std::fs::read_to_string(folder.path().join("tiny/001").join(MODEL));
        model.unwrap()
    }

    /// Returns the newest checkpoint of the run in `path`, or none if it ended before its first.
    fn recovered(&self, directory: &RunDirectory) -> Result<Option<Checkpoint>> {
        match checkpoint::newest(directory.path()) {
            Ok(found) => Ok(Some(found.checkpoint)),
            Err(Error::NoCheckpoint(_)) if directory.ended_before_first_checkpoint()? => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the state of a run that was recovered.
    fn state(&self, found: Option<&Checkpoint>) -> Result<TrainingState<f64>> {
        let path = Path::new(checkpoint::FIRST);
        found.map_or_else(
            || Ok(self.start()),
            |found| found.state(&self.network.layout, path),
        )
    }

    /// Resumes the run below `parent` and trains it to the end, or begins it if it has promised
    /// nothing; returns the hash of its weights and the epoch from which it was resumed.
    fn resume(&self, parent: &Path) -> Result<(String, usize)> {
        let path = parent.join("tiny/001");
        if !path.exists() {
            self.begin(parent, &Promises::default())?;
            return Ok((text(&path.join(MODEL)), 0));
        }
        let directory = RunDirectory::open(&path)?;
        let found = self.recovered(&directory)?;
        let epoch = found.as_ref().map_or(0, |found| found.epoch);
        let state = self.state(found.as_ref())?;
        self.go_on(&directory, state, &Promises::default())?;
        Ok((text(&path.join(MODEL)), epoch))
    }
}

/// Saves a checkpoint after each epoch, then logs it.
struct Saver<'a> {
    folder: &'a Path,
    metrics: Option<Metrics>,
    promises: &'a Promises,
}

impl Observer<f64> for Saver<'_> {
    fn progress(&mut self, _: usize, _: usize, _: usize) {}
    fn wants_state(&self) -> bool {
        false
    }
    fn state(&mut self, _: &TrainingState<f64>) -> Result<()> {
        Ok(())
    }
    fn epoch(&mut self, record: &EpochRecord, state: &TrainingState<f64>) -> Result<()> {
        if let Some(metrics) = &mut self.metrics {
            metrics.append(record)?;
        }
        let content = Checkpoint::from_state(SETTINGS.to_owned(), state);
        checkpoint::save(self.folder, &content)?;
        let promise = Promise::Checkpoint(state.epoch);
        self.promises.borrow_mut().push(promise);
        Ok(())
    }
}

/// Returns the epoch of the last checkpoint that was promised.
fn promised_epoch(promises: &[Promise]) -> usize {
    let epochs = promises.iter().filter_map(|promise| match promise {
        Promise::Checkpoint(epoch) => Some(*epoch),
        _ => None,
    });
    epochs.max().unwrap_or(0)
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// Returns the paths of all files and folders below `folder`.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}
