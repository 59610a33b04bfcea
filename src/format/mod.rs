//! Model, gradient and vector files, which other programs can read, and the reading and atomic writing of
//! whole files.
//!
//! Input may be hostile: sizes are limited before memory is allocated, and invalid content is
//! refused with its place, without a panic.

pub mod disk;
#[cfg(feature = "export")]
pub mod export;
pub mod file;
pub mod gradient;
mod metadata;
pub mod model;
pub mod npy;
#[cfg(feature = "export")]
mod npz;
pub mod safetensors;
#[cfg(feature = "files")]
pub mod vector;

pub use model::{AnyParameters, Model};
