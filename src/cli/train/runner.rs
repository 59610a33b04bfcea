//! Runs one training session in a directory and writes the files at its end.
//!
//! The loop of [`crate::train`] computes; the recorder writes logs, checkpoints and progress while
//! it runs. Nothing is written before the whole input is validated.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::context::CommandContext;
use super::progress::ProgressLength;
use super::recorder::Recorder;
use crate::cli::evaluation::evaluation;
use crate::cli::session::Session;
use crate::config::{Config, Overrides};
use crate::data::{Part, Samples, Schema};
use crate::error::{Error, Result};
use crate::format::{AnyParameters, Model, safetensors};
use crate::gradient::Control;
use crate::model::{Assessment, Forward, Network, Parameters};
use crate::numeric::statistics::median;
use crate::numeric::{Precision, Real};
use crate::optimizer::history::largest;
use crate::optimizer::{History, OptimizerState};
use crate::run::directory::InitialFile;
use crate::run::evaluation::{ModelEvaluation, RarestClass};
use crate::run::summary::RankSummary;
use crate::run::{Checkpoint, Environment, RunDirectory, RunSummary, checkpoint, directory, json};
use crate::train::{Ending, TrainingState};

/// The checkpoint from which a run resumes.
pub struct ResumePoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// File of the checkpoint.
    pub path: PathBuf,
}

