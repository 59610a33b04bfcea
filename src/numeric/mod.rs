//! Precisions, kinds of output loss, random streams, statistics and operation counts.

pub mod output_loss;
pub mod random;
pub mod real;
pub mod statistics;
pub mod tally;

pub use real::{Precision, Real};
