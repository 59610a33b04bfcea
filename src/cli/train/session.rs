//! One training run, from a config and its rows to the files in its directory.
//!
//! The loop computes; a listener writes the logs, the checkpoints and the terminal. Nothing is
//! computed or trained here, and nothing is written before the whole input was found right.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::progress::{ProgressDisplay, ProgressLength};
use crate::cli::arguments::Global;
use crate::cli::event_thread::EventThread;
use crate::cli::signals::Interrupt;
use crate::config::{Config, Overrides};
use crate::data::{Part, Samples, Split};
use crate::error::{Error, Result};
use crate::format::{AnyParameters, Model, safetensors};
use crate::gradient::finite_difference::check_increments;
use crate::gradient::random_direction::check_increment;
use crate::gradient::{Control, GradientConfig, Stopped};
use crate::kernels::Isa;
use crate::model::{Assessment, Forward, Network, Parameters};
use crate::numeric::statistics::median;
use crate::numeric::{Precision, Real};
use crate::optimizer::OptimizerState;
use crate::parallel::Workers;
use crate::run::directory::InitialFile;
use crate::run::evaluation::{ModelEvaluation, WrongSample};
use crate::run::{
    Checkpoint, Environment, Metrics, RunDirectory, RunSummary, checkpoint, directory, json,
};
use crate::train::{Ending, EpochRecord, Observer, Training, TrainingState};

/// How long a prediction measures, about.
const MEASURED: Duration = Duration::from_millis(300);

/// A checkpoint costs a few milliseconds of disk: never more often than this.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// What the runs of one command share.
pub struct CommandContext<'a> {
    /// Options of every command.
    pub global: &'a Global,
    /// The threads.
    pub team: Arc<Workers>,
    /// The kernels.
    pub isa: Isa,
    /// Signals, as they come.
    pub interrupt: Interrupt,
    /// Whether epochs are shown.
    pub shows_epochs: bool,
}

/// A run that may start: its input is right.
pub struct Session<'a> {
    /// The resolved config.
    pub config: &'a Config,
    /// The rows.
    pub split: &'a Split,
    /// The network that both ask for.
    pub network: Network,
    /// Where θ starts; `None`: drawn from the seed.
    pub start: Option<AnyParameters>,
}

/// Where a run goes on from.
pub struct ResumePoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its file.
    pub path: PathBuf,
}

/// What a run will take.
#[derive(Clone, Copy, Debug)]
pub struct TimeEstimate {
    /// Of one step.
    pub seconds_per_step: f64,
    /// Of all steps, where their number is known: without evaluation and files.
    pub seconds: Option<f64>,
}

/// What goes to the listener.
enum TrainingEvent {
    Steps(u64),
    Epoch(Box<EpochRecord>),
    Checkpoint(Box<Checkpoint>),
}

impl<'a> Session<'a> {
    /// Holds config and rows against each other.
    ///
    /// # Errors
    /// A network that cannot be made for these classes; a start with another layout.
    pub fn new(config: &'a Config, split: &'a Split, start: Option<AnyParameters>) -> Result<Self> {
        let dataset = &split.train.dataset;
        let classes = dataset.class_count();
        let loss = config.loss.kind;
        let mut sizes = vec![dataset.feature_count()];
        sizes.extend(&config.model.hidden);
        sizes.push(Network::outputs(loss, classes));
        let refused = |problem| Error::refused(&dataset.name, problem);
        if Network::outputs(loss, classes) == 1 && classes != 2 {
            return Err(refused(format!(
                "it has {classes} classes, but the logistic loss tells exactly 2 apart"
            ))
            .help("use loss.kind = \"cross-entropy\" with model.output = \"softmax\""));
        }
        let (model, l2) = (&config.model, config.loss.l2);
        let network = Network::new(&sizes, model.bias, model.output, loss, l2).map_err(refused)?;
        if let Some(start) = &start
            && start.layout() != &network.layout
        {
            let describe = |sizes: &[usize], bias| {
                format!("{sizes:?} {} biases", if bias { "with" } else { "without" })
            };
            return Err(Error::Usage(format!(
                "--init-from holds a network {}, but the config asks for {}",
                describe(start.layout().sizes(), start.layout().has_bias()),
                describe(&sizes, model.bias),
            )));
        }
        Ok(Self {
            config,
            split,
            network,
            start,
        })
    }

