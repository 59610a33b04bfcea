//! The epoch loop of training. It reports to an observer and uses neither files nor the terminal.
//!
//! The order of rows in an epoch depends only on the seed and the epoch's number, so a run can stop
//! after any step and continue with the same bits. `epoch_loop.rs` makes the steps of an epoch over
//! mini-batches (`minibatch_steps.rs`), `lbfgs_loop.rs` iterations over the whole training set;
//! `state.rs` holds the state between steps, `observer.rs` the events, `time_estimate.rs` the
//! estimate of a run's duration.

mod epoch_loop;
mod input_check;
mod lbfgs_loop;
mod minibatch_steps;
mod observer;
mod state;
mod time_estimate;

pub use observer::{NoObserver, Observer};
pub use state::{EpochRecord, EpochSums, TrainingState};

use std::sync::Arc;
use std::time::Duration;

use ndarray_rand::rand::seq::SliceRandom;

use crate::data::Samples;
use crate::error::{Error, Result};
use crate::gradient::random_direction::DirectionSeed;
use crate::gradient::{Control, GradientConfig, Stopped, TrainingEngine};
use crate::kernels::Isa;
use crate::model::{Forward, Network};
use crate::numeric::Real;
use crate::numeric::random::{Purpose, epoch_stream};
use crate::numeric::tally::Tally;
use crate::optimizer::{LbfgsConfig, Method, OptimizerConfig};
use crate::parallel::{Division, Split, Tuner, Workers};
use minibatch_steps::{FusedSteps, GradientSteps, Segment, Steps};

/// Training settings: the section `[train]` of a config.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// Maximum number of epochs.
    pub epochs: Option<usize>,
    /// Maximum number of steps.
    pub max_steps: Option<u64>,
    /// Maximum seconds of training.
    pub max_seconds: Option<f64>,
    /// Number of rows of a mini-batch; [`TrainConfig::ALL_ROWS`] with L-BFGS.
    pub batch_size: usize,
    /// Number of epochs without a better validation loss after which the run stops; the best
    /// weights are restored.
    pub early_stopping: Option<usize>,
}

impl TrainConfig {
    /// Batch size that stands for all training rows.
    pub const ALL_ROWS: usize = usize::MAX;
}

/// Reason for the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs, steps or seconds of the config are done.
    Finished,
    /// Early stopping: no better validation loss for the configured number of epochs.
    StoppedEarly,
    /// L-BFGS: the gradient is within `optimizer.tolerance`.
    Converged,
    /// L-BFGS: the line search finds no lower objective, neither along L-BFGS's direction nor along
    /// the negative gradient.
    Stuck,
    /// The stop flag was raised.
    Interrupted,
}

/// Result of an epoch, before its weights are evaluated on the validation rows.
struct EpochResult {
    learning_rate: f64,
    train_loss: f64,
    gradient_norm: f64,
    seconds: f64,
    tally: Tally,
}

/// An optimizer with its engine.
enum Stepper<'a, R: Real> {
    /// Steps over mini-batches.
    Minibatches(Box<dyn Steps<R> + 'a>),
    /// Iterations over all rows.
    AllRows(&'a LbfgsConfig, Box<dyn TrainingEngine<R>>),
}

/// Training run: everything but its state.
pub struct Training<'a, R> {
    /// Network and loss.
    pub network: &'a Network,
    /// Dataset that contains the rows.
    pub samples: &'a Samples<R>,
    /// Indices of the training rows.
    pub rows: &'a [u32],
    /// Indices of the validation rows, of the same dataset.
    pub validation: Option<&'a [u32]>,
    /// Number of classes.
    pub classes: usize,
    /// Gradient method.
    pub gradient: &'a GradientConfig,
    /// Optimizer.
    pub optimizer: &'a OptimizerConfig,
    /// Length of the run, and batch size.
    pub config: &'a TrainConfig,
    /// Seed of the order of rows, and of random directions.
    pub seed: u64,
    /// Worker pool.
    pub pool: &'a Arc<Workers>,
    /// Instruction set of the kernels.
    pub isa: Isa,
    /// Fixed number of workers; `None`: the tuner chooses it by measurement.
    pub workers: Option<usize>,
    /// What the workers divide, if the method leaves a choice; `None`: the tuner chooses it, too.
    pub split: Option<Split>,
    /// Stop flag, checked even within a gradient, and counter of evaluations.
    pub control: &'a Control,
}

