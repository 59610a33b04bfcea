//! The barrier that the computing threads pass between two supersteps.
//!
//! If there are more workers than processors, each computing thread runs several workers: it brings
//! one after the other to the end of the superstep, then waits for the other threads. So a
//! superstep costs one barrier among at most as many threads as there are processors, whatever the
//! number of workers. One thread per worker would cost a context switch per worker and superstep.

use std::cell::Cell;
use std::ops::DerefMut;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

/// Spins before a waiting thread yields its core: the smallest and the largest limit.
///
/// Threads with a core each meet within the largest limit, about 50 µs. If another process holds a
/// core, two threads share the other one, and the spinning thread keeps its partner from arriving.
/// So the limit adapts: it is halved after a wait that had to yield, and doubled after a wait that
/// ended while spinning.
const SPIN_LIMITS: [u32; 2] = [32, 4000];
/// Time for which a waiting thread yields before it sleeps between checks: by then a partner is
/// delayed for long.
const YIELD_TIME: Duration = Duration::from_millis(2);

/// A reusable barrier for a fixed number of threads.
pub(super) struct Barrier {
    threads: usize,
    arrived: CachePadded<AtomicUsize>,
    passed: CachePadded<AtomicUsize>,
    broken: AtomicBool,
}

impl Barrier {
    /// Creates a barrier for `threads` threads.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            arrived: CachePadded::new(AtomicUsize::new(0)),
            passed: CachePadded::new(AtomicUsize::new(0)),
            broken: AtomicBool::new(false),
        }
    }

    /// Returns how many times all threads have passed.
    pub(super) fn passed(&self) -> usize {
        self.passed.load(Ordering::Acquire)
    }

    /// Waits until all threads have arrived; adapts `spin_limit`, this thread's spins before it
    /// yields.
    fn pass(&self, spin_limit: &mut u32) {
        let passed = self.passed.load(Ordering::Relaxed);
        if self.threads == 1 {
            self.passed.store(passed + 1, Ordering::Release);
            return;
        }
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.threads {
            self.arrived.store(0, Ordering::Relaxed);
            self.passed.store(passed + 1, Ordering::Release);
            return;
        }
        let mut spins = 0;
        let mut yielding_since = None;
        while self.passed.load(Ordering::Acquire) == passed {
            assert!(
                !self.broken.load(Ordering::Relaxed),
                "another worker panicked"
            );
            if spins < *spin_limit {
                spins += 1;
                std::hint::spin_loop();
            } else if yielding_since.get_or_insert_with(Instant::now).elapsed() < YIELD_TIME {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        let [fewest, most] = SPIN_LIMITS;
        *spin_limit = if yielding_since.is_some() {
            (*spin_limit / 2).max(fewest)
        } else {
            (*spin_limit * 2).min(most)
        };
    }

    /// Runs the workers of one thread, superstep by superstep, until they have returned: brings
    /// each to the end of the superstep, then waits for the other threads. `ended` counts the
    /// supersteps that each worker has ended.
    ///
    /// # Panics
    /// If a worker waits for anything but its next superstep, or if the workers of this thread
    /// return in different supersteps.
    pub(super) fn run_workers<P: DerefMut<Target: Future<Output = ()>>>(
        &self,
        workers: &mut [Pin<P>],
        ended: &[Cell<usize>],
    ) {
        let _guard = BreakOnPanic(self);
        let mut context = Context::from_waker(Waker::noop());
        let mut spin_limit = SPIN_LIMITS[1];
        for superstep in 1.. {
            let mut waiting = 0;
            for worker in &mut *workers {
                waiting += usize::from(worker.as_mut().poll(&mut context).is_pending());
            }
            if waiting == 0 {
                return;
            }
            assert!(
                ended.iter().all(|ended| ended.get() == superstep),
                "all workers end a superstep, or all return in it"
            );
            self.pass(&mut spin_limit);
        }
    }
}

/// Guard that marks the barrier as broken if its thread panics, so that no other thread waits for
/// it.
struct BreakOnPanic<'b>(&'b Barrier);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}
