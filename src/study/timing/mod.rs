//! Times gradients as training computes them: as steps at a learning rate of 0, so that θ remains
//! in the engine's layout and does not change.
//!
//! Each sample of a gradient is paired with a sample of a single evaluation, so that their ratio is
//! meaningful even if the machine's speed drifts. An evaluation is a forward pass over inputs that
//! were read and scaled before, as each pass of a whole difference is. A gradient that takes longer than the limit is
//! interrupted, and its time is extrapolated from the completed evaluations; the completed share is
//! reported with the time.

pub(super) mod clocks;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::clocks::TimingSample;
use self::clocks::{EvaluationClock, Start};
use crate::data::{Batch, Samples};
use crate::error::{Error, Result};
use crate::gradient::finite_difference::LossEvaluator;
use crate::gradient::{Control, GradientConfig, Stopped, TrainingEngine};
use crate::kernels::Isa;
use crate::kernels::update::Rule;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::optimizer::{OptimizerConfig, Schedule, SgdConfig};
use crate::parallel::{Split, Workers};
use crate::train::{TrainConfig, Training};

/// Largest number of gradients in one sample.
const MOST_GRADIENTS: usize = 10_000;
/// Approximate duration of the measurement for a prediction.
const PREDICTION: Duration = Duration::from_millis(60);

/// The problem, threads and limits of a timing.
pub struct TimingBench<'a, R> {
    /// Topology and loss.
    pub network: &'a Network,
    /// θ.
    pub theta: &'a Parameters<R>,
    /// The dataset of the rows.
    pub samples: &'a Samples<R>,
    /// The mini-batch.
    pub rows: &'a [u32],
    /// The worker threads.
    pub workers: &'a Arc<Workers>,
    /// The instruction set of the kernels.
    pub isa: Isa,
    /// Stops the measurement.
    pub control: &'a Control,
    /// Number of samples per gradient.
    pub repeats: usize,
    /// Time limit of the measurement of one gradient.
    pub limit: Duration,
    /// What the workers of backprop divide; `None`: whichever is faster.
    pub split: Option<Split>,
}

/// The measured times of one gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// Seconds per gradient of each sample.
    pub samples: Vec<f64>,
    /// Seconds of an evaluation on one worker, measured with each sample.
    pub evaluations: Vec<f64>,
    /// Number of gradients per sample.
    pub gradients: usize,
    /// Completed share of one gradient: 1, or less if it was interrupted at the limit.
    pub share: f64,
    /// Losses and directional derivatives that one gradient counted; 0 if its passes do not count
    /// themselves.
    pub counted: u64,
}

/// A warmed-up engine, with the settings of its samples.
pub struct WarmEngine<R> {
    engine: Box<dyn TrainingEngine<R>>,
    /// Number of gradients per sample.
    pub gradients: usize,
    /// The rows of a sample's mini-batches, concatenated.
    order: Vec<u32>,
    /// The sample of the first gradient, with cold caches.
    first: TimingSample,
    /// Passes that the last time-limited gradient counted.
    counted: u64,
    /// Passes of a complete gradient.
    planned: u64,
    /// Whether the limit allows at most one gradient.
    slow: bool,
}

impl<R> WarmEngine<R> {
    /// Returns the sample of the first gradient, with cold caches: complete, or the share that the
    /// limit allowed.
    pub fn first(&self) -> TimingSample {
        self.first
    }
}

/// The reason for a missing timing.
pub enum NotMeasured {
    /// The control requested a stop.
    Interrupted,
    /// The limit passed before a single evaluation was complete.
    TooSlow,
}

/// A measurement; an error if an increment is lost in θ.
type Measured<T> = std::result::Result<std::result::Result<T, NotMeasured>, Stopped>;

