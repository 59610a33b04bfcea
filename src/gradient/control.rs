//! The handle by which another thread watches and stops a gradient, which may take minutes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;

/// The interval at which a time-limited control checks the stop flag of its parent.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// A stop flag, and a counter of the losses and directional derivatives evaluated. Engines check
/// the flag and add to the counter while a gradient is computed.
///
/// A limit of time ends work between two evaluations, so that there is something to extrapolate
/// from. An interruption ends it within an evaluation, too, if that takes long.
#[derive(Clone, Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
    /// The flag of an interruption: `stop` itself, unless there is a limit of time.
    interruption: Arc<AtomicBool>,
    /// Padded to its own cache line, because a worker writes it in every step.
    evaluations: Arc<CachePadded<AtomicU64>>,
}

impl Control {
    /// Creates a control whose work ends soon after `stop` is set.
    pub fn new(stop: &Arc<AtomicBool>) -> Self {
        Self {
            stop: Arc::clone(stop),
            interruption: Arc::clone(stop),
            evaluations: Arc::default(),
        }
    }

    /// Returns a control with the same stop flag and a new counter.
    #[must_use]
    pub fn with_new_counter(&self) -> Self {
        Self {
            evaluations: Arc::default(),
            ..self.clone()
        }
    }

    /// Runs `work` with a new control, which is stopped when this one is or after `budget`.
    pub fn for_at_most<T>(&self, budget: Duration, work: impl FnOnce(&Self) -> T) -> T {
        let stop = Arc::new(AtomicBool::new(false));
        let limited = Self {
            interruption: Arc::clone(&self.interruption),
            ..Self::new(&stop)
        };
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
                    if waiting.recv_timeout(left.min(POLL_INTERVAL))
                        != Err(RecvTimeoutError::Timeout)
                    {
                        return;
                    }
                }
            });
            let result = work(&limited);
            drop(done);
            result
        })
    }

    /// Returns the flag of an interruption, which is never reset. A result that was computed in
    /// pieces, the flag looked at before each, is unspecified if the flag is set after the last.
    pub fn interruption(&self) -> &AtomicBool {
        &self.interruption
    }

    /// Returns whether the work is interrupted.
    pub fn is_interrupted(&self) -> bool {
        self.interruption.load(Ordering::Relaxed)
    }

    /// Returns whether the work is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Adds to the number of losses or directional derivatives evaluated over a whole mini-batch.
    pub fn count(&self, evaluations: u64) {
        self.evaluations.fetch_add(evaluations, Ordering::Relaxed);
    }

    /// Returns the number of evaluations so far.
    pub fn evaluations(&self) -> u64 {
        self.evaluations.load(Ordering::Relaxed)
    }
}

/// The reason why no gradient was computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Stopped {
    /// The stop flag was set.
    #[error("interrupted")]
    Interrupted,
    /// θ + h or θ − h rounds to θ.
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
        /// An increment that is large enough.
        needed: f64,
        /// Another way out, as a clause that begins with a comma; may be empty.
        instead: &'static str,
    },
    /// The loss has no noise or curvature that could be measured.
    #[error(transparent)]
    Unmeasured(#[from] crate::gradient::finite_difference::noise::Unmeasured),
}
