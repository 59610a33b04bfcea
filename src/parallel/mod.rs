//! Parallel execution: a pool of workers, supersteps, work partitioned by cost, a tuner that
//! chooses the number of workers and what they divide, and the ranks of a cluster. Only this module
//! names rayon, except for one function of the textbook, and MPI.
//!
//! [`Workers`] wraps rayon's thread pool and is created once per run of the program.
//! [`Workers::run`] starts workers that advance together in supersteps ([`phased`]). A worker is a
//! thread, and there are no more of them than processors. Workers meet at a barrier that spins
//! briefly, then yields, then sleeps; between two calls of `run`, rayon parks the threads. The
//! number of workers may decide which thread computes a value, never the value itself.

#![allow(unsafe_code)]

mod barrier;
pub mod cluster;
mod evaluation_threads;
pub mod partition;
pub mod phased;
pub mod processors;
pub mod tuner;
#[cfg(test)]
#[path = "../../tests/support/watchdog.rs"]
mod watchdog;
pub mod workers;

pub use cluster::Ranks;
pub use evaluation_threads::EvaluationThreads;
pub(crate) use evaluation_threads::PanicFlag;
pub use partition::{Division, Split, partition_by_cost, partition_share, share_ends};
pub use phased::{PhasedSlice, Superstep, Supersteps};
pub use tuner::Tuner;
pub use workers::Workers;
