//! The epoch loop: emits events, knows no files and no terminal.
//!
//! An epoch's order of rows depends on the seed and the epoch's number alone, so a run can stop
//! after any step and go on from there with the same bits. Which update a step makes is parted off:
//! `steps.rs` over mini-batches, `iterations.rs` over the whole training set. So is what the loop leaves
//! (`state.rs`), whom it tells (`observer.rs`), and how long it will take (`prediction.rs`).

mod lbfgs_loop;
mod minibatch_steps;
mod observer;
mod state;
mod time_estimate;

pub use observer::{NoObserver, Observer};
pub use state::{EpochRecord, EpochSums, TrainingState};

use std::sync::Arc;
use std::time::Instant;

use ndarray_rand::rand::seq::SliceRandom;

use crate::data::{Batch, Samples};
use crate::error::{Error, Result};
use crate::gradient::random_direction::DirectionSeed;
use crate::gradient::{Control, GradientConfig, Stopped, TrainingEngine};
use crate::kernels::Isa;
use crate::model::{Forward, Network, Parameters};
use crate::numeric::Real;
use crate::numeric::random::{Purpose, epoch_stream};
use crate::numeric::tally::Tally;
use crate::optimizer::OptimizerConfig;
use crate::parallel::{Tuner, Workers};
use lbfgs_loop::norm;
use minibatch_steps::{Adam, Segment, Sgd, Steps};

/// `[train]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainConfig {
    /// Stop after so many epochs.
    pub epochs: Option<usize>,
    /// Stop after so many steps.
    pub max_steps: Option<u64>,
    /// Stop after so many seconds of training.
    pub max_seconds: Option<f64>,
    /// Rows of a mini-batch; [`TrainConfig::ALL_ROWS`] with L-BFGS.
    pub batch_size: usize,
    /// Stop after so many epochs without a better validation loss, and restore the best weights.
    pub early_stopping: Option<usize>,
}

impl TrainConfig {
    /// A batch of every training row, however many there are.
    pub const ALL_ROWS: usize = usize::MAX;
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All epochs, steps or seconds that were asked for.
    Finished,
    /// No better validation loss for too long.
    StoppedEarly,
    /// L-BFGS: the gradient is within `optimizer.tolerance`.
    Converged,
    /// L-BFGS: the line search finds no lower loss, along its direction or the gradient's.
    Stuck,
    /// The stop flag was raised.
    Interrupted,
}

/// What an epoch came to, before its weights are assessed.
struct EpochResult {
    learning_rate: f64,
    train_loss: f64,
    gradient_norm: f64,
    seconds: f64,
    tally: Tally,
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
    /// Of the order of rows, and of random directions.
    pub seed: u64,
    /// The threads.
    pub team: &'a Arc<Workers>,
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

    /// The operations of all steps up to `state`, as `engine`, one of this method, counts them.
    pub fn tally(&self, state: &TrainingState<R>, engine: &dyn TrainingEngine<R>) -> Tally {
        let mut tally = Tally::default();
        for record in &state.records {
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

    /// The order of rows in the epoch after `done` others.
    fn shuffle(&self, done: usize, order: &mut Vec<u32>) {
        order.clear();
        order.extend_from_slice(self.rows);
        order.shuffle(&mut epoch_stream(self.seed, Purpose::Shuffle, done));
    }

    /// A new engine of this method, for mini-batches of the config's size.
    pub fn engine(&self) -> Box<dyn TrainingEngine<R>> {
        let capacity = self.config.batch_size.min(self.rows.len());
        let (network, team, samples) = (self.network, self.team, self.samples);
        self.gradient
            .engine(network, team, self.isa, samples, capacity)
    }

    /// The optimizer's steps over mini-batches; the engine back, where it makes none.
    fn steps(
        &self,
        engine: Box<dyn TrainingEngine<R>>,
    ) -> std::result::Result<Box<dyn Steps<R>>, Box<dyn TrainingEngine<R>>> {
        match *self.optimizer {
            OptimizerConfig::Sgd(config) => Ok(Box::new(Sgd {
                engine,
                config,
                l2: self.network.l2,
            })),
            OptimizerConfig::Adam(config) => Ok(Box::new(Adam::new(self.network, engine, config))),
            OptimizerConfig::Lbfgs(_) => Err(engine),
        }
    }

    fn segment<'s>(
        &'s self,
        order: &'s [u32],
        factor: f64,
        workers: usize,
        draw: DirectionSeed,
        control: &'s Control,
    ) -> Segment<'s, R> {
        Segment {
            samples: self.samples,
            order,
            batch_size: self.config.batch_size.min(self.rows.len()),
            factor,
            workers,
            draw,
            control,
        }
    }

