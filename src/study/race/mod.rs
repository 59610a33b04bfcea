//! The race: the same network, weights, data and order of rows, trained by one method after the other.
//!
//! A row is where a method stands: accuracy and loss on rows that it does not train on, against the
//! seconds of its steps and the operations they performed. Evaluations come at growing distances and
//! are on nobody's clock. Each row has a checkpoint beside it, so an interrupted race goes on with the
//! bits, and the seconds, that it had. A method that diverges has lost; the race goes on.

pub mod summary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::methods::Method;
use super::record::StudyRecord;
use crate::config::Config;
use crate::data::{Part, Samples, Split};
use crate::error::{Error, Result};
use crate::gradient::random_direction::PerturbedQuantity;
use crate::gradient::{Control, GradientConfig, TrainingEngine};
use crate::kernels::Isa;
use crate::model::{Assessment, Forward, Network};
use crate::numeric::tally::Tally;
use crate::numeric::{Precision, Real};
use crate::optimizer::OptimizerConfig;
use crate::parallel::Workers;
use crate::run::{Checkpoint, checkpoint, directory};
use crate::train::{EpochRecord, Observer, TrainConfig, Training, TrainingState};

/// The distance between the first two evaluations, and what each is longer by than the one before.
const FIRST_PAUSE: f64 = 0.01;
const GROWTH: f64 = 1.25;
/// An evaluation takes at most this share of the time.
const SHARE: f64 = 0.2;
/// The longest distance is this share of the limit.
const LONGEST: f64 = 0.05;

/// What is asked, every default filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RacePlan {
    /// Labels of the methods, in the order of their starts.
    pub methods: Vec<String>,
    /// Learning rates of methods that do not take the config's, by label.
    pub rates: Vec<(String, f64)>,
    /// Accuracies whose first reaching is told.
    pub targets: Vec<f64>,
    /// Seconds of steps that each method has.
    pub limit: f64,
}

/// The learning rate that suits an estimate where `rate` suits the gradient: an estimate along random
/// directions of d components is √d times as long (E‖ĝ‖² = d‖g‖²), so its steps are as long as the
/// gradient's at rate/√d. d is N, or the number of units where pre-activations are moved. Absent for
/// methods that make the gradient itself.
pub fn rate_of_estimate(method: &Method, network: &Network, rate: f64) -> Option<f64> {
    let sizes = network.layout.sizes();
    let moved = match &method.gradient {
        GradientConfig::ForwardGradient(config)
            if config.perturbed == PerturbedQuantity::Activations =>
        {
            sizes[1..].iter().sum()
        }
        GradientConfig::ForwardGradient(_) | GradientConfig::Spsa(_) => network.layout.len(),
        _ => return None,
    };
    Some(rate / (moved as f64).sqrt())
}

/// Where a method stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RaceRow {
    /// The method's label.
    pub method: String,
    /// Epochs done, the one in progress as a fraction.
    pub epochs: f64,
    /// Steps done.
    pub steps: u64,
    /// Seconds of shuffle and steps so far.
    pub seconds: f64,
    /// Fraction of the judged rows whose class is predicted.
    pub accuracy: f64,
    /// Their mean loss, l2 left out.
    pub loss: f64,
    /// Operations performed in all steps so far.
    pub tally: Tally,
    /// Why the method is done, in its last row.
    pub ending: Option<String>,
}

/// What the methods train.
pub struct RaceSubject<'a> {
    /// The run's config: optimizer, mini-batches, epochs, seed.
    pub config: &'a Config,
    /// The rows.
    pub split: &'a Split,
    /// The network.
    pub network: &'a Network,
    /// The threads.
    pub team: &'a Arc<Workers>,
    /// The kernels.
    pub isa: Isa,
    /// Ends the race.
    pub control: &'a Control,
}

