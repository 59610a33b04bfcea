//! Number types: precisions, random streams, statistics and operation tallies.

pub mod output_loss;
pub mod random;
pub mod real;
pub mod statistics;
pub mod tally;

pub use real::{Precision, Real};