impl<R: Real> Training<'_, R> {
    /// Returns the number of steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.rows.len().div_ceil(self.config.batch_size) as u64
    }

    /// Returns the operations of all steps up to `state`. `engine` must be one of this run's
    /// method; it counts the operations of an epoch in progress.
    pub fn tally(&self, state: &TrainingState<R>, engine: &dyn TrainingEngine<R>) -> Tally {
        let mut tally = Tally::default();
        for record in state.stepped() {
            tally += record.tally;
        }
        if state.partial.rows > 0 {
            let mut order = Vec::with_capacity(self.rows.len());
            self.shuffle(state.epoch, &mut order);
            let batch = self.config.batch_size.min(self.rows.len());
            for rows in order[..state.partial.rows].chunks(batch) {
                tally += engine.tally(self.samples, rows);
            }
        }
        tally
    }

    /// Overwrites `order` with the order of rows in epoch `epoch`, from 0.
    fn shuffle(&self, epoch: usize, order: &mut Vec<u32>) {
        order.clear();
        order.extend_from_slice(self.rows);
        order.shuffle(&mut epoch_stream(self.seed, Purpose::Shuffle, epoch));
    }

    /// Creates an engine of this run's method, for mini-batches of the configured size.
    pub fn engine(&self) -> Box<dyn TrainingEngine<R>> {
        self.engine_for(self.config.batch_size.min(self.rows.len()))
    }

    /// Creates an engine of this run's method, for mini-batches of at most `capacity` rows.
    fn engine_for(&self, capacity: usize) -> Box<dyn TrainingEngine<R>> {
        let (network, pool, samples) = (self.network, self.pool, self.samples);
        let mut engine = self
            .gradient
            .engine(network, pool, self.isa, samples, capacity);
        if let Some(split) = self.split {
            engine.set_split(split);
        }
        engine
    }

    /// Creates a tuner among the divisions of a step that this run allows.
    fn tuner(&self, engine: &mut dyn TrainingEngine<R>) -> Tuner {
        let splits = match (self.split, engine.splits()) {
            (_, []) => vec![None],
            (Some(split), _) => vec![Some(split)],
            (None, splits) => splits.iter().copied().map(Some).collect(),
        };
        if let Some(workers) = self.workers {
            let divisions = splits.into_iter();
            return Tuner::among(divisions.map(|split| Division { split, workers }).collect());
        }
        let splits = splits.into_iter().map(|split| {
            if let Some(split) = split {
                engine.set_split(split);
            }
            (split, engine.most_workers())
        });
        Tuner::among(Division::candidates(&splits.collect::<Vec<_>>()))
    }

    /// Returns the optimizer with its engine.
    fn stepper(&self, engine: Box<dyn TrainingEngine<R>>) -> Stepper<'_, R> {
        match self.optimizer.method() {
            Method::Fused(config) => Stepper::Minibatches(Box::new(FusedSteps {
                engine,
                config,
                l2: self.network.l2,
            })),
            Method::Steps(optimizer) => Stepper::Minibatches(Box::new(GradientSteps::new(
                self.network,
                engine,
                optimizer,
            ))),
            Method::LineSearch(config) => Stepper::AllRows(config, engine),
        }
    }

    /// Returns a segment of steps over `order`.
    fn segment<'s>(
        &'s self,
        order: &'s [u32],
        factor: f64,
        division: Division,
        direction_seed: DirectionSeed,
        control: &'s Control,
    ) -> Segment<'s, R> {
        Segment {
            samples: self.samples,
            order,
            batch_size: self.config.batch_size.min(self.rows.len()),
            factor,
            division,
            direction_seed,
            control,
        }
    }

    /// Returns the seed of the random directions of the next step. It depends only on the run's
    /// seed and the step's number, so a resumed run draws the same directions as an uninterrupted
    /// one.
    fn direction_seed(&self, state: &TrainingState<R>) -> DirectionSeed {
        DirectionSeed {
            seed: self.seed,
            step: state.steps,
        }
    }

    /// Trains from `state` on, until the configured end, an early stop or the stop flag. If early
    /// stopping is configured, `state.parameters` are the best ones at the end, unless the run was
    /// interrupted.
    ///
    /// # Errors
    /// [`Error::Input`] if rows, samples and network do not fit together; [`Error::Diverged`] if
    /// the loss or θ becomes infinite or NaN; [`Error::Usage`] if a gradient cannot be computed;
    /// any error of the observer.
    pub fn run(
        &self,
        state: &mut TrainingState<R>,
        observer: &mut dyn Observer<R>,
    ) -> Result<Ending> {
        self.check()?;
        self.agree(Duration::ZERO)?;
        if let Some(ending) = self.evaluate(state, observer)? {
            return Ok(ending);
        }
        let mut engine = self.engine();
        let mut tuner = self.tuner(&mut *engine);
        match self.stepper(engine) {
            Stepper::Minibatches(mut steps) => {
                let mut order = Vec::with_capacity(self.rows.len());
                steps.load(&state.parameters, &state.optimizer_state);
                self.run_epochs(state, |state| {
                    self.epoch(state, &mut *steps, &mut tuner, &mut order, observer)
                })
            }
            Stepper::AllRows(config, mut engine) => self.run_epochs(state, |state| {
                self.iterate(config, state, &mut *engine, &mut tuner, observer)
            }),
        }
    }

    /// Runs epochs until one of them or the config ends the run.
    fn run_epochs(
        &self,
        state: &mut TrainingState<R>,
        mut epoch: impl FnMut(&mut TrainingState<R>) -> Result<Option<Ending>>,
    ) -> Result<Ending> {
        while !self.finished(state) {
            // Checked before the epoch, so that a run that stopped early and is resumed stays
            // stopped.
            let patience = self.config.early_stopping.unwrap_or(usize::MAX);
            if let Some((_, best, _)) = &state.best
                && state.epoch - best >= patience
            {
                self.restore_best(state);
                return Ok(Ending::StoppedEarly);
            }
            if let Some(ending) = epoch(state)? {
                if ending != Ending::Interrupted {
                    self.restore_best(state);
                }
                return Ok(ending);
            }
        }
        self.restore_best(state);
        Ok(Ending::Finished)
    }

    /// Restores the best θ, if early stopping has kept one.
    fn restore_best(&self, state: &mut TrainingState<R>) {
        if let Some((_, _, parameters)) = &state.best {
            state.parameters = parameters.clone();
        }
    }

    /// Returns true if the epochs, steps or seconds of the config are done.
    fn finished(&self, state: &TrainingState<R>) -> bool {
        self.config
            .epochs
            .is_some_and(|epochs| state.epoch >= epochs)
            || self
                .config
                .max_steps
                .is_some_and(|steps| state.steps >= steps)
            || self
                .config
                .max_seconds
                .is_some_and(|seconds| state.seconds() >= seconds)
    }

    /// Ends an epoch whose steps are done. Returns `Interrupted` if the stop flag ends the run here.
    fn close(
        &self,
        state: &mut TrainingState<R>,
        epoch: EpochResult,
        observer: &mut dyn Observer<R>,
    ) -> Result<Option<Ending>> {
        state.unevaluated = Some(EpochRecord {
            epoch: state.epoch + 1,
            steps: state.steps,
            learning_rate: epoch.learning_rate,
            train_loss: epoch.train_loss,
            validation_loss: None,
            validation_accuracy: None,
            validation_r2: None,
            gradient_norm: epoch.gradient_norm,
            seconds: epoch.seconds,
            tally: epoch.tally,
        });
        self.evaluate(state, observer)
    }

    /// Evaluates θ on the validation rows if an epoch waits for that, and records the epoch. Returns
    /// `Interrupted` if the stop flag ends the run here, or even before the evaluation has ended: the
    /// state then keeps the epoch as it is.
    fn evaluate(
        &self,
        state: &mut TrainingState<R>,
        observer: &mut dyn Observer<R>,
    ) -> Result<Option<Ending>> {
        let Some(mut record) = state.unevaluated.take() else {
            return Ok(None);
        };
        if let Some(rows) = self.validation {
            let forward = Forward::new(self.network, &state.parameters, self.isa);
            let (samples, stop) = (self.samples, self.control.interruption());
            let assessment =
                forward.assess_unless_stopped(samples, rows, self.classes, self.pool, stop);
            let Some(assessment) = assessment else {
                state.unevaluated = Some(record);
                return Ok(Some(Ending::Interrupted));
            };
            record.validation_loss = Some(assessment.loss);
            record.validation_accuracy = assessment.class_accuracy();
            record.validation_r2 = assessment.r2();
        }
        state.epoch += 1;
        if self.config.early_stopping.is_some()
            && let Some(loss) = record.validation_loss
            && state.best.as_ref().is_none_or(|(best, _, _)| loss < *best)
        {
            state.best = Some((loss, state.epoch, state.parameters.clone()));
        }
        state.records.push(record.clone());
        observer.epoch(&record, state)?;
        Ok((self.control.is_stopped() && !self.finished(state)).then_some(Ending::Interrupted))
    }

    /// Lets all ranks agree on the time `elapsed`, and whether to stop: the decisions that depend on
    /// time are then the same on all. With one rank, returns `elapsed`.
    ///
    /// # Errors
    /// [`Error::OtherRank`] if another rank has ended with an error.
    fn agree(&self, elapsed: Duration) -> Result<Duration> {
        self.pool.ranks().agree(elapsed)
    }

    /// Returns the error for a loss that is not finite.
    fn diverged(&self, state: &TrainingState<R>) -> Error {
        Error::Diverged(format!(
            "training diverged in epoch {}, step {}: the loss is not finite\n  help: lower optimizer.learning_rate (it is {})",
            state.epoch + 1,
            state.steps,
            self.optimizer.learning_rate().unwrap_or(1.0),
        ))
    }
}

/// Converts a gradient's refusal to an error: the configured method cannot compute it at this θ.
fn refused(stopped: Stopped) -> Error {
    Error::Usage(stopped.to_string())
}
