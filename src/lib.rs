//! **nplus1** trains small multilayer sigmoid networks and shows, by measurement, what a gradient
//! costs: one backward pass, or N + 1 forward passes.
//!
//! # The front door
//!
//! Train on arrays and predict ([`Trainer`], [`Model`]):
//!
//! ```
//! use ndarray::array;
//! use nplus1::{Dataset, Model, Trainer};
//!
//! let x = array![[5.1, 3.5], [4.9, 3.0], [7.0, 3.2], [6.4, 3.2]];
//! let labels = ["setosa", "setosa", "versicolor", "versicolor"];
//! let data = Dataset::from_arrays(x.view(), &labels)?;
//! let model = Trainer::new().hidden([30]).learning_rate(0.5).epochs(30).fit(&data)?;
//! let x_new = array![[5.0, 3.4], [6.6, 3.1]];
//! let classes = model.predict(x_new.view())?;
//! assert_eq!(classes, ["setosa", "versicolor"]);
//! # Ok::<(), nplus1::error::Error>(())
//! ```
//!
//! Differentiate any function, by N + 1 evaluations on all cores ([`finite_difference`]):
//!
//! ```
//! use nplus1::finite_difference;
//!
//! let g = finite_difference::forward(
//!     |theta| (1.0 - theta[0]).powi(2) + 100.0 * (theta[1] - theta[0].powi(2)).powi(2),
//!     &[-1.2, 1.0],
//! )?;
//! assert!((g[0] - -215.6).abs() < 1e-4);
//! # Ok::<(), nplus1::error::Error>(())
//! ```
//!
//! Check a gradient that you wrote ([`check_gradient`]):
//!
//! ```
//! use nplus1::{Verdict, check_gradient};
//!
//! let f = |theta: &[f64]| theta[0].exp() + theta[0] * theta[1];
//! let theta = [0.5, 2.0];
//! let my_gradient = [0.5f64.exp() + 2.0, 0.5];
//! match check_gradient(f, &my_gradient, &theta)? {
//!     Verdict::Right { smallest_error, .. } => assert!(smallest_error < 1e-6),
//!     Verdict::Wrong { worst, .. } => panic!("element {} is wrong", worst.index),
//!     Verdict::CannotTell { noise, .. } => panic!("the function's noise is {noise}"),
//! }
//! # Ok::<(), nplus1::error::Error>(())
//! ```
//!
//! Without the default feature `cli`, the crate is the library alone: `default-features = false`;
//! `files` adds datasets in files, `config` settings in TOML, `export` models as C, Rust, ONNX and NPZ.
//!
//! # Layers
//!
//! The modules form layers: a module imports only modules of lower layers, except that [`numeric`]
//! and [`kernels`] import each other, and [mod@open] and [`memory`] import [`mod@error`].
//!
//! | layer | module | content |
//! |---|---|---|
//! | 0 | [`mod@error`] | Typed errors, each with an exit code. |
//! | 0 | [mod@open] | Opens the files that a user names: regular files, no waiting. |
//! | 0 | [`memory`] | The memory that is left, and buffers refused before they fail. |
//! | 0 | [`text`] | Text that is safe to print: control characters as pictures. |
//! | 0 | [`numeric`] | Precisions, kinds of output loss, random streams, statistics, tallies. |
//! | 0 | [`kernels`] | Every hot loop over SIMD vectors, with the same bits on every machine. |
//! | 1 | [`parallel`] | Worker pool, supersteps, partition of work, on rayon. |
//! | 1 | [`data`] | Named datasets, the user's own files, splits, mini-batches. |
//! | 2 | [`model`] | Parameters θ, network topology, losses, initialization, inference. |
//! | 3 | [`textbook`] | Forward pass, loss, backprop, finite differences over any number type. |
//! | 4 | [`gradient`] | Gradient methods: backprop, differences, forward mode, random directions. |
//! | 4 | [`optimizer`] | Optimizers: the update of θ by a gradient. |
//! | 5 | [`gradient_check`] | Comparison of gradient methods with backprop within derived bounds. |
//! | 5 | [`train`] | The epoch loop: emits events, uses neither files nor a terminal. |
//! | 6 | [`config`] | TOML files read into a validated [`config::Config`]. |
//! | 6 | [mod@format] | Files that other programs read: models and gradients. |
//! | 7 | [`api`] | The front door: train, predict, evaluate, save and load, on arrays. |
//! | 7 | [`program`] | Functions that other programs compute: workers, protocol, journal. |
//! | 7 | [`run`] | The directory of a run: metrics, checkpoints, lock. |
//! | 8 | [`study`] | Measurements that answer questions about gradients: cost, race, scaling. |
//! | 9 | [`explain`] | Worked examples, computed and counted with the textbook's code. |
//! | 10 | [`report`] | HTML pages of runs and studies, made from their files. |
//! | 11 | [`cli`] | The command line, one file or folder per command. |
//!
//! Four modules import less than the lower layers: [`parallel`] only [`mod@error`]; [`textbook`]
//! only [`model`] and [`numeric`]; [`optimizer`] only [`kernels`], [`model`] and [`numeric`];
//! [`report`] only [`mod@error`], [`explain`], [mod@format], [`memory`], [`numeric`], [mod@open], [`parallel`],
//! [`run`], [`study`] and [`text`].
//! `tests/library/architecture.rs` checks all of this.

// `unwrap` is for tests: those in tests/ are separate crates, and clippy.toml allows it in unit
// tests.
#![warn(clippy::unwrap_used)]

pub mod api;
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
pub mod memory;
pub mod model;
pub mod numeric;
pub mod open;
pub mod optimizer;
pub mod parallel;
#[cfg(all(unix, feature = "cli"))]
pub mod program;
#[cfg(feature = "cli")]
pub mod report;
pub mod run;
#[cfg(feature = "cli")]
pub mod study;
pub mod text;
pub mod textbook;
pub mod train;

pub use api::{TrainedModel, Trainer};
pub use data::Dataset;
pub use error::{Error, Result};
pub use format::Model;
pub use gradient::finite_difference;
pub use gradient_check::{Verdict, check_gradient};
