//! Numbers: the precision, every hot loop, operation counts, seeded streams.
//!
//! Everything here is a pure function of its arguments, with the same bits on every machine: only
//! correctly rounded operations, fused multiply-adds written out, elementary functions of our own.

#![allow(unsafe_code)]
// Register blocks are arrays indexed by two or three counters at once.
#![allow(clippy::needless_range_loop)]

pub mod change;
pub mod counting;
pub mod deep_tails;
pub mod distinct;
pub mod elementary;
pub mod head;
pub mod lines;
pub mod losses;
pub mod pages;
pub mod panels;
pub mod peak;
pub mod product;
pub mod random;
pub mod real;
pub mod simd;
pub mod sparse;
pub mod stats;
pub mod tails;
pub mod tally;
pub mod tangent;
pub mod update;

pub use real::{Precision, Real};
pub use simd::{Isa, Task, Vector};
