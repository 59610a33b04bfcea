//! Studies: questions about gradients that are answered by measuring, row by row.
//!
//! A study computes and keeps its rows; the command line asks and prints. What is measured here is
//! measured on the engines that train, never on code written for the study. Worked examples
//! ([`crate::explain`]) measure nothing: they compute and count.

pub mod comparison;
pub mod cost;
pub mod fits;
pub mod lbfgs_precision;
pub mod least_squares;
pub mod machine_peaks;
pub mod methods;
pub mod race;
pub mod record;
pub mod scaling;
pub mod sweep;
pub mod table;
pub mod timing;