impl Session<'_> {
    /// Trains in `directory` until the end or a signal.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once the state is saved; [`Error::Diverged`]; a checkpoint of
    /// another network; whatever the operating system refuses.
    pub fn run(
        &self,
        context: &CommandContext<'_>,
        directory: &RunDirectory,
        resumed: Option<&ResumePoint>,
    ) -> Result<RunSummary> {
        match self.config.model.precision {
            Precision::F32 => self.run_in::<f32>(context, directory, resumed),
            Precision::F64 => self.run_in::<f64>(context, directory, resumed),
        }
    }

    fn run_in<R: Real>(
        &self,
        context: &CommandContext<'_>,
        directory: &RunDirectory,
        resumed: Option<&ResumePoint>,
    ) -> Result<RunSummary>
    where
        AnyParameters: From<Parameters<R>>,
    {
        let mut state = match resumed {
            Some(from) => self.resumed(from)?,
            None => TrainingState::new(self.first_parameters::<R>()),
        };
        let ranks = context.workers.ranks();
        let checkpoint = resumed.filter(|_| ranks.are_many());
        let mut checkpoint = checkpoint.map_or(Vec::new(), |from| from.checkpoint.to_bytes());
        ranks.share(&mut checkpoint)?;
        let split = self.split;
        let samples = Samples::<R>::new(&split.train.dataset, &split.scaling);
        let control = Control::new(&ranks.stop_flag(context.interrupt.flag()));
        let gradient = &self.config.gradient;
        let training = self.training(gradient, &samples, &context.workers, context.isa, &control);
        let config = self.config.to_toml();
        directory.write(directory::CONFIG, config.as_bytes())?;
        let environment = Environment::detect(context.isa.name(), context.workers.threads());
        directory.write(
            directory::ENVIRONMENT,
            json::document(&environment).as_bytes(),
        )?;
        let length = ProgressLength {
            evaluations: self.evaluations_a_step(),
            ..self.length(training.steps_per_epoch(), state.steps)
        };
        let mut recorder =
            Recorder::start(self, context, directory, &state, length, &control, config)?;
        let ending = context
            .workers
            .install(|| training.run(&mut state, &mut recorder));
        let ending = recorder.finish(ending, &state)?;

        let model = self.model(&state);
        safetensors::save(&model, &directory.file(directory::MODEL))?;
        let summary = match ending {
            Ending::Interrupted => None,
            _ => self.conclude(context, directory, &state, ending, &samples, &model)?,
        };
        let summary = summary.ok_or_else(|| Error::Interrupted {
            code: context.interrupt.exit_code(),
            saved: Some(directory.path().to_path_buf()),
        })?;
        directory.write(directory::SUMMARY, json::document(&summary).as_bytes())?;
        Ok(summary)
    }

    /// Returns the state of a checkpoint. The history of L-BFGS holds values of its objective, so
    /// it is dropped if this config has another objective.
    pub(super) fn resumed<R: Real>(&self, from: &ResumePoint) -> Result<TrainingState<R>> {
        let checkpoint = &from.checkpoint;
        self.check_columns(from)?;
        let mut state = checkpoint.state::<R>(&self.network.layout, &from.path)?;
        if History::gradient_in(&state.optimizer_state).is_some() {
            let before = Config::parse(&checkpoint.config, &from.path, &Overrides::default())?;
            let objective = |config: &Config| {
                let (data, loss) = (config.data.clone(), config.loss.clone());
                (config.seed, data, loss, config.gradient)
            };
            if objective(&before) != objective(self.config) {
                state.optimizer_state = OptimizerState::default();
            }
        }
        Ok(state)
    }

    /// Refuses training rows whose columns are not those of the checkpoint.
    fn check_columns(&self, from: &ResumePoint) -> Result<()> {
        let before = &from.checkpoint.schema;
        let dataset = &self.split.train.dataset;
        let now = dataset.schema();
        if before.columns.is_empty() || *before == now {
            return Ok(());
        }
        let names = |schema: &Schema| match schema.input_names() {
            Some(names) => names.join(", "),
            None => format!("{} without names", schema.columns.len()),
        };
        let (before, now) = (names(before), names(&now));
        let problem = if before == now {
            "its columns, label or fill values have changed since the checkpoint".to_owned()
        } else {
            format!("its inputs are {now}, but those of the checkpoint are {before}")
        };
        let table = dataset.table.as_ref();
        let path = table.map_or_else(|| PathBuf::from(&dataset.name), |table| table.path.clone());
        Err(Error::refused(path, problem).help(
            "a resumed run needs the data that it began with; start a new run for other data",
        ))
    }

    /// Returns the session with its start at the parameters in `from`.
    ///
    /// # Errors
    /// A checkpoint of another network.
    pub fn start_from(self, from: &ResumePoint) -> Result<Self> {
        fn parameters<R: Real>(network: &Network, from: &ResumePoint) -> Result<Parameters<R>> {
            let state = from.checkpoint.state(&network.layout, &from.path)?;
            Ok(state.parameters)
        }
        let start = match self.config.model.precision {
            Precision::F32 => parameters::<f32>(&self.network, from)?.into(),
            Precision::F64 => parameters::<f64>(&self.network, from)?.into(),
        };
        Ok(Self {
            start: Some(start),
            ..self
        })
    }

    /// Returns the files that its directory has from the start, so that the run can be resumed
    /// before its first step: the config, and a checkpoint if θ comes from a model, which the
    /// config does not name.
    pub fn first_files(&self) -> Vec<InitialFile> {
        let config = self.config.to_toml();
        let checkpoint = |config: &str| match self.config.model.precision {
            Precision::F32 => self.first_checkpoint::<f32>(config),
            Precision::F64 => self.first_checkpoint::<f64>(config),
        };
        let mut files = Vec::new();
        if self.start.is_some() {
            files.push((checkpoint::FIRST, checkpoint(&config).to_bytes()));
        }
        files.push((directory::CONFIG, config.into_bytes()));
        files
    }

    fn first_checkpoint<R: Real>(&self, config: &str) -> Checkpoint {
        let state = TrainingState::new(self.first_parameters::<R>());
        Checkpoint::from_state(config.to_owned(), &state)
    }

    fn length(&self, steps_per_epoch: u64, steps_before: u64) -> ProgressLength {
        ProgressLength {
            epochs: self.config.train.epochs,
            steps: self.steps(steps_per_epoch),
            steps_before,
            evaluations: 1,
        }
    }

    fn model<R: Real>(&self, state: &TrainingState<R>) -> Model
    where
        AnyParameters: From<Parameters<R>>,
    {
        Model {
            name: self.config.name.clone(),
            network: self.network.clone(),
            parameters: state.parameters.clone().into(),
            class_names: self.split.train.dataset.class_names.clone(),
            scaling: self.split.scaling.clone(),
            schema: self.split.train.dataset.schema(),
        }
    }

    /// Names the limit of `[train]` that ended the training.
    fn describe_limit<R: Real>(&self, state: &TrainingState<R>) -> String {
        let config = &self.config.train;
        if config.epochs.is_some_and(|epochs| state.epoch >= epochs) {
            return all_done(state.epoch as u64, "epoch");
        }
        match (config.max_steps, config.max_seconds) {
            (Some(steps), _) if state.steps >= steps => all_done(steps, "step"),
            (_, Some(seconds)) => format!("time limit of {seconds} s reached"),
            _ => "done".to_owned(),
        }
    }

    /// Describes why the training ended.
    fn describe<R: Real>(&self, ending: Ending, state: &TrainingState<R>) -> String {
        match ending {
            Ending::Finished => self.describe_limit(state),
            Ending::Interrupted => "interrupted".to_owned(),
            Ending::StoppedEarly => format!(
                "stopped early: {} epochs without a better validation loss",
                self.config.train.early_stopping.unwrap_or(0)
            ),
            Ending::Converged | Ending::Stuck => {
                let gradient = History::gradient_in(&state.optimizer_state);
                let largest = gradient.map_or(f64::NAN, largest);
                if largest == 0.0 {
                    "converged: every partial derivative is exactly 0, as happens when increments are lost in round-off".to_owned()
                } else if ending == Ending::Converged {
                    format!("converged: no partial derivative is above {largest:.1e}")
                } else {
                    format!(
                        "the line search found no lower loss; the largest partial derivative is {largest:.1e}, about the precision of the gradient or the loss"
                    )
                }
            }
        }
    }

    /// Evaluates the kept weights and summarizes the run; `None` if a signal ends a long evaluation.
    /// All steps are saved then, and a resumed run has only this left to do.
    fn conclude<R: Real>(
        &self,
        context: &CommandContext<'_>,
        directory: &RunDirectory,
        state: &TrainingState<R>,
        ending: Ending,
        samples: &Samples<R>,
        model: &Model,
    ) -> Result<Option<RunSummary>> {
        let kept_epoch = state.best.as_ref().map_or(state.epoch, |best| best.1);
        let kept = state.records.get(kept_epoch.wrapping_sub(1));
        let split = self.split;
        let validation = || split.validation.as_ref().map(|part| ("validation", part));
        let judged = split.test.as_ref().map(|part| ("test", part));
        let mut shown = None;
        if let Some((name, part)) = judged.or_else(validation) {
            let Some(assessed) = self.assess(context, state, samples, part) else {
                return Ok(None);
            };
            shown = Some((name, part, assessed));
        }
        let test = shown.clone().filter(|_| split.test.is_some());
        let (mut target_errors, mut rarest_class) = (Vec::new(), None);
        if let Some((name, part, (assessment, elapsed))) = shown {
            let evaluation = ModelEvaluation {
                seconds: Some(elapsed.as_secs_f64()),
                ..evaluation(name, &assessment, part, &model.class_names)
            };
            rarest_class = rarest(&split.train, &evaluation);
            target_errors = assessment
                .regression
                .map_or(Vec::new(), |found| found.targets);
            directory.write(
                directory::EVALUATION,
                json::document(&evaluation).as_bytes(),
            )?;
        }
        let seconds: Vec<f64> = state.records.iter().map(|record| record.seconds).collect();
        Ok(Some(RunSummary {
            run: directory.path().to_path_buf(),
            name: self.config.name.clone(),
            seed: self.config.seed,
            sizes: self.network.layout.sizes().to_vec(),
            parameters: self.network.layout.len(),
            threads: context.workers.threads(),
            epochs: state.epoch,
            ending: self.describe(ending, state),
            seconds: state.seconds(),
            seconds_per_epoch: median(&seconds),
            samples_per_epoch: split.train.len(),
            train_loss: kept.map(|record| record.train_loss),
            validation_loss: kept.and_then(|record| record.validation_loss),
            validation_accuracy: kept.and_then(|record| record.validation_accuracy),
            test_loss: test.as_ref().map(|(_, _, (assessment, _))| assessment.loss),
            test_accuracy: test
                .as_ref()
                .and_then(|(_, _, (assessment, _))| assessment.class_accuracy()),
            validation_r2: kept.and_then(|record| record.validation_r2),
            test_r2: test
                .as_ref()
                .and_then(|(_, _, (assessment, _))| assessment.r2()),
            target_errors,
            rarest_class,
            kept_epoch,
            weights_sha256: model.parameters.sha256(),
            tally: state.tally(),
            ranks: RankSummary::of(context.workers.ranks()),
        }))
    }

    /// Evaluates θ on `part`, and tells how long that took; `None` if a signal ends it. `samples` are
    /// those of the training rows.
    fn assess<R: Real>(
        &self,
        context: &CommandContext<'_>,
        state: &TrainingState<R>,
        samples: &Samples<R>,
        part: &Part,
    ) -> Option<(Assessment, Duration)> {
        let split = self.split;
        let other;
        let samples = if Arc::ptr_eq(&part.dataset, &split.train.dataset) {
            samples
        } else {
            other = Samples::new(&part.dataset, &split.scaling);
            &other
        };
        let forward = Forward::new(&self.network, &state.parameters, context.isa);
        let (classes, stop) = (part.dataset.class_count(), context.interrupt.flag());
        let start = Instant::now();
        let assessment =
            forward.assess_unless_stopped(samples, &part.rows, classes, &context.workers, stop)?;
        Some((assessment, start.elapsed()))
    }
}

