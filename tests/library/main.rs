//! Tests of the library: gradients, counts, bits, files and settings, without the program.
//!
//! They are one program because each test program is linked against the whole library.

#[path = "../support/mod.rs"]
mod support;

mod accuracy_curve;
mod adaptive_increments;
mod architecture;
mod bad_data;
mod change_formulas;
mod check_gradient;
mod check_power;
mod config_errors;
mod config_schema;
mod configs;
#[cfg(unix)]
mod corpus;
mod datasets;
mod dense_counts;
mod difference_agreement;
mod difference_counts;
mod difference_invariance;
mod export;
mod gradient_and_step;
mod gradient_check;
mod lbfgs_precision;
mod logistic;
mod long_steps;
mod noise;
mod objective;
mod odd_functions;
mod operation_counts;
mod optimizers;
mod random_direction_counts;
mod random_direction_statistics;
mod rank_invariance;
mod reference_gradients;
mod rmsprop;
mod run_directory;
mod safetensors;
mod splits;
mod standard_functions;
mod targets_and_weights;
mod thread_invariance;

/// Counts the allocations of each thread, for the tests that ask for none.
#[global_allocator]
static ALLOCATOR: support::allocations::ThreadCounter = support::allocations::ThreadCounter;
