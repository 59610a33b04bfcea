//! One epoch of steps over mini-batches.

use std::sync::Arc;
use std::time::Instant;

use super::lbfgs_loop::norm;
use super::minibatch_steps::Steps;
use super::{Ending, EpochResult, Observer, Training, TrainingState, refused};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gradient::Stopped;
use crate::model::Parameters;
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::Tuner;

impl<R: Real> Training<'_, R> {
    /// Trains one epoch, or the rest of it. Returns the reason if the run ends with it.
    pub(super) fn epoch(
        &self,
        state: &mut TrainingState<R>,
        steps: &mut dyn Steps<R>,
        tuner: &mut Tuner,
        order: &mut Vec<u32>,
        observer: &mut dyn Observer<R>,
    ) -> Result<Option<Ending>> {
        let batch = self.config.batch_size.min(self.rows.len());
        let factor = match self.optimizer.schedule() {
            Some(schedule) => schedule.factor(state.epoch, self.epochs()),
            None => 1.0,
        };
        let start = Instant::now();
        self.shuffle(state.epoch, order);
        state.partial.seconds += self.agree(start.elapsed())?.as_secs_f64();

        let mut end = self.epoch_end(state, batch);
        let last = end - 1 - (end - 1) % batch;
        let mut gradient_norm = None;
        while state.partial.rows < end {
            let done = state.partial.rows;
            if done == last && gradient_norm.is_none() {
                gradient_norm = self.gradient_norm(steps, state, &order[last..end])?;
                if gradient_norm.is_none() {
                    return Ok(Some(Ending::Interrupted));
                }
            }
            let (division, planned) = tuner.plan();
            let until = if done < last { last } else { end };
            let rows = (planned * batch).min(until - done);
            let start = Instant::now();
            let order = &order[done..done + rows];
            let seed = self.direction_seed(state);
            let segment = self.segment(order, factor, division, seed, self.control);
            let loss = &mut state.partial.loss;
            let rows = steps.advance(segment, loss).map_err(refused)?;
            let step_count = rows.div_ceil(batch);
            let elapsed = self.agree(start.elapsed())?;
            if step_count > 0 {
                tuner.record(step_count, elapsed);
            }
            state.partial.seconds += elapsed.as_secs_f64();
            state.partial.rows += rows;
            state.steps += step_count as u64;
            if !state.partial.loss.is_finite() {
                return Err(self.diverged(state));
            }
            observer.progress(state.epoch + 1, state.partial.rows, self.rows.len());
            if state.partial.rows < end && (self.is_time_up(state) || self.control.is_stopped()) {
                steps.store(&mut state.parameters, &mut state.optimizer_state);
                if self.control.is_stopped() {
                    return Ok(Some(Ending::Interrupted));
                }
                end = state.partial.rows;
            } else if state.partial.rows < end && observer.wants_state() {
                steps.store(&mut state.parameters, &mut state.optimizer_state);
                observer.state(state)?;
            }
        }
        steps.store(&mut state.parameters, &mut state.optimizer_state);
        self.check_parameters(state)?;
        let sums = std::mem::take(&mut state.partial);
        let mut tally = Tally::default();
        for rows in order[..end].chunks(batch) {
            tally += steps.engine().tally(self.samples, rows);
        }
        let rate = self.optimizer.learning_rate().unwrap_or(1.0) * factor;
        let epoch = EpochResult {
            learning_rate: R::from_f64(rate).to_f64(),
            train_loss: sums.loss / sums.rows as f64,
            gradient_norm: gradient_norm.unwrap_or(0.0),
            seconds: sums.seconds,
            tally,
        };
        self.close(state, epoch, observer)
    }

    /// Returns the number of rows after which the epoch in progress ends: all, unless the run ends
    /// before by its number of steps.
    fn epoch_end(&self, state: &TrainingState<R>, batch: usize) -> usize {
        let all = self.rows.len();
        let Some(steps) = self.config.max_steps else {
            return all;
        };
        let left = usize::try_from(steps - state.steps).unwrap_or(usize::MAX);
        let end = (state.partial.rows).saturating_add(left.saturating_mul(batch));
        all.min(end)
    }

    /// Returns whether the run has used up its time.
    fn is_time_up(&self, state: &TrainingState<R>) -> bool {
        let limit = self.config.max_seconds;
        limit.is_some_and(|limit| state.seconds() >= limit)
    }

    /// Refuses θ if it has diverged.
    fn check_parameters(&self, state: &TrainingState<R>) -> Result<()> {
        let Some(index) = state.parameters.flat().iter().position(|x| !x.is_finite()) else {
            return Ok(());
        };
        let name = self.network.layout.name(index);
        Err(Error::Diverged(format!(
            "{} ({name} is not finite)",
            self.diverged(state)
        )))
    }

    /// Returns ‖∂L/∂θ‖₂ over `rows`, computed outside the timed part; `None` if it was interrupted.
    /// `state` is up to date afterwards.
    fn gradient_norm(
        &self,
        steps: &mut dyn Steps<R>,
        state: &mut TrainingState<R>,
        rows: &[u32],
    ) -> Result<Option<f64>> {
        steps.store(&mut state.parameters, &mut state.optimizer_state);
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let batch = Batch {
            samples: self.samples,
            rows,
        };
        // This gradient is monitoring: its evaluations are not added to the run's counter.
        let control = self.control.with_new_counter();
        let engine = steps.engine();
        engine.set_direction_seed(self.direction_seed(state));
        match engine.gradient(&state.parameters, batch, &mut gradient, &control) {
            Ok(_) => {}
            Err(Stopped::Interrupted) => return Ok(None),
            Err(stopped) => return Err(refused(stopped)),
        }
        Ok(Some(norm(&gradient)))
    }
}
