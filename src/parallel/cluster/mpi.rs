//! Ranks that an MPI launcher has started. The only file that names MPI.
//!
//! The library is asked for `MPI_THREAD_FUNNELED`: only the thread that joined calls it. That thread
//! is the first worker of the pool (`Workers::of_ranks`), so exchanges within a step are made by
//! worker 0, and every call checks it.

use std::sync::Mutex;
use std::thread::{self, ThreadId};

use mpi::collective::SystemOperation;
use mpi::datatype::{Equivalence, PartitionMut};
use mpi::environment::Universe;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use mpi::{Count, Threading};

use super::transport::Transport;
use crate::error::{Error, Result};

/// Most bytes of one collective call: MPI counts with 32 bits.
const MOST_BYTES: usize = Count::MAX as usize;

/// One rank of `MPI_COMM_WORLD`.
pub(super) struct MpiTransport {
    /// Ends MPI when it is dropped.
    universe: Mutex<Option<OnItsThread<Universe>>>,
    world: OnItsThread<SimpleCommunicator>,
    thread: ThreadId,
    rank: usize,
    size: usize,
    on_this_machine: usize,
}

/// A handle of the MPI library, which only one thread uses.
struct OnItsThread<T>(T);

// SAFETY: `MpiTransport` uses the handles only after `check_thread`: on the thread that made them.
unsafe impl<T> Send for OnItsThread<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for OnItsThread<T> {}

impl MpiTransport {
    /// Initializes MPI on the calling thread.
    pub(super) fn join() -> Result<Self> {
        let refused = |problem: String| Error::Resources(format!("cannot start MPI: {problem}"));
        let (universe, level) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| refused("it was started before".to_owned()))?;
        if level < Threading::Funneled {
            return Err(refused(format!(
                "the library allows threads at level {level:?}; needed: Funneled\n  help: use an MPI library that is built with support for threads"
            )));
        }
        let world = universe.world();
        let number = |number: Count| usize::try_from(number).unwrap_or(0);
        let (rank, size) = (number(world.rank()), number(world.size()));
        let on_this_machine = number(world.split_shared(world.rank()).size());
        Ok(Self {
            universe: Mutex::new(Some(OnItsThread(universe))),
            world: OnItsThread(world),
            thread: thread::current().id(),
            rank,
            size,
            on_this_machine,
        })
    }

    /// Returns the communicator.
    ///
    /// # Panics
    /// On another thread than the one that joined.
    fn world(&self) -> &SimpleCommunicator {
        self.check_thread();
        &self.world.0
    }

    fn check_thread(&self) {
        assert_eq!(
            thread::current().id(),
            self.thread,
            "only the thread that joined the ranks exchanges"
        );
    }

    /// Sends `bytes` of rank `root` to all others.
    fn broadcast_from(&self, root: usize, bytes: &mut [u8]) {
        let process = self.world().process_at_rank(root as Count);
        for part in bytes.chunks_mut(MOST_BYTES) {
            process.broadcast_into(part);
        }
    }

    /// Replaces `values` by the sums over all ranks. MPI gives all ranks the same bits.
    fn sum<T: Equivalence + Copy>(&self, values: &mut [T])
    where
        [T]: mpi::datatype::traits::BufferMut + mpi::datatype::traits::Buffer,
    {
        let own = values.to_vec();
        let parts = values.chunks_mut(MOST_BYTES).zip(own.chunks(MOST_BYTES));
        for (sums, own) in parts {
            self.world()
                .all_reduce_into(own, sums, SystemOperation::sum());
        }
    }
}

impl Transport for MpiTransport {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn on_this_machine(&self) -> usize {
        self.on_this_machine
    }

    fn all_gather(&self, own: &[u8], all: &mut [u8], lengths: &[usize]) {
        if all.len() > MOST_BYTES {
            // A call cannot count that many: one after the other, in pieces.
            let mut rest = all;
            for (rank, &length) in lengths.iter().enumerate() {
                let (part, others) = rest.split_at_mut(length);
                if rank == self.rank {
                    part.copy_from_slice(own);
                }
                self.broadcast_from(rank, part);
                rest = others;
            }
            return;
        }
        let counts: Vec<_> = lengths.iter().map(|&length| length as Count).collect();
        let starts = counts.iter().scan(0, |start, &count| {
            let this = *start;
            *start += count;
            Some(this)
        });
        let starts: Vec<Count> = starts.collect();
        let mut parts = PartitionMut::new(all, counts, starts);
        self.world().all_gather_varcount_into(own, &mut parts);
    }

    fn broadcast(&self, bytes: &mut [u8]) {
        self.broadcast_from(0, bytes);
    }

    fn sum_f32(&self, values: &mut [f32]) {
        self.sum(values);
    }

    fn sum_f64(&self, values: &mut [f64]) {
        self.sum(values);
    }

    fn abort(&self, code: u8) {
        // After a panic elsewhere this may be another thread; MPI ends the job all the same.
        self.world.0.abort(code.into());
    }

    fn close(&self) {
        self.check_thread();
        drop(self.universe.lock().expect("no panic holds it").take());
    }
}
