//! Supersteps: workers that advance together, and memory that they take turns with.
//!
//! A [`Supersteps`] of workers passes a barrier together: [`Superstep::next`]. Supersteps run through a
//! cycle of phases, two (even and odd) unless more are asked for. A [`PhasedSlice`] buffer is written in
//! the steps of one phase, each worker its own part, and read whole in the others. That is all the
//! locking there is: a borrow lasts no longer than the step it was made in, and a step ends only
//! when every worker has ended it.
//!
//! A worker is a future that waits for nothing but its next step, so that one thread can carry
//! several (`barrier.rs`).

use std::cell::Cell;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use super::barrier::Barrier;

static CIRCLES: AtomicU64 = AtomicU64::new(1);

/// Workers that advance together.
pub struct Supersteps {
    id: u64,
    workers: usize,
    phases: usize,
}

impl Supersteps {
    /// A circle of so many workers, whose steps are even or odd.
    pub fn new(workers: usize) -> Self {
        Self::with_phases(workers, 2)
    }

    /// A circle of so many workers, whose steps run through so many phases, over and over.
    ///
    /// # Panics
    /// With fewer than two phases: nobody could read what another has written.
    pub fn with_phases(workers: usize, phases: usize) -> Self {
        assert!(phases >= 2, "a phase to write, a phase to read");
        Self {
            id: CIRCLES.fetch_add(1, Ordering::Relaxed),
            workers,
            phases,
        }
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Lends `values` to the circle: worker w may write `parts[w]` in the steps of phase `written`,
    /// and all may read everything in the others. With `None` each part stays its worker's alone,
    /// in every step.
    ///
    /// # Panics
    /// Unless there is one part a worker, in order, disjoint, within `values`.
    pub fn share<'b, T>(
        &self,
        values: &'b mut [T],
        written: impl Into<Option<usize>>,
        parts: impl IntoIterator<Item = Range<usize>>,
    ) -> Vec<PhasedSlice<'b, T>> {
        let (pointer, len) = (values.as_mut_ptr(), values.len());
        let written = written.into();
        let mut end = 0;
        let parts: Vec<_> = parts
            .into_iter()
            .map(|own| {
                assert!(end <= own.start && own.start <= own.end && own.end <= len);
                end = own.end;
                PhasedSlice {
                    circle: self.id,
                    written,
                    pointer,
                    len,
                    own,
                    life: PhantomData,
                }
            })
            .collect();
        assert_eq!(parts.len(), self.workers, "one part a worker");
        parts
    }

    pub(super) fn enter<'c>(
        &'c self,
        barrier: &'c Barrier,
        worker: usize,
        ended: &'c Cell<usize>,
    ) -> Superstep<'c> {
        Superstep {
            circle: self,
            barrier,
            worker,
            number: 0,
            ended,
        }
    }
}

/// A worker's place in the current superstep.
pub struct Superstep<'c> {
    circle: &'c Supersteps,
    barrier: &'c Barrier,
    worker: usize,
    number: usize,
    /// Steps that this worker has ended: what its thread goes by.
    ended: &'c Cell<usize>,
}

impl Superstep<'_> {
    /// Which worker this is, from 0.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.circle.workers
    }

    /// The phase of this step, from 0.
    pub fn phase(&self) -> usize {
        self.number % self.circle.phases
    }

    /// Ends this step, and begins the next when every worker has ended it.
    #[must_use]
    pub async fn next(mut self) -> Self {
        self.number += 1;
        poll_fn(|_| {
            self.ended.set(self.number);
            if self.barrier.passed() < self.number {
                Poll::Pending
            } else {
                Poll::Ready(())
            }
        })
        .await;
        self
    }
}

/// One worker's hold on a buffer that the circle takes turns with.
pub struct PhasedSlice<'b, T> {
    circle: u64,
    written: Option<usize>,
    pointer: *mut T,
    len: usize,
    own: Range<usize>,
    life: PhantomData<&'b mut [T]>,
}