impl RaceSubject<'_> {
    /// The rows that methods are judged by, and what they are called: the validation rows, or the
    /// test's where there are none.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are neither.
    pub fn judged(&self) -> Result<(&Part, &'static str)> {
        let validation = self
            .split
            .validation
            .as_ref()
            .map(|part| (part, "validation"));
        let test = || self.split.test.as_ref().map(|part| (part, "test"));
        validation.or_else(test).ok_or_else(|| {
            Error::Usage(
                "a race needs rows that nobody trains on\n  help: set data.validation in the config"
                    .to_owned(),
            )
        })
    }

    /// Lets every one of `methods` run that is not done in `record`; `tell` is told of each row.
    /// Returns whether all came to their end: not if the control was raised.
    ///
    /// # Errors
    /// A gradient that cannot be; whatever the operating system refuses.
    pub fn run(
        &self,
        plan: &RacePlan,
        methods: &[Method],
        record: &mut StudyRecord<RaceRow>,
        tell: &mut (dyn FnMut(&RaceRow) + Send),
    ) -> Result<bool> {
        match self.config.model.precision {
            Precision::F32 => self.run_in::<f32>(plan, methods, record, tell),
            Precision::F64 => self.run_in::<f64>(plan, methods, record, tell),
        }
    }

    fn run_in<R: Real>(
        &self,
        plan: &RacePlan,
        methods: &[Method],
        record: &mut StudyRecord<RaceRow>,
        tell: &mut (dyn FnMut(&RaceRow) + Send),
    ) -> Result<bool> {
        let train = &self.split.train;
        let samples = Samples::<R>::new(&train.dataset, &self.split.scaling);
        let (judged, _) = self.judged()?;
        let own = Arc::ptr_eq(&judged.dataset, &train.dataset);
        let others = (!own).then(|| Samples::<R>::new(&judged.dataset, &self.split.scaling));
        for method in methods {
            let folder = record.path().join(method.label.replace('/', "-"));
            std::fs::create_dir_all(&folder)
                .map_err(|source| Error::io("create", &folder, source))?;
            // Only the holder of the study's lock writes here.
            directory::sweep(&folder)?;
            let done = |row: &RaceRow| row.method == method.label && row.ending.is_some();
            if record.rows().iter().any(done) {
                continue;
            }
            let optimizer = self.optimizer(plan, &method.label);
            let config = TrainConfig {
                max_seconds: Some(plan.limit),
                early_stopping: None,
                ..self.config.train.clone()
            };
            let training = Training {
                network: self.network,
                samples: &samples,
                rows: &train.rows,
                validation: None,
                classes: train.dataset.class_count(),
                gradient: &method.gradient,
                optimizer: &optimizer,
                config: &config,
                seed: self.config.seed,
                pool: self.team,
                isa: self.isa,
                workers: None,
                control: self.control,
            };
            let mut state = self.start::<R>(&method.label, &folder, record)?;
            let mut racer = RaceObserver {
                training: &training,
                engine: training.engine(),
                samples: others.as_ref().unwrap_or(&samples),
                judged,
                label: &method.label,
                folder,
                config: self.config.to_toml(),
                record: &mut *record,
                tell: &mut *tell,
                last: Instant::now(),
                pause: FIRST_PAUSE,
                longest: LONGEST * plan.limit,
            };
            let outcome = self
                .team
                .install(|| training.run(&mut state, &mut racer).map(|_| ()));
            if self.control.is_stopped() {
                racer.note(&state, None)?;
                return Ok(false);
            }
            let ending = match outcome {
                Ok(()) if state.seconds() >= plan.limit => "the time limit".to_owned(),
                Ok(()) => "as long as [train] asks for".to_owned(),
                Err(Error::Diverged(_)) => format!("diverged in epoch {}", state.epoch + 1),
                Err(other) => return Err(other),
            };
            racer.note(&state, Some(ending))?;
        }
        Ok(true)
    }

    /// The config's update, with the method's own learning rate where it has one.
    fn optimizer(&self, plan: &RacePlan, label: &str) -> OptimizerConfig {
        let mut optimizer = self.config.optimizer.clone();
        if let Some((_, rate)) = plan.rates.iter().find(|(own, _)| own == label) {
            match &mut optimizer {
                OptimizerConfig::Sgd(config) => config.learning_rate = *rate,
                OptimizerConfig::Adam(config) => config.learning_rate = *rate,
                OptimizerConfig::Lbfgs(_) => {}
            }
        }
        optimizer
    }

    /// θ as every method gets it, or where an interrupted one stood; rows after that are forgotten.
    /// A method whose checkpoints cannot be read, or are all damaged, keeps its rows.
    fn start<R: Real>(
        &self,
        label: &str,
        folder: &std::path::Path,
        record: &mut StudyRecord<RaceRow>,
    ) -> Result<TrainingState<R>> {
        let layout = &self.network.layout;
        let state = match checkpoint::newest(folder) {
            Ok(found) => found.checkpoint.state::<R>(layout, &found.path)?,
            Err(Error::NoCheckpoint(message)) if checkpoint::any(folder)? => {
                return Err(Error::NoCheckpoint(format!(
                    "{message}\n  help: remove this folder, and {label} runs anew; its rows are then made again"
                )));
            }
            Err(Error::NoCheckpoint(_)) => {
                let (initialization, seed) = (self.config.model.initialization, self.config.seed);
                TrainingState::new(initialization.draw(layout, seed))
            }
            Err(other) => return Err(other),
        };
        let steps = state.steps;
        record.retain(|row| row.method != label || (steps > 0 && row.steps <= steps))?;
        Ok(state)
    }
}

