//! Studies: questions about gradients that are answered by measuring, row by row.
//!
//! A study computes and keeps its rows; the command line asks and prints. What is measured here is
//! measured on the engines that train, never on code written for the study. Worked examples
//! ([`example`]) measure nothing: they compute and count.

pub mod accuracy;
pub mod comparison;
pub mod cost;
pub mod example;
pub mod findings;
pub mod fits;
pub mod formulas;
pub mod llsq;
pub mod memory;
pub mod method;
pub mod peaks;
pub mod precision;
pub mod race;
pub mod record;
pub mod scaling;
pub mod standings;
pub mod table;
pub mod timing;
