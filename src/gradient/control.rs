//! How a gradient is watched and stopped from outside: it may take minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

/// How often a limited control looks at the one that it is limited in.
const LOOK: Duration = Duration::from_millis(50);

/// A stop flag, and a counter of the losses evaluated. Engines look at the one and move the other
/// every few milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    /// One worker counts every step, beside whatever the others read.
    evaluations: Arc<CachePadded<AtomicU64>>,
}

impl Control {
    /// A control whose work ends soon after `stop` is raised.
    pub fn new(stop: &Arc<AtomicBool>) -> Self {
        Self {
            stop: Arc::clone(stop),
            evaluations: Arc::default(),
        }
    }

    /// Stopped by the same flag, with a counter of its own.
    #[must_use]
    pub fn uncounted(&self) -> Self {
        Self::new(&self.stop)
    }

    /// Runs `work` under a control of its own, stopped with this one or once `budget` is over.
    pub fn for_at_most<T>(&self, budget: Duration, work: impl FnOnce(&Self) -> T) -> T {
        let stop = Arc::new(AtomicBool::new(false));
        let limited = Self::new(&stop);
        std::thread::scope(|scope| {
            let (done, waiting) = channel::<()>();
            let start = Instant::now();
            scope.spawn(move || {
                loop {
                    let left = budget.saturating_sub(start.elapsed());
                    if left.is_zero() || self.is_stopped() {
                        stop.store(true, Ordering::Relaxed);
                        return;
                    }
                    if waiting.recv_timeout(left.min(LOOK)) != Err(RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            });
            let outcome = work(&limited);
            drop(done);
            outcome
        })
    }

    /// Whether the work is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Counts losses that were evaluated over a whole mini-batch.
    pub fn count(&self, evaluations: u64) {
        self.evaluations.fetch_add(evaluations, Ordering::Relaxed);
    }

    /// Losses evaluated so far.
    pub fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }
}

/// Why there is no gradient.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stopped {
    /// The control asked for it.
    #[error("interrupted")]
    Interrupted,
    /// θ + h rounds to θ.
    #[error(
        "the increment {increment:e} is lost in {parameter} = {value:e}: their sum rounds to the parameter itself\n  help: use gradient.increment = \"auto\" or a number of {needed:e} or more{instead}"
    )]
    Vanished {
        /// The parameter's name.
        parameter: String,
        /// Its value.
        value: f64,
        /// The increment.
        increment: f64,
        /// The smallest that changes it.
        needed: f64,
        /// What may be used instead, beginning with a comma, or nothing.
        instead: &'static str,
    },
    /// The loss has no noise or curvature that could be measured.
    #[error("{0}\n  help: use gradient.increment = \"auto\" or a number")]
    Unmeasured(#[from] crate::gradient::finite_difference::noise::Unmeasured),
}