    /// Trains in `directory`, to the end or to a signal.
    ///
    /// # Errors
    /// [`Error::Interrupted`] once the state is saved; [`Error::Diverged`]; a checkpoint of
    /// another network; whatever the operating system refuses.
    pub fn run(
        &self,
        host: &CommandContext<'_>,
        directory: &RunDirectory,
        resumed: Option<&ResumePoint>,
    ) -> Result<RunSummary> {
        match self.config.model.precision {
            Precision::F32 => self.run_in::<f32>(host, directory, resumed),
            Precision::F64 => self.run_in::<f64>(host, directory, resumed),
        }
    }

    fn run_in<R: Real>(
        &self,
        host: &CommandContext<'_>,
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
        let split = self.split;
        let samples = Samples::<R>::new(&split.train.dataset, &split.scaling);
        let control = Control::new(host.interrupt.flag());
        let gradient = &self.config.gradient;
        let training = self.training(gradient, &samples, &host.team, host.isa, &control);
        let config = self.config.to_toml();
        directory.write(directory::CONFIG, config.as_bytes())?;
        let environment = Environment::detect(host.isa.name(), host.team.threads());
        directory.write(
            directory::ENVIRONMENT,
            json::document(&environment).as_bytes(),
        )?;
        let length = ProgressLength {
            evaluations: self.evaluations_a_step(),
            ..self.length(training.steps_per_epoch(), state.steps)
        };
        let mut recorder =
            Recorder::start(self, host, directory, &state, length, &control, config)?;
        let ending = host
            .team
            .install(|| training.run(&mut state, &mut recorder));
        let ending = recorder.finish(ending, &state)?;

        let model = self.model(&state);
        safetensors::save(&model, &directory.file(directory::MODEL))?;
        if ending == Ending::Interrupted {
            return Err(Error::Interrupted {
                code: host.interrupt.exit_code(),
                saved: Some(directory.path().to_path_buf()),
            });
        }
        let summary = self.conclude(host, directory, &state, ending, &samples, &model)?;
        directory.write(directory::SUMMARY, json::document(&summary).as_bytes())?;
        Ok(summary)
    }

    /// The state of a checkpoint. What L-BFGS remembers are values of its objective: if this config
    /// asks for another one, it begins anew.
    fn resumed<R: Real>(&self, from: &ResumePoint) -> Result<TrainingState<R>> {
        let checkpoint = &from.checkpoint;
        let mut state = checkpoint.state::<R>(&self.network.layout, &from.path)?;
        if let OptimizerState::History(_) = state.optimizer_state {
            let before = Config::parse(&checkpoint.config, &from.path, &Overrides::default())?;
            let objective = |config: &Config| {
                let (data, loss) = (config.data.clone(), config.loss.clone());
                (config.seed, data, loss, config.gradient)
            };
            if objective(&before) != objective(self.config) {
                state.optimizer_state = OptimizerState::Nothing;
            }
        }
        Ok(state)
    }

    /// Starts from the parameters in `from`.
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

    /// The files that its directory has from the start, so that it can be resumed before its first
    /// step: the config, and a checkpoint if θ comes from a model, which no config tells.
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

    fn first_parameters<R: Real>(&self) -> Parameters<R> {
        let layout = &self.network.layout;
        let converted = |numbers: Vec<R>| Parameters::from_flat(Arc::clone(layout), numbers);
        match &self.start {
            None => self
                .config
                .model
                .initialization
                .draw(layout, self.config.seed),
            Some(AnyParameters::F32(start)) => {
                let numbers = start.flat().iter().map(|x| R::from_f64(x.to_f64()));
                converted(numbers.collect())
            }
            Some(AnyParameters::F64(start)) => {
                converted(start.flat().iter().map(|&x| R::from_f64(x)).collect())
            }
        }
    }

