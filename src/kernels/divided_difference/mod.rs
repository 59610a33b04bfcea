//! Divided differences: kernels that compute the change of the loss when one unit is perturbed.

pub mod base_values;
pub mod deep;
pub mod formulas;
mod lanes;
pub mod one_layer;
