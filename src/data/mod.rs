//! Datasets: named ones, the user's own files and arrays; splits, scaling.
//!
//! A [`Dataset`] is the content of a file; a [`Part`] is a selection of its rows; a [`Split`] has
//! the training, validation and test rows of a run. This module does not depend on networks.
//!
//! [`load`] reads the data that a config names; [`LoadedData::split`] and [`LoadedData::folds`]
//! divide its rows.

#[cfg(feature = "files")]
mod array_files;
pub mod arrays;
#[cfg(feature = "files")]
pub mod catalog;
pub mod classes;
#[cfg(feature = "files")]
pub mod csv;
pub mod dataset;
#[cfg(feature = "files")]
pub mod idx;
#[cfg(feature = "files")]
pub mod input;
#[cfg(feature = "files")]
pub mod loading;
#[cfg(feature = "files")]
pub(crate) mod npy;
#[cfg(feature = "files")]
pub(crate) mod npz;
#[cfg(all(feature = "files", feature = "png"))]
mod pictures;
pub mod samples;
pub mod scaling;
pub mod schema;
#[cfg(feature = "files")]
pub mod search_paths;
pub mod source;
pub mod split;
#[cfg(feature = "files")]
pub mod suggestions;
pub mod table;
pub mod targets;
#[cfg(feature = "files")]
pub mod unlabeled;

pub use dataset::{Dataset, Features, LoadedData, Part, Scaling, Split};
#[cfg(feature = "files")]
pub use loading::{ExpectedData, load, load_again, load_for};
pub use samples::{Batch, InputDensity, Inputs, Samples};
pub use schema::{Missing, Schema, Unknown};
#[cfg(feature = "files")]
pub use search_paths::SearchPaths;
pub use source::{DataConfig, DataSource, Normalize, Share, TableOptions, Task};
pub use table::DataTable;
pub use targets::{GatheredTargets, RegressionTargets, TargetScaling};
#[cfg(feature = "files")]
pub use unlabeled::UnlabeledRows;
