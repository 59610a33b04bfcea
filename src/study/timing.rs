//! Timing of gradients as training makes them: steps at a learning rate of 0, so that θ stays in the
//! engine's own layout, and where it is.
//!
//! Every sample of a gradient has one of a single evaluation beside it: their ratio keeps its meaning
//! on a machine whose speed drifts. A gradient that takes longer than the limit is broken off, and
//! the share of its evaluations that was made tells the rest; the share is kept, never hidden.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::data::{Batch, Samples};
use crate::error::{Error, Result};
use crate::gradient::difference::Evaluator;
use crate::gradient::{Control, Engine, GradientConfig, Stopped};
use crate::model::{Network, Parameters};
use crate::numeric::tally::Tally;
use crate::numeric::update::Rule;
use crate::numeric::{Isa, Real};
use crate::optimizer::{OptimizerConfig, Schedule, SgdConfig};
use crate::parallel::Team;
use crate::train::{TrainConfig, Training};

/// A sample lasts so long at least: thousands of times what it takes to read the clock.
const SAMPLE: Duration = Duration::from_millis(5);
/// The longest run of gradients in one sample.
const MOST_GRADIENTS: usize = 10_000;
/// How long a prediction measures, about.
const PREDICTION: Duration = Duration::from_millis(60);

/// What is timed, and where.
pub struct Bench<'a, R> {
    /// Topology and loss.
    pub network: &'a Network,
    /// θ.
    pub theta: &'a Parameters<R>,
    /// The rows' dataset.
    pub samples: &'a Samples<R>,
    /// The mini-batch.
    pub rows: &'a [u32],
    /// The threads.
    pub team: &'a Arc<Team>,
    /// The kernels.
    pub isa: Isa,
    /// Ends it all.
    pub control: &'a Control,
    /// Samples of each gradient.
    pub repeats: usize,
    /// No gradient is measured for longer.
    pub limit: Duration,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Timing {
    /// Seconds of a gradient, sample by sample.
    pub samples: Vec<f64>,
    /// Seconds of an evaluation, measured beside each sample, on one worker.
    pub evaluations: Vec<f64>,
    /// Gradients a sample.
    pub gradients: usize,
    /// The share of one gradient that was made: 1, or less where it was broken off.
    pub share: f64,
    /// Losses, and derivatives along a direction, that one gradient told of; 0 if its passes do not
    /// count themselves.
    pub counted: u64,
}

/// Why there is no timing.
pub enum Missing {
    /// The control was raised.
    Interrupted,
    /// The limit passed before a single evaluation was made.
    TooSlow,
}

