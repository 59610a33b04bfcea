//! The barrier that the workers pass between two supersteps.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::utils::CachePadded;

/// Reads of the barrier before a waiting thread yields its processor: the smallest and the largest
/// limit.
///
/// Threads with a processor each meet within the largest limit, about 50 µs. If another process
/// holds a processor, two threads share the other one, and the spinning thread keeps its partner
/// from arriving. So the limit adapts: it is halved after a wait that had to yield, and doubled
/// after a wait that ended while spinning.
pub(super) const SPIN_LIMITS: [u32; 2] = [32, 4000];
/// Time for which a waiting thread yields before it sleeps between reads: by then a partner is
/// delayed for long.
const YIELD_TIME: Duration = Duration::from_millis(2);

/// How a worker has ended.
#[derive(Clone, Copy)]
#[repr(u8)]
pub(super) enum End {
    /// It returned: no other may wait for it.
    Returned = 1,
    /// It panicked; the message is printed.
    Panicked = 2,
}

/// The silent panic of a worker that ends because another one has panicked.
pub(super) struct AnotherPanicked;

/// A reusable barrier for a fixed number of workers, each on a thread.
pub(super) struct Barrier {
    workers: usize,
    arrived: CachePadded<AtomicUsize>,
    passed: CachePadded<AtomicUsize>,
    /// 0 while all workers run; then the [`End`] of one that has left.
    left: AtomicU8,
}

impl Barrier {
    /// Creates a barrier for `workers` workers.
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers,
            arrived: CachePadded::new(AtomicUsize::new(0)),
            passed: CachePadded::new(AtomicUsize::new(0)),
            left: AtomicU8::new(0),
        }
    }

    /// Waits until all workers have arrived; adapts `spin_limit`, this worker's reads before its
    /// thread yields.
    ///
    /// # Panics
    /// If a worker has left: it will not arrive.
    pub(super) fn pass(&self, spin_limit: &mut u32) {
        if self.workers == 1 {
            return;
        }
        let passed = self.passed.load(Ordering::Relaxed);
        if self.arrived.fetch_add(1, Ordering::AcqRel) + 1 == self.workers {
            self.arrived.store(0, Ordering::Relaxed);
            self.passed.store(passed + 1, Ordering::Release);
            return;
        }
        let mut reads = 0;
        let mut yielding_since = None;
        while self.passed.load(Ordering::Acquire) == passed {
            if self.left.load(Ordering::Acquire) != 0 {
                self.end_unless_passed(passed);
                break;
            }
            if reads < *spin_limit {
                reads += 1;
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

    /// Panics unless all workers have passed the barrier for the time after `passed`. A worker that
    /// leaves after it has passed is no fault: what it did before is seen here.
    #[cold]
    fn end_unless_passed(&self, passed: usize) {
        if self.passed.load(Ordering::Acquire) != passed {
            return;
        }
        // One message is enough.
        let end = self.left.swap(End::Panicked as u8, Ordering::AcqRel);
        if end == End::Returned as u8 {
            panic!("a worker returned while another waits for the next superstep");
        }
        resume_unwind(Box::new(AnotherPanicked));
    }

    /// Marks that a worker has left, so that no other waits for it without end.
    pub(super) fn leave(&self, end: End) {
        self.left.fetch_max(end as u8, Ordering::AcqRel);
    }
}