    /// The loop over the training rows, with gradients by `gradient`.
    fn training<'s, R: Real>(
        &'s self,
        gradient: &'s GradientConfig,
        samples: &'s Samples<R>,
        team: &'s Arc<Workers>,
        isa: Isa,
        control: &'s Control,
    ) -> Training<'s, R> {
        let split = self.split;
        Training {
            network: &self.network,
            samples,
            rows: &split.train.rows,
            validation: split.validation.as_ref().map(|part| part.rows.as_slice()),
            classes: split.train.dataset.class_count(),
            gradient,
            optimizer: &self.config.optimizer,
            config: &self.config.train,
            seed: self.config.seed,
            pool: team,
            isa,
            workers: None,
            control,
        }
    }

    /// Losses evaluated in a step, and derivatives of the loss along a direction.
    pub fn evaluations_a_step(&self) -> u64 {
        self.config.gradient.passes(&self.network.layout)
    }

    /// Refuses increments that are lost in the first θ, before anything is written.
    ///
    /// # Errors
    /// [`Error::Usage`] with the parameter, and what would do.
    pub fn check_increments(&self) -> Result<()> {
        match self.config.model.precision {
            Precision::F32 => self.check_increments_in::<f32>(),
            Precision::F64 => self.check_increments_in::<f64>(),
        }
        .map_err(|lost| Error::Usage(lost.to_string()))
    }

    fn check_increments_in<R: Real>(&self) -> std::result::Result<(), Stopped> {
        match &self.config.gradient {
            GradientConfig::Difference(config) => {
                check_increments::<R>(config, &self.first_parameters())
            }
            GradientConfig::Spsa(config) => check_increment::<R>(config, &self.first_parameters()),
            // θ + h is never formed.
            _ => Ok(()),
        }
    }

    /// What a run with gradients by `gradient` will take, from a short measurement.
    ///
    /// # Errors
    /// A gradient that cannot be: an increment is lost in θ.
    pub fn predict(
        &self,
        gradient: &GradientConfig,
        team: &Arc<Workers>,
        isa: Isa,
    ) -> Result<TimeEstimate> {
        match self.config.model.precision {
            Precision::F32 => self.predict_in::<f32>(gradient, team, isa),
            Precision::F64 => self.predict_in::<f64>(gradient, team, isa),
        }
    }

    fn predict_in<R: Real>(
        &self,
        gradient: &GradientConfig,
        team: &Arc<Workers>,
        isa: Isa,
    ) -> Result<TimeEstimate> {
        let samples = Samples::<R>::new(&self.split.train.dataset, &self.split.scaling);
        let control = Control::default();
        let training = self.training(gradient, &samples, team, isa, &control);
        let theta = self.first_parameters::<R>();
        let seconds_per_step =
            team.install(|| training.measure_seconds_per_step(&theta, MEASURED))?;
        let steps = self.length(training.steps_per_epoch(), 0).steps;
        Ok(TimeEstimate {
            seconds_per_step,
            seconds: steps.map(|steps| steps as f64 * seconds_per_step),
        })
    }

    fn length(&self, steps_per_epoch: u64, steps_before: u64) -> ProgressLength {
        let config = &self.config.train;
        let by_epochs = config.epochs.map(|epochs| epochs as u64 * steps_per_epoch);
        ProgressLength {
            epochs: config.epochs,
            steps: by_epochs.into_iter().chain(config.max_steps).min(),
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
        }
    }

    /// Why the training ended, in words.
    fn describe<R: Real>(&self, ending: Ending, state: &TrainingState<R>) -> String {
        match ending {
            Ending::Finished => "as long as [train] asks for".to_owned(),
            Ending::Interrupted => "interrupted".to_owned(),
            Ending::StoppedEarly => format!(
                "stopped early: {} epochs without a better validation loss",
                self.config.train.early_stopping.unwrap_or(0)
            ),
            Ending::Converged | Ending::Stuck => {
                let largest = match &state.optimizer_state {
                    OptimizerState::History(history) => history.largest_gradient(),
                    _ => f64::NAN,
                };
                if largest == 0.0 {
                    "converged: every partial derivative is exactly 0, as it is where increments are lost in round-off".to_owned()
                } else if ending == Ending::Converged {
                    format!("converged: no partial derivative is above {largest:.1e}")
                } else {
                    format!(
                        "the line search found no lower loss, at a largest partial derivative of {largest:.1e}: the gradient, or the loss, is no more precise than that"
                    )
                }
            }
        }
    }

    /// Evaluates the weights kept, and sums the run up.
    fn conclude<R: Real>(
        &self,
        host: &CommandContext<'_>,
        directory: &RunDirectory,
        state: &TrainingState<R>,
        ending: Ending,
        samples: &Samples<R>,
        model: &Model,
    ) -> Result<RunSummary> {
        let kept_epoch = state.best.as_ref().map_or(state.epoch, |best| best.1);
        let kept = state.records.get(kept_epoch.wrapping_sub(1));
        let split = self.split;
        let forward = Forward::new(&self.network, &state.parameters, host.isa);
        let assess = |part: &Part| {
            let classes = part.dataset.class_count();
            let own;
            let samples = if Arc::ptr_eq(&part.dataset, &split.train.dataset) {
                samples
            } else {
                own = Samples::new(&part.dataset, &split.scaling);
                &own
            };
            let start = Instant::now();
            let assessment = forward.assess(samples, &part.rows, classes, &host.team);
            (assessment, start.elapsed())
        };
        let test = split.test.as_ref().map(|part| ("test", part, assess(part)));
        let shown = match (&test, &split.validation) {
            (Some(_), _) => test.clone(),
            (None, Some(part)) => Some(("validation", part, assess(part))),
            (None, None) => None,
        };
        if let Some((name, part, (assessment, elapsed))) = shown {
            let evaluation = ModelEvaluation {
                seconds: Some(elapsed.as_secs_f64()),
                ..evaluation(name, &assessment, part, &model.class_names)
            };
            directory.write(
                directory::EVALUATION,
                json::document(&evaluation).as_bytes(),
            )?;
        }
        let seconds: Vec<f64> = state.records.iter().map(|record| record.seconds).collect();
        Ok(RunSummary {
            run: directory.path().to_path_buf(),
            name: self.config.name.clone(),
            seed: self.config.seed,
            sizes: self.network.layout.sizes().to_vec(),
            parameters: self.network.layout.len(),
            threads: host.team.threads(),
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
                .map(|(_, _, (assessment, _))| assessment.accuracy),
            kept_epoch,
            weights_sha256: model.parameters.sha256(),
            tally: state.tally(),
        })
    }
}

