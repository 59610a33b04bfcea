//! Supersteps, in which workers advance together, and phased slices, which the workers share.
//!
//! All workers of a [`Supersteps`] pass a barrier between two supersteps: [`Superstep::next`].
//! Supersteps run through a cycle of phases, by default two (even and odd). In the supersteps of
//! one phase, each worker writes its own part of a [`PhasedSlice`]; in all other phases, every
//! worker may read the whole slice. No lock is needed: a borrow lasts no longer than the superstep
//! it was made in, and a superstep ends only when every worker has ended it.

use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use super::barrier::{Barrier, SPIN_LIMITS};

/// The identifier of the next [`Supersteps`].
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The workers that advance together, and the phases of their supersteps.
pub struct Supersteps {
    id: u64,
    workers: usize,
    phases: usize,
    /// The write phases that are followed by a phase of exchange with other ranks.
    exchanged: Vec<usize>,
}

impl Supersteps {
    /// Creates supersteps of `workers` workers with two phases, even and odd.
    pub fn new(workers: usize) -> Self {
        Self::with_phases(workers, 2)
    }

    /// Creates supersteps of `workers` workers that run through `phases` phases, again and again.
    ///
    /// # Panics
    /// With fewer than two phases: no worker could read what another has written.
    pub fn with_phases(workers: usize, phases: usize) -> Self {
        assert!(
            phases >= 2,
            "supersteps need at least two phases: one to write, one to read"
        );
        Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            workers,
            phases,
            exchanged: Vec::new(),
        }
    }

    /// Creates supersteps as [`Supersteps::with_phases`] does, with a phase of exchange after each
    /// write phase in `exchanged`: in it, the first worker alone may write and read the slices of
    /// that write phase, to exchange their parts with other ranks.
    pub fn with_exchanges(workers: usize, phases: usize, exchanged: &[usize]) -> Self {
        Self {
            exchanged: exchanged.to_vec(),
            ..Self::with_phases(workers, phases)
        }
    }

    /// Returns the number of workers.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Returns the number of phases.
    pub fn phases(&self) -> usize {
        self.phases
    }

    /// Shares `values` among the workers; returns one slice per worker. Worker w may write
    /// `parts[w]` in the supersteps of phase `write_phase`, and all workers may read everything in
    /// the other phases. With `None`, each part is private to its worker in every superstep.
    ///
    /// # Panics
    /// Unless there is one part per worker, in ascending order, disjoint and within `values`.
    pub fn share<'b, T>(
        &self,
        values: &'b mut [T],
        write_phase: impl Into<Option<usize>>,
        parts: impl IntoIterator<Item = Range<usize>>,
    ) -> Vec<PhasedSlice<'b, T>> {
        let block = values.len();
        self.share_blocks(values, write_phase, block, parts)
    }

    /// Shares `values` as [`Supersteps::share`] does, in blocks of `block` values: worker w may
    /// write the range `parts[w]` of every block.
    ///
    /// # Panics
    /// As `share`, with parts within a block, and unless the blocks fill `values`.
    pub fn share_blocks<'b, T>(
        &self,
        values: &'b mut [T],
        write_phase: impl Into<Option<usize>>,
        block: usize,
        parts: impl IntoIterator<Item = Range<usize>>,
    ) -> Vec<PhasedSlice<'b, T>> {
        let (pointer, len) = (values.as_mut_ptr(), values.len());
        assert!(len.is_multiple_of(block), "blocks fill the slice");
        let write_phase = write_phase.into();
        let exchanged = write_phase.filter(|phase| self.exchanged.contains(phase));
        let exchange_phase = exchanged.map(|phase| (phase + 1) % self.phases);
        let mut end = 0;
        let parts: Vec<_> = parts
            .into_iter()
            .map(|part| {
                assert!(end <= part.start && part.start <= part.end && part.end <= block);
                end = part.end;
                PhasedSlice {
                    supersteps: self.id,
                    write_phase,
                    exchange_phase,
                    pointer,
                    len,
                    block,
                    part,
                    borrow: PhantomData,
                }
            })
            .collect();
        assert_eq!(parts.len(), self.workers, "one part per worker");
        parts
    }

    /// Returns the first superstep of worker `worker`.
    pub(super) fn enter<'c>(&'c self, barrier: &'c Barrier, worker: usize) -> Superstep<'c> {
        Superstep {
            supersteps: self,
            barrier,
            worker,
            number: 0,
            spin_limit: SPIN_LIMITS[1],
        }
    }
}

