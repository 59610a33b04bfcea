//! The epoch loop: emits events, knows no files and no terminal.
//!
//! An epoch's order of rows depends on the seed and the epoch's number alone, so a run can stop
//! after any step and go on from there with the same bits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use ndarray_rand::rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::data::{Batch, Samples};
use crate::error::{Error, Result};
use crate::gradient::{Control, Engine, GradientConfig, Stopped};
use crate::model::{Forward, Network, Parameters};
use crate::numeric::random::{Purpose, epoch_stream};
use crate::numeric::tally::Tally;
use crate::numeric::update::Rule;
use crate::numeric::{Isa, Real};
use crate::optimizer::OptimizerConfig;
use crate::parallel::{Pace, Team};

/// `[train]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// Stop after so many epochs.
    pub epochs: Option<usize>,
    /// Stop after so many steps.
    pub max_steps: Option<u64>,
    /// Stop after so many seconds of training.
    pub max_seconds: Option<f64>,
    /// Rows of a mini-batch.
    pub batch_size: usize,
    /// Stop after so many epochs without a better validation loss, and restore the best weights.
    pub early_stopping: Option<usize>,
}

/// One epoch, as a line of the metrics tells it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: usize,
    /// Steps since the start of the run.
    pub steps: u64,
    /// The learning rate of the epoch.
    pub learning_rate: f64,
    /// Mean of the samples' losses, each before its step; l2 left out.
    pub train_loss: f64,
    /// Mean loss of the validation rows after the epoch.
    pub validation_loss: Option<f64>,
    /// Fraction of validation rows whose class was predicted.
    pub validation_accuracy: Option<f64>,
    /// ‖∂L/∂θ‖₂ of the epoch's last mini-batch.
    pub gradient_norm: f64,
    /// Shuffle and steps only: the only time field.
    pub seconds: f64,
    /// Operations performed in the epoch.
    pub tally: Tally,
}

/// Where the loop stands, between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct State<R> {
    /// θ.
    pub parameters: Parameters<R>,
    /// Momentum's velocity.
    pub velocity: Option<Parameters<R>>,
    /// Epochs done.
    pub epoch: usize,
    /// Steps done since the start of the run.
    pub steps: u64,
    /// The epoch in progress.
    pub partial: Partial,
    /// The best validation loss, its epoch and its θ.
    pub best: Option<(f64, usize, Parameters<R>)>,
    /// One record an epoch done.
    pub records: Vec<EpochRecord>,
}

/// Sums over the epoch in progress.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// Rows done.
    pub rows: usize,
    /// Sum of their losses.
    pub loss: f64,
    /// Seconds of shuffle and steps.
    pub seconds: f64,
}

impl<R: Real> State<R> {
    /// The start.
    pub fn new(parameters: Parameters<R>) -> Self {
        Self {
            parameters,
            velocity: None,
            epoch: 0,
            steps: 0,
            partial: Partial::default(),
            best: None,
            records: Vec::new(),
        }
    }

    /// Seconds of shuffle and steps so far.
    pub fn seconds(&self) -> f64 {
        let done: f64 = self.records.iter().map(|record| record.seconds).sum();
        done + self.partial.seconds
    }
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs, steps or seconds that were asked for.
    Finished,
    /// No better validation loss for too long.
    StoppedEarly,
    /// The stop flag was raised.
    Interrupted,
}

/// What watches a run.
pub trait Observer<R> {
    /// A few milliseconds of steps are done: epoch in progress (from 1), its rows done, all its
    /// rows.
    fn progress(&mut self, epoch: usize, rows: usize, of: usize);
    /// Whether [`Observer::state`] is to be called now, in the middle of an epoch: asked every few
    /// milliseconds of steps, so it has to be cheap.
    fn wants_state(&self) -> bool;
    /// Where the run stands, between two steps in the middle of an epoch: it can go on from there
    /// with the same bits.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn state(&mut self, state: &State<R>) -> Result<()>;
    /// An epoch is done.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn epoch(&mut self, record: &EpochRecord, state: &State<R>) -> Result<()>;
}

/// An observer that looks away.
pub struct Nobody;

