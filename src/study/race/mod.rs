//! The race: the same network, initial weights, data and order of rows, trained by one method after
//! another.
//!
//! A row records the progress of a method: accuracy and loss on rows that are not used for
//! training, with the seconds and the operations of its steps so far. Evaluations come at growing
//! intervals, and their time is not counted. A checkpoint is saved with each row, so that an
//! interrupted race continues with the same bits and seconds. If a method diverges, its race ends
//! and that of the next one begins.

pub mod summary;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use self::summary::RaceReport;
use super::methods::Method;
use super::record::StudyRecord;
use super::table::{duration, percent};
use super::{Study, StudyReport, Subject};
use crate::config::Config;
use crate::data::{Part, Samples, Split};
use crate::error::{Error, Result};
use crate::gradient::random_direction::PerturbedQuantity;
use crate::gradient::{GradientConfig, TrainingEngine};
use crate::model::{Assessment, Forward, Network};
use crate::numeric::tally::Tally;
use crate::numeric::{Precision, Real};
use crate::optimizer::OptimizerConfig;
use crate::parallel::Workers;
use crate::run::{Checkpoint, checkpoint, directory};
use crate::train::{EpochRecord, Observer, TrainConfig, Training, TrainingState};

/// Seconds before the first evaluation, and the factor by which each pause is longer than the one
/// before.
const FIRST_PAUSE: f64 = 0.01;
const GROWTH: f64 = 1.25;
/// The pause after an evaluation is at least the time it took divided by this share.
const MAX_EVALUATION_SHARE: f64 = 0.2;
/// The longest pause as a share of the time limit; only slow evaluations make it longer.
const LONGEST_PAUSE_SHARE: f64 = 0.05;

/// The arguments of a race, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RacePlan {
    /// Labels of the methods, in the order in which they are trained.
    pub methods: Vec<String>,
    /// Learning rates of methods that do not use the config's, by label.
    pub rates: Vec<(String, f64)>,
    /// Target accuracies: the race reports when each method first reaches them.
    pub targets: Vec<f64>,
    /// Seconds of training steps allowed for each method.
    pub limit: f64,
}

/// Returns the learning rate for a random-direction estimate of the gradient, if `rate` suits the
/// gradient itself. An estimate along random directions with d components is √d times as long
/// (E‖ĝ‖² = d‖g‖²), so at rate/√d its steps are as long as the gradient's. d is N, or the number of
/// units if pre-activations are perturbed. Returns `None` for methods that compute the gradient.
pub fn rate_of_estimate(method: &Method, network: &Network, rate: f64) -> Option<f64> {
    let sizes = network.layout.sizes();
    let components = match &method.gradient {
        GradientConfig::ForwardGradient(config)
            if config.perturbed == PerturbedQuantity::Activations =>
        {
            sizes[1..].iter().sum()
        }
        GradientConfig::ForwardGradient(_) | GradientConfig::Spsa(_) => network.layout.len(),
        _ => return None,
    };
    Some(rate / (components as f64).sqrt())
}

/// The progress of a method at one evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RaceRow {
    /// The method's label.
    pub method: String,
    /// Epochs completed, including the fraction of the one in progress.
    pub epochs: f64,
    /// Number of steps so far.
    pub steps: u64,
    /// Seconds of shuffling and training steps so far.
    pub seconds: f64,
    /// Accuracy on the evaluation rows.
    pub accuracy: f64,
    /// Mean loss on the evaluation rows, without the l2 term.
    pub loss: f64,
    /// Operations performed in all steps so far.
    pub tally: Tally,
    /// The reason why the method ended; only in its last row.
    pub ending: Option<String>,
}

/// A race that is ready to start.
pub struct RaceStudy<'a> {
    /// The config and the rows.
    pub subject: Subject<'a>,
    /// The network.
    pub network: Network,
    /// The worker threads.
    pub pool: Arc<Workers>,
    /// The methods of the plan.
    pub methods: Vec<Method>,
    /// The rows on which accuracy is measured, and their name.
    pub judges: (&'a Part, &'static str),
}

