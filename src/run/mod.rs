//! The directory of a run: its lock, its files, and how they survive a crash.
//!
//! Whole files are replaced atomically, logs grow by whole lines, and a lock ensures that only one
//! process writes. Nothing here prints to a terminal or computes a gradient.

pub mod checkpoint;
pub mod cpu_caches;
pub mod directory;
pub mod environment;
pub mod evaluation;
pub mod json;
pub mod lock;
pub mod metrics;
pub mod summary;

pub use checkpoint::Checkpoint;
pub use directory::RunDirectory;
pub use environment::Environment;
pub use lock::Lock;
pub use metrics::Metrics;
pub use summary::RunSummary;
