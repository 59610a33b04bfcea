//! Data: named datasets, the user's own files, splits, scaling.
//!
//! A [`Dataset`] is what a file holds; a [`Part`] is some of its rows; a [`Split`] is what a run
//! trains, validates and tests on. Nothing here knows a network.
//!
//! [`load`] reads what a config names, [`LoadedData::split`] and [`LoadedData::folds`] share out its rows.

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
pub mod spelling;
pub mod split;

pub use dataset::{Dataset, Features, Part, Scaling, Split};
pub use loading::{LoadedData, load, load_for};
pub use samples::{Batch, InputDensity, Inputs, Samples};
pub use search_paths::SearchPaths;
pub use source::{DataConfig, DataSource, Normalize, Share};
