//! Kernels: every hot loop, over matrices stored in panels ([`panels`]).
//!
//! A kernel depends on its arguments only and gives the same bits on every machine: it uses
//! correctly rounded operations, explicit fused multiply-adds and this crate's elementary
//! functions.

#![allow(unsafe_code)]
// Register blocks are arrays indexed by two or three counters at once.
#![allow(clippy::needless_range_loop)]

pub mod divided_difference;
pub mod elementary;
pub mod matmul;
pub mod output_loss;
pub mod packed_inputs;
pub mod pages;
pub mod panels;
pub mod peak_rate;
pub mod scatter_add;
pub mod simd;
pub mod sparse;
pub mod tangent;
pub mod targets;
pub mod update;
pub mod value_sharing;

pub use simd::{Isa, Kernel, Vector};
