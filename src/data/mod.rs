//! Data: named datasets, the user's own files, splits, scaling.
//!
//! A [`Dataset`] is what a file holds; a [`Part`] is some of its rows; a [`Split`] is what a run
//! trains, validates and tests on. Nothing here knows a network.

pub mod dataset;
pub mod samples;
pub mod source;

pub use dataset::{Dataset, Features, Part, Scaling, Split};
pub use samples::{Batch, Inputs, Samples};
pub use source::{DataConfig, Normalize, Share, Source};
