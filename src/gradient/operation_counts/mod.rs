//! Closed-form operation counts of every gradient method.

pub mod backprop;
pub mod dense_formulas;
pub mod finite_difference;
pub mod random_direction;