// SAFETY: a hold is a `&mut` to its part and, by turns, a `&` to the whole.
unsafe impl<T: Send + Sync> Send for PhasedSlice<'_, T> {}

impl<T> PhasedSlice<'_, T> {
    /// The own part, to write.
    ///
    /// # Panics
    /// In a step of another phase, or of another circle.
    pub fn own<'s>(&'s mut self, step: &'s Superstep<'_>) -> &'s mut [T] {
        assert!(
            step.circle.id == self.circle && self.written.is_none_or(|phase| phase == step.phase())
        );
        // SAFETY: parts are disjoint and each is held once; in steps of this phase nobody has a
        // borrow of the whole, since such a borrow ends with the step it was made in, and all
        // workers of the circle are in the same step.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(self.own.start), self.own.len()) }
    }

    /// The whole buffer, to read.
    ///
    /// # Panics
    /// In a step in which it is written, or of another circle.
    pub fn all<'s>(&'s self, step: &'s Superstep<'_>) -> &'s [T] {
        assert!(
            step.circle.id == self.circle
                && self.written.is_some_and(|phase| phase != step.phase())
        );
        // SAFETY: in steps of this phase nobody has a borrow of a part to write; as above.
        unsafe { std::slice::from_raw_parts(self.pointer, self.len) }
    }

    /// The own part, to read, in any step.
    ///
    /// # Panics
    /// In a step of another circle.
    pub fn mine<'s>(&'s self, step: &'s Superstep<'_>) -> &'s [T] {
        assert!(step.circle.id == self.circle);
        // SAFETY: only this hold can write this part, and it is borrowed.
        unsafe { std::slice::from_raw_parts(self.pointer.add(self.own.start), self.own.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::Workers;
    use crate::parallel::watchdog::time_limit;

    #[test]
    fn workers_take_turns_with_a_buffer() {
        let _limit = time_limit();
        for workers in [1, 2, 3, 5, 8, 16] {
            let team = Workers::new(Some(workers)).unwrap();
            let circle = Supersteps::new(workers);
            let mut values = vec![0u64; workers];
            let mut sums = vec![0u64; workers];
            let seats: Vec<_> = circle
                .share(&mut values, 0, (0..workers).map(|w| w..w + 1))
                .into_iter()
                .zip(circle.share(&mut sums, 1, (0..workers).map(|w| w..w + 1)))
                .collect();
            team.run(circle, seats, async |(mut values, mut sums), mut step| {
                for _ in 0..200 {
                    let sum: u64 = if step.worker() == 0 && values.mine(&step)[0] == 0 {
                        0
                    } else {
                        sums.all(&step).iter().sum()
                    };
                    values.own(&step)[0] = sum + step.worker() as u64 + 1;
                    step = step.next().await;
                    sums.own(&step)[0] = values.all(&step).iter().sum::<u64>() % 1000;
                    step = step.next().await;
                }
            });
            assert!(
                sums.iter().all(|&sum| sum == sums[0]),
                "{workers}: {sums:?}"
            );
        }
    }

    #[test]
    #[should_panic(expected = "panicked")]
    fn a_panic_of_one_worker_ends_all() {
        let _limit = time_limit();
        let team = Workers::new(Some(2)).unwrap();
        team.run(Supersteps::new(2), vec![(), ()], async |(), step| {
            assert!(step.worker() == 0, "worker 1 panicked");
            let _ = step.next().await;
        });
    }

    #[test]
    #[should_panic(expected = "phase")]
    fn writing_out_of_turn_panics() {
        let _limit = time_limit();
        let team = Workers::new(Some(1)).unwrap();
        let circle = Supersteps::new(1);
        let mut values = [0];
        let seats = circle.share(&mut values, 1, std::iter::once(0..1));
        team.run(circle, seats, async |mut values, step| {
            values.own(&step)[0] = 1;
        });
    }
}
