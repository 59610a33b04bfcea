//! **nplus1** trains small multilayer sigmoid networks and shows, by measurement, what a gradient
//! costs: one backward pass, or N + 1 forward passes.
//!
//! Data flows one way, and imports point only to the left:
//!
//! ```text
//! config → data → model → gradient → optimizer → train → run → study → report
//! ```
//!
//! | module | one idea |
//! |---|---|
//! | [mod@open] | the files that a user names: regular ones, opened without waiting |
//! | [`numeric`] | the precision, every hot loop, operation counts, seeded streams |
//! | [`parallel`] | the team of workers: the only place that names rayon |
//! | [`data`] | real datasets, the user's own files, mini-batches |
//! | [`model`] | parameters θ, network topology, losses, initialization |
//! | [`gradient`] | the gradient engines |
//! | [`optimizer`] | what turns a gradient into an update |
//! | [`train`] | the epoch loop: emits events, knows no files and no terminal |
//! | [`config`] | TOML → a validated [`config::Config`] |
//! | [mod@format] | files that other programs read |
//! | [`run`] | the run's directory |
//! | [`study`] | questions about gradients, answered by measuring |
//! | [`report`] | runs and studies → one HTML page each, from their files |
//! | [`cli`] | one file a command |
//! | [`text`] | text that is safe to show |

// `unwrap` is for tests: tests/ has its own crates, unit tests are let through by clippy.toml.
#![warn(clippy::unwrap_used)]

pub mod cli;
pub mod config;
pub mod data;
pub mod error;
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
pub mod report;
pub mod run;
pub mod study;
pub mod text;
pub mod textbook;
pub mod train;