    /// The random directions of the next step, which depend on its number alone: a run that is
    /// resumed draws on as if it had never stopped.
    fn draw(&self, state: &TrainingState<R>) -> DirectionSeed {
        DirectionSeed {
            seed: self.seed,
            step: state.steps,
        }
    }

    /// Trains from `state` on, until the config's end, an early stop or the stop flag. After an
    /// end with early stopping, `state.parameters` are the best ones.
    ///
    /// # Errors
    /// [`Error::Diverged`] where the loss leaves the finite numbers, and the observer's.
    pub fn run(
        &self,
        state: &mut TrainingState<R>,
        observer: &mut dyn Observer<R>,
    ) -> Result<Ending> {
        let engine = self.engine();
        let mut pace = match self.workers {
            Some(workers) => Tuner::exactly(workers),
            None => Tuner::up_to(engine.most_workers().min(self.team.carriers())),
        };
        match (self.optimizer, self.steps(engine)) {
            (_, Ok(mut steps)) => {
                let mut order = Vec::with_capacity(self.rows.len());
                steps.load(&state.parameters, &state.memory);
                self.run_epochs(state, |state| {
                    self.epoch(state, &mut *steps, &mut pace, &mut order, observer)
                })
            }
            (OptimizerConfig::Lbfgs(config), Err(mut engine)) => self.run_epochs(state, |state| {
                self.iterate(config, state, &mut *engine, &mut pace, observer)
            }),
            (_, Err(_)) => unreachable!("every other optimizer steps over mini-batches"),
        }
    }

    /// Epoch after epoch, until one of them or the config ends the run.
    fn run_epochs(
        &self,
        state: &mut TrainingState<R>,
        mut epoch: impl FnMut(&mut TrainingState<R>) -> Result<Option<Ending>>,
    ) -> Result<Ending> {
        while !self.finished(state) {
            // Before the epoch, so that a run that stopped early and is resumed stays stopped.
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

    fn restore_best(&self, state: &mut TrainingState<R>) {
        if let Some((_, _, parameters)) = &state.best {
            state.parameters = parameters.clone();
        }
    }

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

    /// One epoch, or what is left of it.
    fn epoch(
        &self,
        state: &mut TrainingState<R>,
        steps: &mut dyn Steps<R>,
        pace: &mut Tuner,
        order: &mut Vec<u32>,
        observer: &mut dyn Observer<R>,
    ) -> Result<Option<Ending>> {
        let batch = self.config.batch_size.min(self.rows.len());
        let factor = match self.optimizer.schedule() {
            Some(schedule) => schedule.factor(state.epoch, self.epochs()),
            None => 1.0,
        };
        let start = Instant::now();
        self.shuffle(state.epoch, order);
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
                gradient_norm = self.gradient_norm(steps, state, &order[last..end])?;
            }
            let (workers, planned) = pace.plan();
            let until = if done < last { last } else { end };
            let rows = (planned * batch).min(until - done);
            let start = Instant::now();
            let order = &order[done..done + rows];
            let segment = self.segment(order, factor, workers, self.draw(state), self.control);
            let loss = &mut state.partial.loss;
            let rows = steps.advance(segment, loss).map_err(refused)?;
            let made = rows.div_ceil(batch);
            let taken = start.elapsed();
            if made > 0 {
                pace.record(made, taken);
            }
            state.partial.seconds += taken.as_secs_f64();
            state.partial.rows += rows;
            state.steps += made as u64;
            if !state.partial.loss.is_finite() {
                return Err(self.diverged(state));
            }
            observer.progress(state.epoch + 1, state.partial.rows, self.rows.len());
            let late = self
                .config
                .max_seconds
                .is_some_and(|most| state.seconds() >= most);
            if state.partial.rows < end && (late || self.control.is_stopped()) {
                steps.store(&mut state.parameters, &mut state.memory);
                if self.control.is_stopped() {
                    return Ok(Some(Ending::Interrupted));
                }
                end = state.partial.rows;
            } else if state.partial.rows < end && observer.wants_state() {
                steps.store(&mut state.parameters, &mut state.memory);
                observer.state(state)?;
            }
        }
        steps.store(&mut state.parameters, &mut state.memory);
        if let Some(index) = state.parameters.flat().iter().position(|x| !x.is_finite()) {
            let name = self.network.layout.name(index);
            return Err(Error::Diverged(format!(
                "{} ({name} is not finite)",
                self.diverged(state)
            )));
        }
        let done = std::mem::take(&mut state.partial);
        let mut tally = Tally::default();
        for rows in order[..end].chunks(batch) {
            tally += steps.engine().tally(self.samples, rows);
        }
        let rate = self.optimizer.learning_rate().unwrap_or(1.0) * factor;
        let epoch = EpochResult {
            learning_rate: R::from_f64(rate).to_f64(),
            train_loss: done.loss / done.rows as f64,
            gradient_norm: gradient_norm.unwrap_or(0.0),
            seconds: done.seconds,
            tally,
        };
        self.close(state, epoch, observer)
    }