/// Watches one method.
struct RaceObserver<'a, R> {
    training: &'a Training<'a, R>,
    /// Counts.
    engine: Box<dyn TrainingEngine<R>>,
    /// Of the judged rows.
    samples: &'a Samples<R>,
    judged: &'a Part,
    label: &'a str,
    folder: PathBuf,
    config: String,
    record: &'a mut StudyRecord<RaceRow>,
    tell: &'a mut (dyn FnMut(&RaceRow) + Send),
    last: Instant,
    /// Seconds to the next evaluation.
    pause: f64,
    longest: f64,
}

impl<R: Real> RaceObserver<'_, R> {
    /// Judges `state`, and keeps it with its row. A state stands in one row: the one with the
    /// ending takes the place of the one before.
    fn note(&mut self, state: &TrainingState<R>, ending: Option<String>) -> Result<()> {
        let label = self.label;
        let same = |row: &RaceRow| row.method == label && row.steps == state.steps;
        if ending.is_none() && self.record.rows().iter().any(same) {
            return Ok(());
        }
        let begin = Instant::now();
        let Assessment { loss, accuracy, .. } = self.assess(state);
        let rows = self.training.rows.len() as f64;
        let row = RaceRow {
            method: self.label.to_owned(),
            epochs: state.epoch as f64 + state.partial.rows as f64 / rows,
            steps: state.steps,
            seconds: state.seconds(),
            accuracy,
            loss,
            tally: self.training.tally(state, &*self.engine),
            ending,
        };
        checkpoint::save(&self.folder, &Checkpoint::of(self.config.clone(), state))?;
        self.record.retain(|row| !same(row))?;
        (self.tell)(&row);
        self.record.push(row)?;
        let taken = begin.elapsed().as_secs_f64();
        self.pause = (GROWTH * self.pause).min(self.longest).max(taken / SHARE);
        self.last = Instant::now();
        Ok(())
    }

    fn assess(&self, state: &TrainingState<R>) -> Assessment {
        let training = self.training;
        let forward = Forward::new(training.network, &state.parameters, training.isa);
        forward.assess(
            self.samples,
            &self.judged.rows,
            training.classes,
            training.pool,
        )
    }
}

impl<R: Real> Observer<R> for RaceObserver<'_, R> {
    fn progress(&mut self, _: usize, _: usize, _: usize) {}

    fn wants_state(&self) -> bool {
        self.last.elapsed() >= Duration::from_secs_f64(self.pause)
    }

    fn state(&mut self, state: &TrainingState<R>) -> Result<()> {
        self.note(state, None)
    }

    fn epoch(&mut self, _: &EpochRecord, state: &TrainingState<R>) -> Result<()> {
        if self.wants_state() {
            self.note(state, None)?;
        }
        Ok(())
    }
}
