//! Functions that other programs compute, in any language: K long-lived copies of a command, asked
//! by lines of JSON.
//!
//! [`Program`] is such a function. `process.rs` runs a command in a process group that ends with this
//! process, whatever ends it; [`message`] is the protocol, which `docs/programs.md` describes;
//! `worker.rs` asks one copy, and [`Program`] gives the evaluation of a copy that fails to another
//! one, once. Every evaluation is in a [`journal`] before it counts, so that an interrupted gradient
//! goes on where it was.
//!
//! The module knows neither increments nor quotients: it is an
//! [`Objective`](crate::model::Objective).

pub mod journal;
pub mod message;
pub mod minimize;
mod pool;
mod process;
mod worker;

pub use journal::Journal;
pub use pool::{Evaluation, MessageSink, Notices, Program, ProgramSettings};