impl<R> Observer<R> for Nobody {
    fn progress(&mut self, _: usize, _: usize, _: usize) {}
    fn wants_state(&self) -> bool {
        false
    }
    fn state(&mut self, _: &State<R>) -> Result<()> {
        Ok(())
    }
    fn epoch(&mut self, _: &EpochRecord, _: &State<R>) -> Result<()> {
        Ok(())
    }
}

/// Everything a run needs.
pub struct Training<'a, R> {
    /// Topology and loss.
    pub network: &'a Network,
    /// The rows' dataset.
    pub samples: &'a Samples<R>,
    /// Training rows.
    pub rows: &'a [u32],
    /// Validation rows, of the same dataset.
    pub validation: Option<&'a [u32]>,
    /// Number of classes.
    pub classes: usize,
    /// How a gradient is computed.
    pub gradient: &'a GradientConfig,
    /// Which update.
    pub optimizer: &'a OptimizerConfig,
    /// How long.
    pub config: &'a TrainConfig,
    /// Of the order of rows.
    pub seed: u64,
    /// The threads.
    pub team: &'a Arc<Team>,
    /// The kernels.
    pub isa: Isa,
    /// Force so many workers; `None`: as many as pay.
    pub workers: Option<usize>,
    /// Raised to stop in the middle of a gradient; counts evaluations.
    pub control: &'a Control,
}