/// `evaluation.json` of an assessment of `part`.
pub fn evaluation(
    name: &str,
    assessment: &Assessment,
    part: &Part,
    class_names: &[String],
) -> ModelEvaluation {
    let dataset = &part.dataset;
    // Only the most confident are described: a bad model is wrong on most rows.
    let mut mistakes = assessment.wrong.clone();
    mistakes.sort_by(|a, b| {
        b.confidence
            .total_cmp(&a.confidence)
            .then(a.position.cmp(&b.position))
    });
    mistakes.truncate(ModelEvaluation::WRONG_KEPT);
    let described = mistakes.iter().map(|mistake| {
        let row = part.rows[mistake.position] as usize;
        WrongSample {
            row,
            label: class_names[usize::from(dataset.labels[row])].clone(),
            predicted: class_names[mistake.predicted].clone(),
            confidence: mistake.confidence,
            inputs: (0..dataset.feature_count())
                .map(|feature| dataset.features.value(row, feature))
                .collect(),
        }
    });
    ModelEvaluation {
        image: dataset.image.map(|(height, width)| [height, width]),
        ..ModelEvaluation::new(
            name,
            assessment.loss,
            &assessment.confusion,
            class_names,
            described.collect(),
        )
    }
}

/// Hands events to the listener, and decides when a checkpoint is due.
struct Recorder<R> {
    listener: EventThread<TrainingEvent>,
    config: String,
    pause: Duration,
    last: Instant,
    batch_size: usize,
    /// With early stopping: where the last epoch ended, before the best weights are restored. A
    /// resumed run goes on from there.
    before_restoring: Option<TrainingState<R>>,
    restores: bool,
}