/// The current superstep of one worker.
pub struct Superstep<'c> {
    supersteps: &'c Supersteps,
    barrier: &'c Barrier,
    worker: usize,
    number: usize,
    /// Reads of the barrier before this worker's thread yields its processor.
    spin_limit: u32,
}

impl Superstep<'_> {
    /// Returns the index of this worker, from 0.
    pub fn worker(&self) -> usize {
        self.worker
    }

    /// Returns the number of workers.
    pub fn workers(&self) -> usize {
        self.supersteps.workers
    }

    /// Returns the phase of this superstep, from 0.
    pub fn phase(&self) -> usize {
        self.number % self.supersteps.phases
    }

    /// Ends this superstep; begins the next one once every worker has ended this one.
    #[must_use]
    pub fn next(mut self) -> Self {
        self.barrier.pass(&mut self.spin_limit);
        self.number += 1;
        self
    }
}

/// One worker's access to a slice that all workers share: a part to write, the whole to read.
pub struct PhasedSlice<'b, T> {
    /// Identifier of the [`Supersteps`] that share the slice.
    supersteps: u64,
    /// The phase in which the parts are written; `None`: the part is private to its worker.
    write_phase: Option<usize>,
    /// The phase in which the first worker alone has the whole slice.
    exchange_phase: Option<usize>,
    pointer: *mut T,
    len: usize,
    /// Number of values in a block; `len` if there is one.
    block: usize,
    /// The part of each block that this worker writes.
    part: Range<usize>,
    borrow: PhantomData<&'b mut [T]>,
}

// SAFETY: a `PhasedSlice` is a `&mut` to its part and, in other phases, a `&` to the whole.
unsafe impl<T: Send + Sync> Send for PhasedSlice<'_, T> {}