impl<R: Real> TimingBench<'_, R> {
    /// Returns the operations of `method` for this mini-batch.
    pub fn tally(&self, method: &GradientConfig) -> Tally {
        self.engine(method).tally(self.samples, self.rows)
    }

    /// Predicts the seconds of a gradient by `method` from a short measurement.
    ///
    /// # Errors
    /// Returns an error if an increment is lost in θ.
    pub fn predict(&self, method: &GradientConfig) -> Result<f64> {
        let optimizer = OptimizerConfig::Sgd(SgdConfig {
            learning_rate: 0.0,
            momentum: 0.0,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
        });
        let config = TrainConfig {
            epochs: Some(1),
            max_steps: None,
            max_seconds: None,
            batch_size: self.rows.len(),
            early_stopping: None,
        };
        let rows = self.rows.repeat(64);
        let training = Training {
            network: self.network,
            samples: self.samples,
            rows: &rows,
            validation: None,
            classes: 0,
            gradient: method,
            optimizer: &optimizer,
            config: &config,
            seed: 0,
            pool: self.workers,
            isa: self.isa,
            workers: None,
            split: None,
            control: self.control,
        };
        self.workers
            .install(|| training.measure_seconds_per_step(self.theta, PREDICTION))
    }

    /// Measures the seconds of one evaluation, `repeats` times.
    pub fn evaluation(&self) -> std::result::Result<Timing, NotMeasured> {
        self.workers.install(|| {
            let mut clock = self.clock();
            let mut samples = Vec::new();
            for _ in 0..self.repeats {
                if self.control.is_stopped() {
                    return Err(NotMeasured::Interrupted);
                }
                samples.push(clock.sample());
            }
            Ok(Timing {
                evaluations: samples.clone(),
                samples,
                gradients: clock.passes(),
                share: 1.0,
                counted: 1,
            })
        })
    }

    /// Measures the seconds of a gradient by `method`.
    ///
    /// # Errors
    /// Returns an error if an increment is lost in θ.
    pub fn gradient(
        &self,
        method: &GradientConfig,
    ) -> Result<std::result::Result<Timing, NotMeasured>> {
        self.workers
            .install(|| self.measure(method))
            .map_err(|error| Error::Usage(error.to_string()))
    }

    fn measure(&self, method: &GradientConfig) -> Measured<Timing> {
        let mut clock = self.clock();
        let start = Instant::now();
        let mut warm = match self.warm_up(method)? {
            Ok(warm) => warm,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut timing = Timing {
            samples: Vec::new(),
            evaluations: Vec::new(),
            gradients: warm.gradients,
            share: warm.first.share,
            counted: warm.counted,
        };
        if warm.slow {
            timing.samples.push(warm.first.seconds);
            timing.evaluations.push(clock.sample());
            return Ok(Ok(timing));
        }
        while timing.samples.len() < self.repeats {
            let evaluation = clock.sample();
            match self.lap(&mut warm)? {
                Ok(lap) => timing.samples.push(lap.seconds),
                Err(reason) => return Ok(Err(reason)),
            }
            timing.evaluations.push(evaluation);
            if start.elapsed() > self.limit {
                break;
            }
        }
        Ok(Ok(timing))
    }

    /// Creates an engine for `method` and computes a gradient with it, or the share that the limit
    /// allows.
    ///
    /// # Errors
    /// Returns an error if an increment is lost in θ.
    pub fn warm_engine(
        &self,
        method: &GradientConfig,
    ) -> Result<std::result::Result<WarmEngine<R>, NotMeasured>> {
        self.workers
            .install(|| self.warm_up(method))
            .map_err(|error| Error::Usage(error.to_string()))
    }

    fn warm_up(&self, method: &GradientConfig) -> Measured<WarmEngine<R>> {
        let mut engine = self.engine(method);
        engine.load(self.theta);
        if let Some(split) = self.split {
            engine.set_split(split);
        }
        let mut warm = WarmEngine {
            planned: engine.tally(self.samples, self.rows).passes(),
            engine,
            gradients: 1,
            order: self.rows.to_vec(),
            first: TimingSample::default(),
            counted: 0,
            slow: true,
        };
        warm.first = match self.limited(&mut warm)? {
            Ok(lap) => lap,
            Err(reason) => return Ok(Err(reason)),
        };
        warm.slow = warm.first.share < 1.0 || 2.0 * warm.first.seconds > self.limit.as_secs_f64();
        if !warm.slow {
            // The engine is warm now: determine the number of gradients per sample.
            let once = match self.lap(&mut warm)? {
                Ok(lap) => lap.seconds,
                Err(reason) => return Ok(Err(reason)),
            };
            warm.gradients = clocks::repetitions(once, MOST_GRADIENTS);
            warm.order = self.rows.repeat(warm.gradients);
            if self.split.is_none() && self.workers.threads() > 1 {
                return self.with_fastest_split(warm);
            }
        }
        Ok(Ok(warm))
    }

    /// Sets the split of the engine that is faster, if it has a choice.
    fn with_fastest_split(&self, mut warm: WarmEngine<R>) -> Measured<WarmEngine<R>> {
        let mut fastest: Option<(Split, f64)> = None;
        for &split in warm.engine.splits() {
            warm.engine.set_split(split);
            let mut seconds = f64::INFINITY;
            // The first lap moves θ to the caches of those who now own it.
            for _ in 0..2 {
                match self.lap(&mut warm)? {
                    Ok(lap) => seconds = lap.seconds,
                    Err(reason) => return Ok(Err(reason)),
                }
            }
            if fastest.is_none_or(|(_, least)| seconds < least) {
                fastest = Some((split, seconds));
            }
        }
        if let Some((split, _)) = fastest {
            warm.engine.set_split(split);
        }
        Ok(Ok(warm))
    }

    /// Takes one more sample.
    ///
    /// # Errors
    /// Returns an error if an increment is lost in θ.
    pub fn sample(
        &self,
        warm: &mut WarmEngine<R>,
    ) -> Result<std::result::Result<TimingSample, NotMeasured>> {
        self.workers
            .install(|| {
                if warm.slow {
                    self.limited(warm)
                } else {
                    self.lap(warm)
                }
            })
            .map_err(|error| Error::Usage(error.to_string()))
    }

    /// Makes one step of descent at `rate` from the bench's θ and returns the SHA-256 of the new θ,
    /// as `weights_sha256`; then resets the engine to the bench's θ.
    ///
    /// # Errors
    /// Returns an error if an increment is lost in θ.
    pub fn weights_after_a_step(&self, warm: &mut WarmEngine<R>, rate: f64) -> Result<String> {
        let rule = Rule {
            rate: R::from_f64(rate),
            ..Rule::gradient_only(R::from_f64(self.network.l2))
        };
        let mut theta = self.theta.clone();
        self.workers
            .install(|| {
                let control = self.control.with_new_counter();
                self.descend(&mut *warm.engine, self.rows, rule, &control)
            })
            .map_err(|error| Error::Usage(error.to_string()))?;
        warm.engine.store(&mut theta);
        warm.engine.load(self.theta);
        Ok(theta.sha256())
    }

    /// Times one gradient, which is interrupted at the limit.
    fn limited(&self, warm: &mut WarmEngine<R>) -> Measured<TimingSample> {
        let start = Start::now();
        let (done, counted) = self.control.for_at_most(self.limit, |control| {
            let done = self.steps(&mut *warm.engine, self.rows, control);
            (done, control.evaluations())
        });
        let lap = start.lap(1.0);
        if self.control.is_stopped() {
            return Ok(Err(NotMeasured::Interrupted));
        }
        warm.counted = counted;
        if done? == self.rows.len() {
            return Ok(Ok(lap));
        }
        if counted == 0 {
            return Ok(Err(NotMeasured::TooSlow));
        }
        let share = counted as f64 / warm.planned as f64;
        Ok(Ok(lap.extrapolate(share)))
    }

    /// Times as many gradients as fill a sample.
    fn lap(&self, warm: &mut WarmEngine<R>) -> Measured<TimingSample> {
        let start = Start::now();
        let done = self.steps(
            &mut *warm.engine,
            &warm.order,
            &self.control.with_new_counter(),
        )?;
        let lap = start.lap(warm.gradients as f64);
        if self.control.is_stopped() || done < warm.order.len() {
            return Ok(Err(NotMeasured::Interrupted));
        }
        Ok(Ok(lap))
    }

    /// Computes gradients over `order`, one mini-batch after the other; returns the number of
    /// completed rows.
    fn steps(
        &self,
        engine: &mut dyn TrainingEngine<R>,
        order: &[u32],
        control: &Control,
    ) -> std::result::Result<usize, Stopped> {
        let rule = Rule::gradient_only(R::from_f64(self.network.l2));
        self.descend(engine, order, rule, control)
    }

    fn descend(
        &self,
        engine: &mut dyn TrainingEngine<R>,
        order: &[u32],
        rule: Rule<R>,
        control: &Control,
    ) -> std::result::Result<usize, Stopped> {
        let workers = engine.most_workers().clamp(1, self.workers.threads());
        engine.descend(
            self.samples,
            order,
            self.rows.len(),
            rule,
            workers,
            &mut 0.0,
            control,
        )
    }

    fn engine(&self, method: &GradientConfig) -> Box<dyn TrainingEngine<R>> {
        let capacity = self.rows.len();
        method.engine(self.network, self.workers, self.isa, self.samples, capacity)
    }

    fn clock(&self) -> EvaluationClock<'_, R> {
        let batch = Batch {
            samples: self.samples,
            rows: self.rows,
        };
        let evaluator = LossEvaluator::new(self.network, self.theta, self.isa, batch);
        EvaluationClock::start(evaluator, self.control.with_new_counter())
    }
}
