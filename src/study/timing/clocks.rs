//! The clocks of a timing: wall clock and CPU clock of a sample, and the time of one evaluation.

use std::time::{Duration, Instant};

use crate::gradient::Control;
use crate::gradient::finite_difference::LossEvaluator;
use crate::numeric::Real;
use crate::parallel::processors::busy_seconds;

/// Shortest duration of a sample: thousands of times the cost of reading the clock.
const SAMPLE: Duration = Duration::from_millis(5);
/// Largest number of evaluations in one sample.
const MOST_EVALUATIONS: usize = 10_000;

/// Returns how often a computation that takes `seconds` is repeated in a sample: at most `most`
/// times.
pub(in crate::study) fn repetitions(seconds: f64, most: usize) -> usize {
    let times = SAMPLE.as_secs_f64() / seconds.max(1e-9);
    times.ceil().clamp(1.0, most as f64) as usize
}

/// One sample, scaled to one whole gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TimingSample {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// CPU seconds of all threads of the process together.
    pub cpu_seconds: Option<f64>,
    /// Completed share of the gradient: 1, or less if it was interrupted at the limit.
    pub share: f64,
}

impl TimingSample {
    /// Extrapolates from a gradient of which only `share` was completed.
    pub(super) fn extrapolate(self, share: f64) -> Self {
        Self {
            seconds: self.seconds / share,
            cpu_seconds: self.cpu_seconds.map(|seconds| seconds / share),
            share,
        }
    }
}

/// Wall clock and CPU clock at the start of a sample.
pub(super) struct Start {
    wall: Instant,
    cpu: Option<f64>,
}

impl Start {
    pub fn now() -> Self {
        Self {
            cpu: busy_seconds(),
            wall: Instant::now(),
        }
    }

    /// Returns the time since the start, divided by the number of gradients.
    pub fn lap(&self, gradients: f64) -> TimingSample {
        let seconds = self.wall.elapsed().as_secs_f64() / gradients;
        let busy = self.cpu.zip(busy_seconds());
        TimingSample {
            seconds,
            cpu_seconds: busy.map(|(from, to)| (to - from) / gradients),
            share: 1.0,
        }
    }
}

/// A clock for single evaluations.
pub(super) struct EvaluationClock<'a, R> {
    evaluator: LossEvaluator<'a, R>,
    control: Control,
    passes: usize,
}

impl<'a, R: Real> EvaluationClock<'a, R> {
    /// Creates a clock for the losses of `evaluator`, and warms the caches.
    pub fn start(evaluator: LossEvaluator<'a, R>, control: Control) -> Self {
        let mut clock = Self {
            evaluator,
            control,
            passes: 1,
        };
        // The first evaluation warms the caches; the second is timed.
        clock.sample();
        clock.passes = repetitions(clock.sample(), MOST_EVALUATIONS);
        clock
    }

    /// Returns the number of evaluations in a sample.
    pub fn passes(&self) -> usize {
        self.passes
    }

    /// Returns the seconds of one evaluation.
    pub fn sample(&mut self) -> f64 {
        let start = Instant::now();
        let mut sum = 0.0;
        for _ in 0..self.passes {
            sum += self.evaluator.loss(&self.control);
        }
        // An unused loss could be optimized away.
        std::hint::black_box(sum);
        start.elapsed().as_secs_f64() / self.passes as f64
    }
}
