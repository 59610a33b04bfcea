//! The team of workers: the only place that names rayon.
//!
//! A [`Team`] is rayon's pool, installed once a run. [`Team::run`] puts one closure on some of its
//! threads, which then advance together in supersteps ([`circle`]): the barrier between them spins
//! briefly, then yields; between runs rayon parks the threads. Who computes a thing may depend on
//! the number of workers; what is computed never does.

#![allow(unsafe_code)]

pub mod circle;
pub mod cut;
pub mod pace;
pub mod processors;
pub mod team;

pub use circle::{Circle, Shared, Step};
pub use cut::cut_by_cost;
pub use pace::Pace;
pub use team::Team;
