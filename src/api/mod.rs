//! The front door: train on arrays, predict, evaluate, save and load, each in one call.
//!
//! [`Trainer`] sets up what a config sets up for `nplus1 train`, and runs the same loop: equal
//! settings and data give equal weights, bit by bit. [`Model`](crate::format::Model) gets its
//! methods here; `nplus1 eval` uses the same code. What callers pass is checked here, and refused as
//! [`InputError`](crate::error::InputError).

#[cfg(feature = "export")]
mod export;
mod model;
mod predictor;
mod settings;
mod trainer;

pub use predictor::Predictor;
pub use trainer::{TrainedModel, Trainer};
