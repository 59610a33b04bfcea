//! Observer of a training run.

use super::{EpochRecord, TrainingState};
use crate::error::Result;

/// Receiver of a run's events.
pub trait Observer<R> {
    /// Reports progress, every few milliseconds of steps: the epoch in progress (from 1), its rows
    /// done, the number of all its rows.
    fn progress(&mut self, epoch: usize, rows: usize, of: usize);
    /// Returns true if [`Observer::state`] should be called now, in the middle of an epoch. It is
    /// called every few milliseconds of steps, so it must be cheap.
    fn wants_state(&self) -> bool;
    /// Receives the state between two steps in the middle of an epoch. A run that continues from it
    /// has the same bits.
    ///
    /// # Errors
    /// Any error; it ends the run.
    fn state(&mut self, state: &TrainingState<R>) -> Result<()>;
    /// Receives the record of an epoch that is done, and the state after it.
    ///
    /// # Errors
    /// Any error; it ends the run.
    fn epoch(&mut self, record: &EpochRecord, state: &TrainingState<R>) -> Result<()>;
}

/// Observer that ignores all events.
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
