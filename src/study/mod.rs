//! Studies: questions about gradients that are answered by measurements, row by row.
//!
//! A study computes and records its rows; the command line configures it and prints the results.
//! All measurements use the engines that train, never code written for a study. The worked examples
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
