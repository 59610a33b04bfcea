//! L-BFGS's loop: each iteration is a step and an epoch, over the whole training set, rows in order.
//!
//! An iteration costs one gradient, and one more for each trial step that the line search refuses.
//! One that is interrupted is given up, so a resumed run makes it again, with the same bits.

use std::time::Instant;

use super::{Ending, EpochResult, EpochSums, Observer, Training, TrainingState, refused};
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::gradient::{Stopped, TrainingEngine};
use crate::model::Parameters;
use crate::numeric::Real;
use crate::optimizer::lbfgs::Iteration;
use crate::optimizer::{LbfgsConfig, OptimizerState};
use crate::parallel::Tuner;

impl<R: Real> Training<'_, R> {
    /// One iteration from `state` on.
    pub(super) fn iterate(
        &self,
        config: &LbfgsConfig,
        state: &mut TrainingState<R>,
        engine: &mut dyn TrainingEngine<R>,
        pace: &mut Tuner,
        observer: &mut dyn Observer<R>,
    ) -> Result<Option<Ending>> {
        let mut history = match std::mem::take(&mut state.memory) {
            OptimizerState::History(history) => Some(history),
            _ => None,
        };
        let samples = self.samples;
        let batch = Batch {
            samples,
            rows: self.rows,
        };
        // One draw for all trial steps: the line search compares points of one function.
        engine.set_draw(self.draw(state));
        let mut gradients = 0;
        let mut begun = history.is_some();
        let start = Instant::now();
        let outcome = config.iterate(&mut state.parameters, &mut history, |theta, gradient| {
            let (workers, _) = pace.plan();
            engine.limit_workers(workers);
            let start = Instant::now();
            let found = engine.gradient(theta, batch, gradient, self.control);
            let evaluation = match found {
                // A trial step so far out that θ + h rounds to θ: too far, and nothing evaluated.
                Err(Stopped::Vanished { .. }) if begun => return Ok(f64::INFINITY),
                found => found?,
            };
            begun = true;
            gradients += 1;
            pace.record(1, start.elapsed());
            Ok::<_, Stopped>(evaluation.loss + self.network.penalty(theta))
        });
        let seconds = start.elapsed().as_secs_f64();
        let tally = engine.tally(samples, self.rows) * gradients;
        state.memory = history.map_or(OptimizerState::Nothing, OptimizerState::History);
        let step = match outcome {
            Ok(Iteration::Moved { step }) => step,
            Ok(end @ (Iteration::Converged | Iteration::Stuck)) => {
                // What found no step belongs to no epoch. Made again, it comes to the same.
                if gradients > 0 {
                    state.partial = EpochSums {
                        seconds,
                        tally,
                        ..EpochSums::default()
                    };
                }
                return Ok(Some(match end {
                    Iteration::Converged => Ending::Converged,
                    _ => Ending::Stuck,
                }));
            }
            Ok(Iteration::NotFinite) => return Err(self.never_finite(state)),
            Err(Stopped::Interrupted) => return Ok(Some(Ending::Interrupted)),
            Err(lost) => return Err(refused(lost)),
        };
        let OptimizerState::History(history) = &state.memory else {
            unreachable!("an iteration that moved θ has a history")
        };
        let epoch = EpochResult {
            learning_rate: step,
            train_loss: history.value - self.network.penalty(&state.parameters),
            gradient_norm: norm(&history.gradient),
            seconds,
            tally,
        };
        let converged = history.largest() <= config.tolerance;
        state.steps += 1;
        observer.progress(state.epoch + 1, self.rows.len(), self.rows.len());
        let ending = self.close(state, epoch, observer)?;
        Ok(if converged {
            Some(Ending::Converged)
        } else {
            ending
        })
    }

    fn never_finite(&self, state: &TrainingState<R>) -> Error {
        Error::Diverged(format!(
            "training cannot begin: the loss or its gradient is not finite at the first θ (epoch {})\n  help: start from smaller weights, or lower loss.l2 (it is {})",
            state.epoch + 1,
            self.network.l2
        ))
    }
}

/// ‖g‖₂.
pub(super) fn norm<R: Real>(gradient: &Parameters<R>) -> f64 {
    let squares = gradient.flat().iter().map(|g| g.to_f64().powi(2));
    squares.sum::<f64>().sqrt()
}
