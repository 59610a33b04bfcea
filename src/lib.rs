//! **nplus1** trains small multilayer sigmoid networks and shows, by measurement, what a gradient
//! costs: one backward pass, or N + 1 forward passes.
//!
//! The modules form layers: a module imports only modules of lower layers, except that [`numeric`]
//! and [`kernels`] import each other and [mod@open] imports [`mod@error`].
//!
//! | layer | module | content |
//! |---|---|---|
//! | 0 | [`mod@error`] | Typed errors, each with an exit code. |
//! | 0 | [mod@open] | Opens the files that a user names: regular files, no waiting. |
//! | 0 | [`text`] | Text that is safe to print: control characters as pictures. |
//! | 0 | [`numeric`] | Precisions, kinds of output loss, random streams, statistics, tallies. |
//! | 0 | [`kernels`] | Every hot loop over SIMD vectors, with the same bits on every machine. |
//! | 1 | [`parallel`] | Worker pool, supersteps, partition of work; rayon's home. |
//! | 1 | [`data`] | Named datasets, the user's own files, splits, mini-batches. |
//! | 2 | [`model`] | Parameters θ, network topology, losses, initialization, inference. |
//! | 3 | [`textbook`] | Forward pass, loss, backprop, finite differences over any number type. |
//! | 4 | [`gradient`] | Gradient methods: backprop, differences, forward mode, random directions. |
//! | 4 | [`optimizer`] | Optimizers: the update of θ by a gradient. |
//! | 5 | [`gradient_check`] | Comparison of gradient methods with backprop within derived bounds. |
//! | 5 | [`train`] | The epoch loop: emits events, uses neither files nor a terminal. |
//! | 6 | [`config`] | TOML files read into a validated [`config::Config`]. |
//! | 6 | [mod@format] | Files that other programs read: models and gradients. |
//! | 7 | [`run`] | The directory of a run: metrics, checkpoints, lock. |
//! | 8 | [`study`] | Measurements that answer questions about gradients: cost, race, scaling. |
//! | 9 | [`explain`] | Worked examples, computed and counted with the textbook's code. |
//! | 10 | [`report`] | HTML pages of runs and studies, made from their files. |
//! | 11 | [`cli`] | The command line, one file or folder per command. |
//!
//! Four modules import less than the lower layers: [`parallel`] only [`mod@error`]; [`textbook`]
//! only [`model`] and [`numeric`]; [`optimizer`] only [`kernels`], [`model`] and [`numeric`];
//! [`report`] only [`mod@error`], [`explain`], [mod@format], [`numeric`], [mod@open], [`run`],
//! [`study`] and [`text`].
//! `tests/architecture.rs` checks all of this.

// `unwrap` is for tests: those in tests/ are separate crates, and clippy.toml allows it in unit
// tests.
#![warn(clippy::unwrap_used)]

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "config")]
pub mod config;
pub mod data;
pub mod error;
#[cfg(feature = "cli")]
pub mod explain;
pub mod format;
pub mod gradient;
pub mod gradient_check;
pub mod kernels;
pub mod model;
pub mod numeric;
pub mod open;
pub mod optimizer;
pub mod parallel;
#[cfg(feature = "cli")]
pub mod report;
pub mod run;
#[cfg(feature = "cli")]
pub mod study;
pub mod text;
pub mod textbook;
pub mod train;
