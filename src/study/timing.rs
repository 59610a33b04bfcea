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
use crate::gradient::finite_difference::LossEvaluator;
use crate::gradient::{Control, GradientConfig, Stopped, TrainingEngine};
use crate::kernels::Isa;
use crate::kernels::update::Rule;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::optimizer::{OptimizerConfig, Schedule, SgdConfig};
use crate::parallel::Workers;
use crate::parallel::processors::busy_seconds;
use crate::train::{TrainConfig, Training};

/// A sample lasts so long at least: thousands of times what it takes to read the clock.
const SAMPLE: Duration = Duration::from_millis(5);
/// The longest run of gradients in one sample.
const MOST_GRADIENTS: usize = 10_000;
/// How long a prediction measures, about.
const PREDICTION: Duration = Duration::from_millis(60);

/// What is timed, and where.
pub struct TimingBench<'a, R> {
    /// Topology and loss.
    pub network: &'a Network,
    /// θ.
    pub theta: &'a Parameters<R>,
    /// The rows' dataset.
    pub samples: &'a Samples<R>,
    /// The mini-batch.
    pub rows: &'a [u32],
    /// The threads.
    pub team: &'a Arc<Workers>,
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

/// One sample, told for one whole gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimingSample {
    /// Seconds on the wall's clock.
    pub seconds: f64,
    /// Seconds that all threads of the process together were on a processor.
    pub cpu_seconds: Option<f64>,
    /// The share of the gradient that was made: 1, or less where it was broken off.
    pub share: f64,
}

impl TimingSample {
    /// Of a gradient of which only `share` was made.
    fn of_share(self, share: f64) -> Self {
        Self {
            seconds: self.seconds / share,
            cpu_seconds: self.cpu_seconds.map(|seconds| seconds / share),
            share,
        }
    }
}

/// Both clocks when a sample begins.
struct Start {
    wall: Instant,
    cpu: Option<f64>,
}

impl Start {
    fn now() -> Self {
        Self {
            cpu: busy_seconds(),
            wall: Instant::now(),
        }
    }

    /// What has passed, for each of so many gradients.
    fn lap(&self, gradients: f64) -> TimingSample {
        let seconds = self.wall.elapsed().as_secs_f64() / gradients;
        let busy = self.cpu.zip(busy_seconds());
        TimingSample {
            seconds,
            cpu_seconds: busy.map(|(from, to)| (to - from) / gradients),
            share: 1.0,
        }
    }
}

/// A warm engine, and how it is timed.
pub struct WarmEngine<R> {
    engine: Box<dyn TrainingEngine<R>>,
    /// Gradients a sample.
    pub gradients: usize,
    /// The rows of a sample's mini-batches, one after the other.
    order: Vec<u32>,
    /// The first gradient, cold.
    first: TimingSample,
    /// Passes that the last limited gradient told of.
    counted: u64,
    /// Passes of a whole gradient.
    planned: u64,
    /// Whether a gradient is all that the limit has room for, if at all.
    slow: bool,
}

impl<R> WarmEngine<R> {
    /// The first gradient, cold: whole, or the share of it that the limit allowed.
    pub fn first(&self) -> TimingSample {
        self.first
    }
}

/// Why there is no timing.
pub enum NotMeasured {
    /// The control was raised.
    Interrupted,
    /// The limit passed before a single evaluation was made.
    TooSlow,
}