    /// Assesses θ on the validation rows, and records the epoch.
    fn close(
        &self,
        state: &mut TrainingState<R>,
        epoch: EpochResult,
        observer: &mut dyn Observer<R>,
    ) -> Result<Option<Ending>> {
        let assessed = self.validation.map(|rows| {
            Forward::new(self.network, &state.parameters, self.isa).assess(
                self.samples,
                rows,
                self.classes,
                self.team,
            )
        });
        state.epoch += 1;
        let record = EpochRecord {
            epoch: state.epoch,
            steps: state.steps,
            learning_rate: epoch.learning_rate,
            train_loss: epoch.train_loss,
            validation_loss: assessed.as_ref().map(|assessed| assessed.loss),
            validation_accuracy: assessed.as_ref().map(|assessed| assessed.accuracy),
            gradient_norm: epoch.gradient_norm,
            seconds: epoch.seconds,
            tally: epoch.tally,
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

    /// Outside the timed part; `None` if it was interrupted.
    fn gradient_norm(
        &self,
        steps: &mut dyn Steps<R>,
        state: &mut TrainingState<R>,
        rows: &[u32],
    ) -> Result<Option<f64>> {
        steps.store(&mut state.parameters, &mut state.memory);
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let batch = Batch {
            samples: self.samples,
            rows,
        };
        // Its evaluations are not the run's: a control of its own counts them.
        let control = self.control.uncounted();
        let engine = steps.engine();
        engine.set_draw(self.draw(state));
        match engine.gradient(&state.parameters, batch, &mut gradient, &control) {
            Ok(_) => {}
            Err(Stopped::Interrupted) => return Ok(None),
            Err(lost) => return Err(refused(lost)),
        }
        Ok(Some(norm(&gradient)))
    }

    fn diverged(&self, state: &TrainingState<R>) -> Error {
        Error::Diverged(format!(
            "training diverged in epoch {}, step {}: the loss is not finite\n  help: lower optimizer.learning_rate (it is {})",
            state.epoch + 1,
            state.steps,
            self.optimizer.learning_rate().unwrap_or(1.0),
        ))
    }
}

/// A gradient that cannot be: the config asks for the impossible at this θ.
fn refused(stopped: Stopped) -> Error {
    Error::Usage(stopped.to_string())
}