impl<R: Real> Training<'_, R> {
    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.rows.len().div_ceil(self.config.batch_size) as u64
    }

    /// Epochs of the whole run, a fraction where steps bound it.
    pub fn epochs(&self) -> f64 {
        let steps = self
            .config
            .max_steps
            .map(|steps| steps as f64 / self.steps_per_epoch() as f64);
        let epochs = self.config.epochs.map(|epochs| epochs as f64);
        steps.or(epochs).unwrap_or(f64::INFINITY)
    }

    /// Seconds that a step will take from θ = `parameters` on, measured for about `budget`: the
    /// gradient of the first mini-batch, broken off where it takes longer, and the rest of its
    /// evaluations taken to be as fast; steps at a rate of 0 where many fit in.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no such gradient: an increment is lost in θ.
    pub fn seconds_a_step(&self, parameters: &Parameters<R>, budget: Duration) -> Result<f64> {
        let rows = &self.rows[..self.config.batch_size.min(self.rows.len())];
        let method = self.gradient;
        let mut engine = method.engine(self.network, self.team, self.isa, self.samples, rows.len());
        let batch = Batch {
            samples: self.samples,
            rows,
        };
        let evaluations = engine.tally(self.samples, rows).evaluations;
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let mut least = f64::INFINITY;
        let mut budget = budget;
        let begin = Instant::now();
        loop {
            let stop = Arc::new(AtomicBool::new(false));
            let control = Control::new(&stop);
            let start = Instant::now();
            let outcome = std::thread::scope(|scope| {
                let (done, waiting) = std::sync::mpsc::channel::<()>();
                scope.spawn(move || {
                    if waiting.recv_timeout(budget) == Err(RecvTimeoutError::Timeout) {
                        stop.store(true, Ordering::Relaxed);
                    }
                });
                let outcome = engine.gradient(parameters, batch, &mut gradient, &control);
                drop(done);
                outcome
            });
            let taken = start.elapsed().as_secs_f64();
            match outcome {
                Ok(_) if taken < budget.as_secs_f64() / 30.0 => {
                    return self.seconds_of_steps(&mut *engine, parameters, budget);
                }
                Ok(_) => least = least.min(taken),
                Err(Stopped::Interrupted) if least.is_finite() => {}
                Err(Stopped::Interrupted) if control.evaluations() > 0 => {
                    least = taken * evaluations as f64 / control.evaluations() as f64;
                }
                // Not one evaluation is done: more time.
                Err(Stopped::Interrupted) => budget *= 2,
                Err(lost) => return Err(refused(lost)),
            }
            if least.is_finite() && begin.elapsed() >= budget {
                return Ok(least);
            }
        }
    }

    /// Seconds of a step in a run of steps that leave θ = `parameters` where it is.
    fn seconds_of_steps(
        &self,
        engine: &mut dyn Engine<R>,
        parameters: &Parameters<R>,
        budget: Duration,
    ) -> Result<f64> {
        let batch = self.config.batch_size.min(self.rows.len());
        let still = Rule {
            rate: R::ZERO,
            l2: R::from_f64(self.network.l2),
            decay: R::ZERO,
            momentum: R::ZERO,
        };
        let control = Control::default();
        let workers = engine.most_workers();
        engine.load(parameters);
        let (mut steps, mut least) = (1, f64::INFINITY);
        let begin = Instant::now();
        while begin.elapsed() < budget {
            let order = &self.rows[..(steps * batch).min(self.rows.len())];
            let start = Instant::now();
            engine
                .descend(
                    self.samples,
                    order,
                    batch,
                    still,
                    workers,
                    &mut 0.0,
                    &control,
                )
                .map_err(refused)?;
            let taken = start.elapsed().as_secs_f64();
            least = least.min(taken / order.len().div_ceil(batch) as f64);
            if taken < budget.as_secs_f64() / 10.0 && order.len() < self.rows.len() {
                steps *= 2;
            }
        }
        Ok(least)
    }

    /// Trains from `state` on, until the config's end, an early stop or the stop flag. After an
    /// end with early stopping, `state.parameters` are the best ones.
    ///
    /// # Errors
    /// [`Error::Diverged`] where the loss leaves the finite numbers, and the observer's.
    pub fn run(&self, state: &mut State<R>, observer: &mut dyn Observer<R>) -> Result<Ending> {
        let batch_size = self.config.batch_size.min(self.rows.len());
        let engine = self.gradient;
        let mut engine = engine.engine(self.network, self.team, self.isa, self.samples, batch_size);
        let mut pace = match self.workers {
            Some(workers) => Pace::exactly(workers),
            None => Pace::up_to(engine.most_workers()),
        };
        let mut order = Vec::with_capacity(self.rows.len());
        engine.load(&state.parameters);
        if let Some(velocity) = &state.velocity {
            engine.load_velocity(velocity);
        }
        while !self.finished(state) {
            // Before the epoch, so that a run that stopped early and is resumed stays stopped.
            let patience = self.config.early_stopping.unwrap_or(usize::MAX);
            if let Some((_, epoch, _)) = &state.best
                && state.epoch - epoch >= patience
            {
                self.restore_best(state);
                return Ok(Ending::StoppedEarly);
            }
            let ending = self.epoch(state, &mut *engine, &mut pace, &mut order, observer)?;
            if let Some(ending) = ending {
                return Ok(ending);
            }
        }
        self.restore_best(state);
        Ok(Ending::Finished)
    }

    fn restore_best(&self, state: &mut State<R>) {
        if let Some((_, _, parameters)) = &state.best {
            state.parameters = parameters.clone();
        }
    }

    fn finished(&self, state: &State<R>) -> bool {
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

    /// One epoch, or what is left of it.
    fn epoch(
        &self,
        state: &mut State<R>,
        engine: &mut dyn Engine<R>,
        pace: &mut Pace,
        order: &mut Vec<u32>,
        observer: &mut dyn Observer<R>,
    ) -> Result<Option<Ending>> {
        let batch = self.config.batch_size.min(self.rows.len());
        let rule = self
            .optimizer
            .rule(self.network.l2, state.epoch, self.epochs());
        let start = Instant::now();
        order.clear();
        order.extend_from_slice(self.rows);
        order.shuffle(&mut epoch_stream(self.seed, Purpose::Shuffle, state.epoch));
        state.partial.seconds += start.elapsed().as_secs_f64();

        let mut end = self.rows.len();
        if let Some(steps) = self.config.max_steps {
            let left = usize::try_from(steps - state.steps).unwrap_or(usize::MAX);
            end = end.min(
                state
                    .partial
                    .rows
                    .saturating_add(left.saturating_mul(batch)),
            );
        }
        let last = end - 1 - (end - 1) % batch;
        let mut gradient_norm = None;
        while state.partial.rows < end {
            let done = state.partial.rows;
            if done == last && gradient_norm.is_none() {
                gradient_norm = self.gradient_norm(engine, state, &order[last..end])?;
            }
            let (workers, steps) = pace.plan();
            let until = if done < last { last } else { end };
            let rows = (steps * batch).min(until - done);
            let start = Instant::now();
            let loss = &mut state.partial.loss;
            let order = &order[done..done + rows];
            let control = self.control;
            let rows = engine
                .descend(self.samples, order, batch, rule, workers, loss, control)
                .map_err(refused)?;
            let steps = rows.div_ceil(batch);
            let taken = start.elapsed();
            if steps > 0 {
                pace.record(steps, taken);
            }
            state.partial.seconds += taken.as_secs_f64();
            state.partial.rows += rows;
            state.steps += steps as u64;
            if !state.partial.loss.is_finite() {
                return Err(self.diverged(state));
            }
            observer.progress(state.epoch + 1, state.partial.rows, self.rows.len());
            let late = self
                .config
                .max_seconds
                .is_some_and(|most| state.seconds() >= most);
            if state.partial.rows < end && (late || self.control.is_stopped()) {
                self.pull(engine, state);
                if self.control.is_stopped() {
                    return Ok(Some(Ending::Interrupted));
                }
                end = state.partial.rows;
            } else if state.partial.rows < end && observer.wants_state() {
                self.pull(engine, state);
                observer.state(state)?;
            }
        }
        self.pull(engine, state);
        if let Some(index) = state.parameters.flat().iter().position(|x| !x.is_finite()) {
            let name = self.network.layout.name(index);
            return Err(Error::Diverged(format!(
                "{} ({name} is not finite)",
                self.diverged(state)
            )));
        }
        let assessed = self.validation.map(|rows| {
            Forward::new(self.network, &state.parameters, self.isa).assess(
                self.samples,
                rows,
                self.classes,
                self.team,
            )
        });
        let rows = std::mem::take(&mut state.partial);
        let mut tally = Tally::default();
        for rows in order[..end].chunks(batch) {
            tally += engine.tally(self.samples, rows);
        }
        state.epoch += 1;
        let record = EpochRecord {
            epoch: state.epoch,
            steps: state.steps,
            learning_rate: rule.rate.to_f64(),
            train_loss: rows.loss / rows.rows as f64,
            validation_loss: assessed.as_ref().map(|assessed| assessed.loss),
            validation_accuracy: assessed.as_ref().map(|assessed| assessed.accuracy),
            gradient_norm: gradient_norm.unwrap_or(0.0),
            seconds: rows.seconds,
            tally,
        };
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

    /// Takes θ and the velocity out of the engine.
    fn pull(&self, engine: &mut dyn Engine<R>, state: &mut State<R>) {
        engine.store(&mut state.parameters);
        if self.optimizer.momentum != 0.0 {
            let layout = Arc::clone(&self.network.layout);
            let mut velocity = state
                .velocity
                .take()
                .unwrap_or_else(|| Parameters::zeros(layout));
            if engine.store_velocity(&mut velocity) {
                state.velocity = Some(velocity);
            }
        }
    }

    /// Outside the timed part; `None` if it was interrupted.
    fn gradient_norm(
        &self,
        engine: &mut dyn Engine<R>,
        state: &mut State<R>,
        rows: &[u32],
    ) -> Result<Option<f64>> {
        self.pull(engine, state);
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let batch = Batch {
            samples: self.samples,
            rows,
        };
        // Its evaluations are not the run's: a control of its own counts them.
        let control = self.control.uncounted();
        match engine.gradient(&state.parameters, batch, &mut gradient, &control) {
            Ok(_) => {}
            Err(Stopped::Interrupted) => return Ok(None),
            Err(lost) => return Err(refused(lost)),
        }
        let squares = gradient.flat().iter().map(|g| g.to_f64().powi(2));
        Ok(Some(squares.sum::<f64>().sqrt()))
    }

    fn diverged(&self, state: &State<R>) -> Error {
        Error::Diverged(format!(
            "training diverged in epoch {}, step {}: the loss is not finite\n  help: lower optimizer.learning_rate (it is {})",
            state.epoch + 1,
            state.steps,
            self.optimizer.learning_rate,
        ))
    }
}

/// A gradient that cannot be: the config asks for the impossible at this θ.
fn refused(stopped: Stopped) -> Error {
    Error::Usage(stopped.to_string())
}
