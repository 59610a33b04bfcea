//! Files that other programs read, and the one way this crate reads and writes a whole file.
//!
//! Everything read here may be hostile: sizes are capped before memory is asked for, and content
//! that cannot be meant is refused with its place, never by a panic.

pub mod file;
pub mod gradient;
mod metadata;
pub mod model;
pub mod safetensors;

pub use model::{AnyParameters, Model};