impl<R: Real> Recorder<R> {
    fn start(
        session: &Session<'_>,
        host: &CommandContext<'_>,
        directory: &RunDirectory,
        state: &TrainingState<R>,
        length: ProgressLength,
        control: &Control,
        config: String,
    ) -> Result<Self> {
        let folder: PathBuf = directory.path().to_path_buf();
        let mut metrics = Metrics::start(&folder, &state.records)?;
        let board = if host.shows_epochs {
            ProgressDisplay::new(host.global, length, control.clone())
        } else {
            ProgressDisplay::hidden()
        };
        let board = Arc::new(board);
        let watched = Arc::clone(&board);
        let handle = move |event| {
            match event {
                TrainingEvent::Steps(done) => board.steps(done),
                TrainingEvent::Epoch(record) => {
                    metrics.append(&*record)?;
                    board.epoch(&record);
                }
                TrainingEvent::Checkpoint(content) => {
                    checkpoint::save(&folder, &content)?;
                }
            }
            Ok(())
        };
        let listener = EventThread::start_watching(handle, move || watched.look())?;
        let pause = Duration::try_from_secs_f64(session.config.run.checkpoint_seconds);
        Ok(Self {
            listener,
            config,
            pause: pause.unwrap_or(Duration::MAX).max(SHORTEST_PAUSE),
            last: Instant::now(),
            batch_size: session.config.train.batch_size,
            before_restoring: None,
            restores: session.config.train.early_stopping.is_some(),
        })
    }

    /// Saves where the run ended, whatever ended it, and waits until all is on disk.
    fn finish(mut self, ending: Result<Ending>, state: &TrainingState<R>) -> Result<Ending> {
        if let Ok(ending) = &ending {
            let saved = match (ending, self.before_restoring.take()) {
                (Ending::Interrupted, _) | (_, None) => Checkpoint::from_state(self.config, state),
                (_, Some(before)) => Checkpoint::from_state(self.config, &before),
            };
            self.listener
                .deliver(TrainingEvent::Checkpoint(Box::new(saved)));
        }
        // A failed write comes first: it is why the loop ended.
        self.listener.finish()?;
        ending
    }
}

impl<R: Real> Observer<R> for Recorder<R> {
    fn progress(&mut self, epoch: usize, rows: usize, of: usize) {
        let steps = |rows: usize| rows.div_ceil(self.batch_size) as u64;
        let done = (epoch as u64 - 1) * steps(of) + steps(rows);
        self.listener.offer(TrainingEvent::Steps(done));
    }

    fn wants_state(&self) -> bool {
        self.last.elapsed() >= self.pause
    }

    fn state(&mut self, state: &TrainingState<R>) -> Result<()> {
        let due = Checkpoint::from_state(self.config.clone(), state);
        self.listener
            .deliver(TrainingEvent::Checkpoint(Box::new(due)));
        self.last = Instant::now();
        self.check()
    }

    fn epoch(&mut self, record: &EpochRecord, state: &TrainingState<R>) -> Result<()> {
        self.listener
            .deliver(TrainingEvent::Epoch(Box::new(record.clone())));
        if self.restores {
            self.before_restoring = Some(state.clone());
        }
        if self.wants_state() {
            return self.state(state);
        }
        self.check()
    }
}

impl<R> Recorder<R> {
    /// Ends a run that nobody can write down any more.
    fn check(&self) -> Result<()> {
        if self.listener.has_failed() {
            return Err(Error::Resources(
                "the run's logs cannot be written".to_owned(),
            ));
        }
        Ok(())
    }
}

/// The directory for a run, with `files` in it: the one asked for, or the next of `runs/NAME`.
///
/// # Errors
/// [`Error::InUse`] if another run is in it.
pub fn claim(out: Option<&Path>, name: &str, files: &[InitialFile]) -> Result<RunDirectory> {
    match out {
        Some(out) => RunDirectory::create_at(out, files),
        None => RunDirectory::create_numbered(Path::new("runs"), name, files),
    }
}
