//! The team of workers: the only place that names rayon.
//!
//! A [`Workers`] is rayon's pool, installed once a run. [`Workers::run`] starts one worker a seat, which
//! then advance together in supersteps ([`phased`]). As many threads carry them as there are
//! processors; the barrier between these spins briefly, then yields; between runs rayon parks
//! the threads. Who computes a thing may depend on the number of workers; what is computed never
//! does.

#![allow(unsafe_code)]

mod barrier;
pub mod partition;
pub mod phased;
pub mod processors;
pub mod tuner;
#[cfg(test)]
#[path = "../../tests/support/watchdog.rs"]
mod watchdog;
pub mod workers;

pub use partition::cut_by_cost;
pub use phased::{PhasedSlice, Superstep, Supersteps};
pub use tuner::Tuner;
pub use workers::Workers;