impl<T> PhasedSlice<'_, T> {
    /// Returns this worker's part, to write.
    ///
    /// # Panics
    /// In a superstep of another phase than the write phase, or of another [`Supersteps`]; if the
    /// slice has several blocks.
    pub fn write_own<'s>(&'s mut self, step: &'s Superstep<'_>) -> &'s mut [T] {
        assert!(self.block == self.len);
        self.write_block(0, step)
    }

    /// Returns this worker's part of block `block`, to write.
    ///
    /// # Panics
    /// In a superstep of another phase than the write phase, or of another [`Supersteps`]; if there
    /// is no such block.
    pub fn write_block<'s>(&'s mut self, block: usize, step: &'s Superstep<'_>) -> &'s mut [T] {
        let start = block * self.block;
        assert!(start + self.block <= self.len);
        assert!(
            step.supersteps.id == self.supersteps
                && self.write_phase.is_none_or(|phase| phase == step.phase())
        );
        // SAFETY: the part lies within the block, and the block within the slice. Parts are
        // disjoint and each belongs to one `PhasedSlice`. In supersteps of the
        // write phase there is no borrow of the whole: such a borrow ends with the superstep it was
        // made in, and all workers are in the same superstep.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.pointer.add(start + self.part.start),
                self.part.len(),
            )
        }
    }

    /// Returns the whole slice, to read.
    ///
    /// # Panics
    /// In a superstep of the write phase, or of another [`Supersteps`], or if the part is private.
    pub fn read_all<'s>(&'s self, step: &'s Superstep<'_>) -> &'s [T] {
        assert!(
            step.supersteps.id == self.supersteps
                && self.write_phase.is_some_and(|phase| phase != step.phase())
                && self.exchange_phase != Some(step.phase())
        );
        // SAFETY: in supersteps of this phase there is no borrow of a part to write; as above.
        unsafe { std::slice::from_raw_parts(self.pointer, self.len) }
    }

    /// Returns the whole slice, to write: for the first worker, in a phase of exchange.
    ///
    /// # Panics
    /// For other workers, in other phases, or of another [`Supersteps`].
    pub fn exchange<'s>(&'s mut self, step: &'s Superstep<'_>) -> &'s mut [T] {
        assert!(
            step.supersteps.id == self.supersteps
                && self.exchange_phase == Some(step.phase())
                && step.worker() == 0
        );
        // SAFETY: in supersteps of this phase every other access to the slice panics, as does this
        // one for other workers; and this `PhasedSlice` is borrowed.
        unsafe { std::slice::from_raw_parts_mut(self.pointer, self.len) }
    }

    /// Returns this worker's part, to read, in any superstep but those of exchange.
    ///
    /// # Panics
    /// In a superstep of another [`Supersteps`], or in a phase of exchange; if the slice has several
    /// blocks.
    pub fn read_own<'s>(&'s self, step: &'s Superstep<'_>) -> &'s [T] {
        assert!(
            step.supersteps.id == self.supersteps
                && self.block == self.len
                && self.exchange_phase != Some(step.phase())
        );
        // SAFETY: only this `PhasedSlice` can write the part, and it is borrowed.
        unsafe { std::slice::from_raw_parts(self.pointer.add(self.part.start), self.part.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::Workers;
    use crate::parallel::watchdog::time_limit;

    #[test]
    fn workers_read_what_the_others_wrote_in_the_superstep_before() {
        let _limit = time_limit();
        for workers in [1, 2, 3, 5, 8, 16] {
            let pool = Workers::exactly(workers).unwrap();
            let supersteps = Supersteps::new(workers);
            let mut values = vec![0u64; workers];
            let mut sums = vec![0u64; workers];
            let states: Vec<_> = supersteps
                .share(&mut values, 0, (0..workers).map(|w| w..w + 1))
                .into_iter()
                .zip(supersteps.share(&mut sums, 1, (0..workers).map(|w| w..w + 1)))
                .collect();
            pool.run(supersteps, states, |(mut values, mut sums), mut step| {
                for _ in 0..200 {
                    let sum: u64 = if step.worker() == 0 && values.read_own(&step)[0] == 0 {
                        0
                    } else {
                        sums.read_all(&step).iter().sum()
                    };
                    values.write_own(&step)[0] = sum + step.worker() as u64 + 1;
                    step = step.next();
                    sums.write_own(&step)[0] = values.read_all(&step).iter().sum::<u64>() % 1000;
                    step = step.next();
                }
            });
            assert!(
                sums.iter().all(|&sum| sum == sums[0]),
                "{workers}: {sums:?}"
            );
        }
    }

    #[test]
    fn each_worker_writes_its_part_of_every_block() {
        let _limit = time_limit();
        let pool = Workers::exactly(3).unwrap();
        let supersteps = Supersteps::new(3);
        let mut values = vec![0; 12];
        let parts = supersteps.share_blocks(&mut values, 0, 4, [0..1, 1..1, 1..4]);
        pool.run(supersteps, parts, |mut values, step| {
            for block in 0..3 {
                let own = values.write_block(block, &step);
                own.fill(10 * block + step.worker() + 1);
            }
        });
        assert_eq!(values, [1, 3, 3, 3, 11, 13, 13, 13, 21, 23, 23, 23]);
    }

    #[test]
    #[should_panic(expected = "phase")]
    fn writing_outside_the_write_phase_panics() {
        let _limit = time_limit();
        let pool = Workers::exactly(1).unwrap();
        let supersteps = Supersteps::new(1);
        let mut values = [0];
        let states = supersteps.share(&mut values, 1, std::iter::once(0..1));
        pool.run(supersteps, states, |mut values, step| {
            values.write_own(&step)[0] = 1;
        });
    }
}
