//! Divided differences: how a perturbation of one unit changes the loss.

pub mod base_values;
pub mod deep;
pub mod formulas;
pub mod one_layer;