/// Returns the rows on which accuracy is measured, and their name: the validation rows, or the test
/// rows if there are no validation rows.
///
/// # Errors
/// [`Error::Usage`] if there are neither validation nor test rows.
pub fn evaluation_part(split: &Split) -> Result<(&Part, &'static str)> {
    let validation = split.validation.as_ref().map(|part| (part, "validation"));
    let test = || split.test.as_ref().map(|part| (part, "test"));
    validation.or_else(test).ok_or_else(|| {
        Error::Usage(
            "a race needs validation or test rows, which are not used for training\n  help: set data.validation in the config"
                .to_owned(),
        )
    })
}

impl Study for RaceStudy<'_> {
    const KIND: &'static str = "race";
    type Plan = RacePlan;
    type Row = RaceRow;

    fn config(&self) -> Option<&Config> {
        Some(self.subject.config)
    }

    fn threads(&self, _: &RacePlan) -> usize {
        self.pool.threads()
    }

    /// Trains every method that has not ended in `record`.
    fn run(&mut self, plan: &RacePlan, record: &mut StudyRecord<RaceRow>) -> Result<bool> {
        match self.subject.config.model.precision {
            Precision::F32 => self.run_in::<f32>(plan, record),
            Precision::F64 => self.run_in::<f64>(plan, record),
        }
    }

    fn line(row: &RaceRow) -> String {
        let ending = row.ending.as_ref();
        let ending = ending.map_or(String::new(), |ending| format!(", ended: {ending}"));
        format!(
            "{}: {} after {}, epoch {:.2}{ending}",
            row.method,
            percent(Some(row.accuracy)),
            duration(row.seconds),
            row.epochs,
        )
    }

    fn is_detail(row: &RaceRow) -> bool {
        row.ending.is_none()
    }

    fn report<'a>(
        &'a self,
        plan: &'a RacePlan,
        record: &'a StudyRecord<RaceRow>,
    ) -> impl StudyReport + 'a {
        let name = &self.subject.config.name;
        RaceReport::new(name, record.label(), self.judges.1, plan, record.rows())
    }
}

impl RaceStudy<'_> {
    fn run_in<R: Real>(&self, plan: &RacePlan, record: &mut StudyRecord<RaceRow>) -> Result<bool> {
        let Subject { config, split, .. } = self.subject;
        let control = self.subject.control;
        let train = &split.train;
        let samples = Samples::<R>::new(&train.dataset, &split.scaling);
        let same_dataset = Arc::ptr_eq(&self.judges.0.dataset, &train.dataset);
        let other_samples =
            (!same_dataset).then(|| Samples::<R>::new(&self.judges.0.dataset, &split.scaling));
        let training_config = TrainConfig {
            max_seconds: Some(plan.limit),
            early_stopping: None,
            ..config.train.clone()
        };
        for method in &self.methods {
            let folder = record.path().join(method.label.replace('/', "-"));
            std::fs::create_dir_all(&folder)
                .map_err(|source| Error::io("create", &folder, source))?;
            // This process holds the study's lock, so nobody else writes here.
            directory::remove_leftovers(&folder)?;
            let ended = |row: &RaceRow| row.method == method.label && row.ending.is_some();
            if record.rows().iter().any(ended) {
                continue;
            }
            let optimizer = self.optimizer(plan, &method.label);
            let training = Training {
                network: &self.network,
                samples: &samples,
                rows: &train.rows,
                validation: None,
                classes: train.dataset.class_count(),
                gradient: &method.gradient,
                optimizer: &optimizer,
                config: &training_config,
                seed: config.seed,
                pool: &self.pool,
                isa: self.subject.isa,
                workers: None,
                split: config.run.split,
                control,
            };
            let mut state = self.start::<R>(&method.label, &folder, record)?;
            let mut observer = RaceObserver {
                training: &training,
                engine: training.engine(),
                samples: other_samples.as_ref().unwrap_or(&samples),
                part: self.judges.0,
                label: &method.label,
                folder,
                config: config.to_toml(),
                record: &mut *record,
                last: Instant::now(),
                pause: FIRST_PAUSE,
                longest: LONGEST_PAUSE_SHARE * plan.limit,
            };
            let result = self
                .pool
                .install(|| training.run(&mut state, &mut observer).map(|_| ()));
            if control.is_stopped() {
                observer.record_state(&state, None)?;
                return Ok(false);
            }
            let ending = ending(result, &state, plan.limit)?;
            observer.record_state(&state, Some(ending))?;
        }
        Ok(true)
    }

    /// Returns the config's optimizer, with the method's own learning rate if the plan has one.
    fn optimizer(&self, plan: &RacePlan, label: &str) -> OptimizerConfig {
        let mut optimizer = self.subject.config.optimizer.clone();
        if let Some((_, rate)) = plan.rates.iter().find(|(method, _)| method == label) {
            optimizer.set_learning_rate(*rate);
        }
        optimizer
    }

    /// Returns the initial state that all methods share, or the last saved state of an interrupted
    /// method; rows after that state are removed. If the checkpoints of a method cannot be read, or
    /// all are damaged, this is an error and its rows are kept.
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
                    "{message}\n  help: remove this folder to run {label} from the start; this replaces its rows"
                )));
            }
            Err(Error::NoCheckpoint(_)) => {
                let Config { model, seed, .. } = self.subject.config;
                TrainingState::new(model.initialization.draw(layout, *seed))
            }
            Err(other) => return Err(other),
        };
        let steps = state.steps;
        record.retain(|row| row.method != label || (steps > 0 && row.steps <= steps))?;
        Ok(state)
    }
}

