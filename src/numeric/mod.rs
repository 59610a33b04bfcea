//! Numbers: the precision, every hot loop, operation counts, seeded streams.
//!
//! Everything here is a pure function of its arguments, with the same bits on every machine: only
//! correctly rounded operations, fused multiply-adds written out, elementary functions of our own.

#![allow(unsafe_code)]

pub mod random;
pub mod real;

pub use real::{Precision, Real};