/// Returns the figures of the class with the fewest training rows, the first of equal ones.
fn rarest(train: &Part, evaluation: &ModelEvaluation) -> Option<RarestClass> {
    if train.dataset.is_regression() {
        return None;
    }
    let mut rows = vec![0usize; train.dataset.class_count()];
    for &row in &train.rows {
        rows[usize::from(train.dataset.labels[row as usize])] += 1;
    }
    let classes = rows.iter().enumerate().filter(|(_, rows)| **rows > 0);
    let (class, &count) = classes.min_by_key(|(_, rows)| **rows)?;
    let figures = evaluation.classes.get(class)?;
    Some(RarestClass {
        name: figures.name.clone(),
        share: count as f64 / train.rows.len() as f64,
        recall: figures.recall,
        f1: figures.f1,
    })
}

/// Says that the limit of `count` epochs or steps ended the training.
fn all_done(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun} done"),
        _ => format!("all {count} {noun}s done"),
    }
}

/// Creates the directory of a run with `files` in it: `out`, or the next of `runs/NAME`.
///
/// # Errors
/// [`Error::InUse`] if another run is in it.
pub fn claim(out: Option<&Path>, name: &str, files: &[InitialFile]) -> Result<RunDirectory> {
    match out {
        Some(out) => RunDirectory::create_at(out, files),
        None => RunDirectory::create_numbered(Path::new("runs"), name, files),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_epoch_is_not_all_of_them() {
        assert_eq!(all_done(1, "epoch"), "1 epoch done");
        assert_eq!(all_done(30, "epoch"), "all 30 epochs done");
    }
}