impl<R: Real> Bench<'_, R> {
    /// What `method` performs for this mini-batch.
    pub fn tally(&self, method: &GradientConfig) -> Tally {
        self.engine(method).tally(self.samples, self.rows)
    }

    /// Seconds that a gradient by `method` will take, from a short measurement.
    ///
    /// # Errors
    /// A gradient that cannot be: an increment is lost in θ.
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
            team: self.team,
            isa: self.isa,
            workers: None,
            control: self.control,
        };
        self.team
            .install(|| training.seconds_a_step(self.theta, PREDICTION))
    }

    /// Seconds of one evaluation, as often as asked; of 1 gradient by convention.
    pub fn evaluation(&self) -> std::result::Result<Timing, Missing> {
        self.team.install(|| {
            let mut clock = self.clock();
            let mut samples = Vec::new();
            for _ in 0..self.repeats {
                if self.control.is_stopped() {
                    return Err(Missing::Interrupted);
                }
                samples.push(clock.sample());
            }
            Ok(Timing {
                evaluations: samples.clone(),
                samples,
                gradients: clock.passes,
                share: 1.0,
                counted: 1,
            })
        })
    }

    /// Seconds of a gradient by `method`.
    ///
    /// # Errors
    /// A gradient that cannot be: an increment is lost in θ.
    pub fn gradient(
        &self,
        method: &GradientConfig,
    ) -> Result<std::result::Result<Timing, Missing>> {
        self.team
            .install(|| self.measure(method))
            .map_err(|lost| Error::Usage(lost.to_string()))
    }

    fn measure(
        &self,
        method: &GradientConfig,
    ) -> std::result::Result<std::result::Result<Timing, Missing>, Stopped> {
        let mut clock = self.clock();
        let mut engine = self.engine(method);
        engine.load(self.theta);
        let planned = engine.tally(self.samples, self.rows).passes();
        let begin = Instant::now();
        let (done, counted) = self.control.for_at_most(self.limit, |control| {
            (
                self.steps(&mut *engine, self.rows, control),
                control.evaluations(),
            )
        });
        let taken = begin.elapsed();
        if self.control.is_stopped() {
            return Ok(Err(Missing::Interrupted));
        }
        let mut timing = Timing {
            samples: Vec::new(),
            evaluations: Vec::new(),
            gradients: 1,
            share: 1.0,
            counted,
        };
        if done? < self.rows.len() {
            if counted == 0 {
                return Ok(Err(Missing::TooSlow));
            }
            timing.share = counted as f64 / planned as f64;
        }
        if timing.share < 1.0 || 2 * taken > self.limit {
            timing.samples.push(taken.as_secs_f64() / timing.share);
            timing.evaluations.push(clock.sample());
            return Ok(Ok(timing));
        }
        // Warm now: how many fill a sample.
        let start = Instant::now();
        self.steps(&mut *engine, self.rows, &self.control.uncounted())?;
        let once = start.elapsed().as_secs_f64().max(1e-9);
        timing.gradients = (SAMPLE.as_secs_f64() / once)
            .ceil()
            .clamp(1.0, MOST_GRADIENTS as f64) as usize;
        let order = self.rows.repeat(timing.gradients);
        while timing.samples.len() < self.repeats {
            let evaluation = clock.sample();
            let start = Instant::now();
            let done = self.steps(&mut *engine, &order, &self.control.uncounted())?;
            let taken = start.elapsed().as_secs_f64();
            if self.control.is_stopped() || done < order.len() {
                return Ok(Err(Missing::Interrupted));
            }
            timing.evaluations.push(evaluation);
            timing.samples.push(taken / timing.gradients as f64);
            if begin.elapsed() > self.limit {
                break;
            }
        }
        Ok(Ok(timing))
    }

    /// Gradients over `order`, a mini-batch after the other; returns how many rows are done.
    fn steps(
        &self,
        engine: &mut dyn Engine<R>,
        order: &[u32],
        control: &Control,
    ) -> std::result::Result<usize, Stopped> {
        let workers = engine.most_workers().clamp(1, self.team.threads());
        let rule = Rule::gradient_only(R::from_f64(self.network.l2));
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

    fn engine(&self, method: &GradientConfig) -> Box<dyn Engine<R>> {
        let capacity = self.rows.len();
        method.engine(self.network, self.team, self.isa, self.samples, capacity)
    }

    fn clock(&self) -> Clock<'_, R> {
        let mut clock = Clock {
            evaluator: Evaluator::new(self.network, self.theta, self.isa, self.rows.len()),
            batch: Batch {
                samples: self.samples,
                rows: self.rows,
            },
            control: self.control.uncounted(),
            passes: 1,
        };
        // Once cold, once warm.
        clock.sample();
        clock.passes = (SAMPLE.as_secs_f64() / clock.sample().max(1e-9))
            .ceil()
            .clamp(1.0, MOST_GRADIENTS as f64) as usize;
        clock
    }
}

/// Times one evaluation.
struct Clock<'a, R> {
    evaluator: Evaluator<R>,
    batch: Batch<'a, R>,
    control: Control,
    passes: usize,
}

impl<R: Real> Clock<'_, R> {
    fn sample(&mut self) -> f64 {
        let start = Instant::now();
        let mut sum = 0.0;
        for _ in 0..self.passes {
            sum += self.evaluator.loss(self.batch, &self.control);
        }
        // A loss that nobody reads need not be computed.
        std::hint::black_box(sum);
        start.elapsed().as_secs_f64() / self.passes as f64
    }
}