impl<R: Real> TimingBench<'_, R> {
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
    pub fn evaluation(&self) -> std::result::Result<Timing, NotMeasured> {
        self.team.install(|| {
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
    ) -> Result<std::result::Result<Timing, NotMeasured>> {
        self.team
            .install(|| self.measure(method))
            .map_err(|lost| Error::Usage(lost.to_string()))
    }

    fn measure(
        &self,
        method: &GradientConfig,
    ) -> std::result::Result<std::result::Result<Timing, NotMeasured>, Stopped> {
        let mut clock = self.clock();
        let begin = Instant::now();
        let mut ready = match self.warm(method)? {
            Ok(ready) => ready,
            Err(missing) => return Ok(Err(missing)),
        };
        let mut timing = Timing {
            samples: Vec::new(),
            evaluations: Vec::new(),
            gradients: ready.gradients,
            share: ready.first.share,
            counted: ready.counted,
        };
        if ready.slow {
            timing.samples.push(ready.first.seconds);
            timing.evaluations.push(clock.sample());
            return Ok(Ok(timing));
        }
        while timing.samples.len() < self.repeats {
            let evaluation = clock.sample();
            match self.lap(&mut ready)? {
                Ok(lap) => timing.samples.push(lap.seconds),
                Err(missing) => return Ok(Err(missing)),
            }
            timing.evaluations.push(evaluation);
            if begin.elapsed() > self.limit {
                break;
            }
        }
        Ok(Ok(timing))
    }

    /// An engine by `method` that has made a gradient, or as much of one as the limit allows.
    ///
    /// # Errors
    /// A gradient that cannot be: an increment is lost in θ.
    pub fn ready(
        &self,
        method: &GradientConfig,
    ) -> Result<std::result::Result<WarmEngine<R>, NotMeasured>> {
        self.team
            .install(|| self.warm(method))
            .map_err(|lost| Error::Usage(lost.to_string()))
    }

    fn warm(
        &self,
        method: &GradientConfig,
    ) -> std::result::Result<std::result::Result<WarmEngine<R>, NotMeasured>, Stopped> {
        let mut engine = self.engine(method);
        engine.load(self.theta);
        let mut ready = WarmEngine {
            planned: engine.tally(self.samples, self.rows).passes(),
            engine,
            gradients: 1,
            order: self.rows.to_vec(),
            first: TimingSample::default(),
            counted: 0,
            slow: true,
        };
        ready.first = match self.limited(&mut ready)? {
            Ok(lap) => lap,
            Err(missing) => return Ok(Err(missing)),
        };
        ready.slow =
            ready.first.share < 1.0 || 2.0 * ready.first.seconds > self.limit.as_secs_f64();
        if !ready.slow {
            // Warm now: how many fill a sample.
            let once = match self.lap(&mut ready)? {
                Ok(lap) => lap.seconds.max(1e-9),
                Err(missing) => return Ok(Err(missing)),
            };
            ready.gradients = (SAMPLE.as_secs_f64() / once)
                .ceil()
                .clamp(1.0, MOST_GRADIENTS as f64) as usize;
            ready.order = self.rows.repeat(ready.gradients);
        }
        Ok(Ok(ready))
    }

    /// One more sample.
    ///
    /// # Errors
    /// A gradient that cannot be: an increment is lost in θ.
    pub fn sample(
        &self,
        ready: &mut WarmEngine<R>,
    ) -> Result<std::result::Result<TimingSample, NotMeasured>> {
        self.team
            .install(|| {
                if ready.slow {
                    self.limited(ready)
                } else {
                    self.lap(ready)
                }
            })
            .map_err(|lost| Error::Usage(lost.to_string()))
    }

    /// θ after one step of descent at `rate` from where the bench stands, as `weights_sha256`; the
    /// engine then stands there again.
    ///
    /// # Errors
    /// A gradient that cannot be: an increment is lost in θ.
    pub fn weights_after_a_step(&self, ready: &mut WarmEngine<R>, rate: f64) -> Result<String> {
        let rule = Rule {
            rate: R::from_f64(rate),
            ..Rule::gradient_only(R::from_f64(self.network.l2))
        };
        let mut theta = self.theta.clone();
        self.team
            .install(|| {
                let control = self.control.uncounted();
                self.descend(&mut *ready.engine, self.rows, rule, &control)
            })
            .map_err(|lost| Error::Usage(lost.to_string()))?;
        ready.engine.store(&mut theta);
        ready.engine.load(self.theta);
        Ok(theta.sha256())
    }

    /// One gradient, broken off at the limit.
    fn limited(
        &self,
        ready: &mut WarmEngine<R>,
    ) -> std::result::Result<std::result::Result<TimingSample, NotMeasured>, Stopped> {
        let start = Start::now();
        let (done, counted) = self.control.for_at_most(self.limit, |control| {
            let done = self.steps(&mut *ready.engine, self.rows, control);
            (done, control.evaluations())
        });
        let lap = start.lap(1.0);
        if self.control.is_stopped() {
            return Ok(Err(NotMeasured::Interrupted));
        }
        ready.counted = counted;
        if done? == self.rows.len() {
            return Ok(Ok(lap));
        }
        if counted == 0 {
            return Ok(Err(NotMeasured::TooSlow));
        }
        let share = counted as f64 / ready.planned as f64;
        Ok(Ok(lap.of_share(share)))
    }

    /// As many gradients as fill a sample.
    fn lap(
        &self,
        ready: &mut WarmEngine<R>,
    ) -> std::result::Result<std::result::Result<TimingSample, NotMeasured>, Stopped> {
        let start = Start::now();
        let done = self.steps(&mut *ready.engine, &ready.order, &self.control.uncounted())?;
        let lap = start.lap(ready.gradients as f64);
        if self.control.is_stopped() || done < ready.order.len() {
            return Ok(Err(NotMeasured::Interrupted));
        }
        Ok(Ok(lap))
    }

    /// Gradients over `order`, a mini-batch after the other; returns how many rows are done.
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
        let workers = engine.most_workers().clamp(1, self.team.threads());
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
        method.engine(self.network, self.team, self.isa, self.samples, capacity)
    }

    fn clock(&self) -> Clock<'_, R> {
        let mut clock = Clock {
            evaluator: LossEvaluator::new(self.network, self.theta, self.isa, self.rows.len()),
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
    evaluator: LossEvaluator<R>,
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
