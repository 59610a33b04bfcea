//! A run's directory: who owns it, what is in it, how it survives a crash.
//!
//! Whole files are replaced atomically, logs grow by whole lines, and a lock says who writes.
//! Nothing here knows a terminal or computes a gradient.

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
