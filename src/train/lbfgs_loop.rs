//! The training loop of L-BFGS: each iteration is one step and one epoch, over the whole training
//! set, rows in order.
//!
//! An iteration costs one gradient, and one more for each trial step that the line search rejects.
//! An interrupted iteration is discarded; a resumed run repeats it, with the same bits.

use std::time::Instant;

use super::minibatch_steps::divide;
use super::{Ending, EpochResult, EpochSums, Observer, Training, TrainingState, refused};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gradient::{Stopped, TrainingEngine};
use crate::model::Parameters;
use crate::numeric::Real;
use crate::optimizer::history::largest;
use crate::optimizer::lbfgs::Iteration;
use crate::optimizer::{History, LbfgsConfig, OptimizerState};
use crate::parallel::Tuner;

impl<R: Real> Training<'_, R> {
    /// Makes one iteration from `state` on. Returns the reason if the run ends with it.
    pub(super) fn iterate(
        &self,
        config: &LbfgsConfig,
        state: &mut TrainingState<R>,
        engine: &mut dyn TrainingEngine<R>,
        tuner: &mut Tuner,
        observer: &mut dyn Observer<R>,
    ) -> Result<Option<Ending>> {
        let mut history = History::from_state(std::mem::take(&mut state.optimizer_state));
        let (samples, rows) = (self.samples, self.rows);
        let batch = Batch { samples, rows };
        // The same random directions for all trial steps: the line search compares points of one
        // function.
        engine.set_direction_seed(self.direction_seed(state));
        let mut gradients = 0;
        let mut has_gradient = history.is_some();
        let start = Instant::now();
        let outcome = config.iterate(&mut state.parameters, &mut history, |theta, gradient| {
            let (division, _) = tuner.plan();
            divide(engine, division);
            engine.limit_workers(division.workers);
            let start = Instant::now();
            let gradient_result = engine.gradient(theta, batch, gradient, self.control);
            let evaluation = match gradient_result {
                // The trial step is so long that θ + h rounds to θ: it is rejected unevaluated.
                Err(Stopped::Vanished { .. }) if has_gradient => return Ok(f64::INFINITY),
                result => result?,
            };
            has_gradient = true;
            gradients += 1;
            let elapsed = self.agree(start.elapsed());
            tuner.record(1, elapsed.map_err(|_| Stopped::Interrupted)?);
            Ok::<_, Stopped>(evaluation.loss + self.network.penalty(theta))
        });
        let seconds = self.agree(start.elapsed())?.as_secs_f64();
        let tally = engine.tally(samples, rows) * gradients;
        state.optimizer_state = history.map_or_else(OptimizerState::default, Into::into);
        let step = match outcome {
            Ok(Iteration::Moved { step }) => step,
            Ok(outcome @ (Iteration::Converged | Iteration::Stuck)) => {
                // A search without a step belongs to no epoch. Repeated, it gives the same result.
                if gradients > 0 {
                    state.partial = EpochSums {
                        seconds,
                        tally,
                        ..EpochSums::default()
                    };
                }
                return Ok(Some(match outcome {
                    Iteration::Converged => Ending::Converged,
                    _ => Ending::Stuck,
                }));
            }
            Ok(Iteration::NotFinite) => return Err(self.not_finite_at_start(state)),
            Err(Stopped::Interrupted) => return Ok(Some(Ending::Interrupted)),
            Err(stopped) => return Err(refused(stopped)),
        };
        let Some(gradient) = History::gradient_in(&state.optimizer_state) else {
            unreachable!("after a step there is a history")
        };
        let epoch = EpochResult {
            learning_rate: step,
            train_loss: state.optimizer_state.value - self.network.penalty(&state.parameters),
            gradient_norm: norm(gradient),
            seconds,
            tally,
        };
        let converged = largest(gradient) <= config.tolerance;
        state.steps += 1;
        observer.progress(state.epoch + 1, rows.len(), rows.len());
        let ending = self.close(state, epoch, observer)?;
        // A run that is resumed finds the same convergence again.
        Ok(if converged && state.unevaluated.is_none() {
            Some(Ending::Converged)
        } else {
            ending
        })
    }

    /// Returns the error for a loss or gradient that is not finite at the initial θ.
    fn not_finite_at_start(&self, state: &TrainingState<R>) -> Error {
        Error::Diverged(format!(
            "training cannot start: the loss or its gradient is not finite at the initial θ (epoch {})\n  help: start from smaller weights, or lower loss.l2 (it is {})",
            state.epoch + 1,
            self.network.l2
        ))
    }
}

/// Returns ‖g‖₂.
pub(super) fn norm<R: Real>(gradient: &Parameters<R>) -> f64 {
    let squares = gradient.flat().iter().map(|g| g.to_f64().powi(2));
    squares.sum::<f64>().sqrt()
}