/// Says why a method ended that was not interrupted.
fn ending<R: Real>(result: Result<()>, state: &TrainingState<R>, limit: f64) -> Result<String> {
    match result {
        Ok(()) if state.seconds() >= limit => Ok("the time limit".to_owned()),
        Ok(()) => Ok("as long as [train] asks for".to_owned()),
        Err(Error::Diverged(_)) => Ok(format!("diverged in epoch {}", state.epoch + 1)),
        Err(other) => Err(other),
    }
}

/// The observer of one method, which records its progress.
struct RaceObserver<'a, R> {
    training: &'a Training<'a, R>,
    /// Used for its operation counts only.
    engine: Box<dyn TrainingEngine<R>>,
    /// The samples of the evaluation rows.
    samples: &'a Samples<R>,
    /// The evaluation rows.
    part: &'a Part,
    label: &'a str,
    folder: PathBuf,
    config: String,
    record: &'a mut StudyRecord<RaceRow>,
    /// The time of the last evaluation.
    last: Instant,
    /// Seconds from then to the next evaluation.
    pause: f64,
    longest: f64,
}

impl<R: Real> RaceObserver<'_, R> {
    /// Evaluates `state`, and saves it with its row. A state has only one row: the one with the
    /// ending replaces the earlier one.
    fn record_state(&mut self, state: &TrainingState<R>, ending: Option<String>) -> Result<()> {
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
        checkpoint::save(
            &self.folder,
            &Checkpoint::from_state(self.config.clone(), state),
        )?;
        self.record.retain(|row| !same(row))?;
        self.record.push(row)?;
        let taken = begin.elapsed().as_secs_f64();
        self.pause = (GROWTH * self.pause)
            .min(self.longest)
            .max(taken / MAX_EVALUATION_SHARE);
        self.last = Instant::now();
        Ok(())
    }

    fn assess(&self, state: &TrainingState<R>) -> Assessment {
        let training = self.training;
        let forward = Forward::new(training.network, &state.parameters, training.isa);
        forward.assess(
            self.samples,
            &self.part.rows,
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
        self.record_state(state, None)
    }

    fn epoch(&mut self, _: &EpochRecord, state: &TrainingState<R>) -> Result<()> {
        if self.wants_state() {
            self.record_state(state, None)?;
        }
        Ok(())
    }
}
