//! Operation counts of every gradient method, in closed form.

pub mod backprop;
pub mod dense_formulas;
pub mod finite_difference;
pub mod random_direction;
