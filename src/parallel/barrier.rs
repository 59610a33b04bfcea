//! The barrier between supersteps, among the threads that carry the workers of a circle.
//!
//! Where there are more workers than processors, a thread carries several: it brings one after the
//! other to the end of the superstep, then meets the other threads. So a superstep costs one meeting
//! of as many threads as there are processors, however many workers there are; threads of their own
//! would cost a switch between them for each worker and superstep.

use std::cell::Cell;
use std::ops::DerefMut;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crossbeam_utils::CachePadded;

/// Spins before a waiting thread offers its core to others: the fewest and the most.
///
/// With a core each, threads meet within the most, about 50 µs. Two on one core, where another
/// process holds a core, never do: the one that spins keeps the other from coming. So a wait that
/// ends in vain halves a thread's spins, and one that is worth its while doubles them.
const SPINS: [u32; 2] = [32, 4000];
/// Time of yielding after which a waiting thread sleeps between looks: something holds its
/// partner up for long.
const PATIENCE: Duration = Duration::from_millis(2);

/// Where threads meet, over and over.
pub(super) struct Barrier {
    threads: usize,
    arrived: CachePadded<AtomicUsize>,
    passed: CachePadded<AtomicUsize>,
    broken: AtomicBool,
}

impl Barrier {
    /// A barrier of so many threads.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads,
            arrived: CachePadded::new(AtomicUsize::new(0)),
            passed: CachePadded::new(AtomicUsize::new(0)),
            broken: AtomicBool::new(false),
        }
    }

    /// How often all have passed.
    pub(super) fn passed(&self) -> usize {
        self.passed.load(Ordering::Acquire)
    }

    /// Passes, once all threads are here; `most` is how often this one spins before it yields.
    fn pass(&self, most: &mut u32) {
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
        let mut since = None;
        while self.passed.load(Ordering::Acquire) == passed {
            assert!(
                !self.broken.load(Ordering::Relaxed),
                "another worker panicked"
            );
            if spins < *most {
                spins += 1;
                std::hint::spin_loop();
            } else if since.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
        let [least, all] = SPINS;
        *most = if since.is_some() {
            (*most / 2).max(least)
        } else {
            (*most * 2).min(all)
        };
    }

    /// One thread's part of a run: brings each of its workers to the end of the superstep, passes,
    /// and so on until they have returned. `ended` is how many steps each worker has ended.
    ///
    /// # Panics
    /// If a worker waits for anything but its next step, or returns in a step of its own.
    pub(super) fn carry<P: DerefMut<Target: Future<Output = ()>>>(
        &self,
        workers: &mut [Pin<P>],
        ended: &[Cell<usize>],
    ) {
        let _guard = BreakOnPanic(self);
        let mut context = Context::from_waker(Waker::noop());
        let mut spins = SPINS[1];
        for step in 1.. {
            let mut waiting = 0;
            for worker in &mut *workers {
                waiting += usize::from(worker.as_mut().poll(&mut context).is_pending());
            }
            if waiting == 0 {
                return;
            }
            assert!(
                ended.iter().all(|ended| ended.get() == step),
                "all workers end a step, or return in it"
            );
            self.pass(&mut spins);
        }
    }
}

/// Breaks the barrier if its thread panics, so that the others do not wait for it.
struct BreakOnPanic<'b>(&'b Barrier);

impl Drop for BreakOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.broken.store(true, Ordering::Relaxed);
        }
    }
}
