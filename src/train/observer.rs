//! What a run tells while it goes on.

use super::{EpochRecord, TrainingState};
use crate::error::Result;

/// What watches a run.
pub trait Observer<R> {
    /// A few milliseconds of steps are done: epoch in progress (from 1), its rows done, all its
    /// rows.
    fn progress(&mut self, epoch: usize, rows: usize, of: usize);
    /// Whether [`Observer::state`] is to be called now, in the middle of an epoch: asked every few
    /// milliseconds of steps, so it has to be cheap.
    fn wants_state(&self) -> bool;
    /// Where the run stands, between two steps in the middle of an epoch: it can go on from there
    /// with the same bits.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn state(&mut self, state: &TrainingState<R>) -> Result<()>;
    /// An epoch is done.
    ///
    /// # Errors
    /// Whatever ends the run.
    fn epoch(&mut self, record: &EpochRecord, state: &TrainingState<R>) -> Result<()>;
}

/// An observer that looks away.
pub struct NoObserver;

impl<R> Observer<R> for NoObserver {
    fn progress(&mut self, _: usize, _: usize, _: usize) {}
    fn wants_state(&self) -> bool {
        false
    }
    fn state(&mut self, _: &TrainingState<R>) -> Result<()> {
        Ok(())
    }
    fn epoch(&mut self, _: &EpochRecord, _: &TrainingState<R>) -> Result<()> {
        Ok(())
    }
}
