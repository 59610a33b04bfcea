//! Closed-form operation counts of every gradient method: each formula is here, and here only.
//!
//! [`backprop`], [`finite_difference`] and [`random_direction`] count what the kernels perform on
//! given rows, [`dense_formulas`] what a plain implementation performs.

pub mod backprop;
mod changes;
pub mod dense_formulas;
pub mod finite_difference;
pub mod random_direction;
mod shape;
