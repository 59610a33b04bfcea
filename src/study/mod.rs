//! Studies: questions about gradients that are answered by measuring, row by row.
//!
//! A study computes and keeps its rows; the command line asks and prints. What is measured here is
//! measured on the engines that train, never on code written for the study. Worked examples
//! ([`example`]) measure nothing: they compute and count.

pub mod example;
pub mod precision;
pub mod record;
pub mod table;
