//! Datasets: named ones and the user's own files, splits, scaling.
//!
//! A [`Dataset`] is the content of a file; a [`Part`] is a selection of its rows; a [`Split`] has
//! the training, validation and test rows of a run. This module does not depend on networks.
//!
//! [`load`] reads the data that a config names; [`LoadedData::split`] and [`LoadedData::folds`]
//! divide its rows.

pub mod catalog;
pub mod classes;
pub mod csv;
pub mod dataset;
pub mod idx;
pub mod input;
pub mod loading;
pub mod samples;
pub mod scaling;
pub mod search_paths;
pub mod source;
pub mod split;
pub mod suggestions;

pub use dataset::{Dataset, Features, Part, Scaling, Split};
pub use loading::{LoadedData, load, load_for};
pub use samples::{Batch, InputDensity, Inputs, Samples};
pub use search_paths::SearchPaths;
pub use source::{DataConfig, DataSource, Normalize, Share};
