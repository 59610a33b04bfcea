//! How long a run will take, before it has begun: its epochs, and the seconds of a step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::minibatch_steps::Steps;
use super::{Training, refused};
use crate::data::Batch;
use crate::error::Result;
use crate::gradient::random_direction::DirectionSeed;
use crate::gradient::{Control, Stopped};
use crate::model::Parameters;
use crate::numeric::Real;
use crate::optimizer::{OptimizerConfig, OptimizerState};

impl<R: Real> Training<'_, R> {
    /// Epochs of the whole run, a fraction where steps bound it.
    pub fn epochs(&self) -> f64 {
        let steps = self
            .config
            .max_steps
            .map(|steps| steps as f64 / self.steps_per_epoch() as f64);
        let epochs = self.config.epochs.map(|epochs| epochs as f64);
        steps.or(epochs).unwrap_or(f64::INFINITY)
    }

    /// Seconds that a step will take from θ = `parameters` on, measured for about `budget`: the
    /// gradient of the first mini-batch, broken off where it takes longer, and the rest of its
    /// evaluations taken to be as fast; steps at a rate of 0 where many fit in. An iteration of
    /// L-BFGS is taken for one gradient, which is what most of them need.
    ///
    /// # Errors
    /// [`Usage`](crate::error::Error::Usage) if there is no such gradient: an increment is lost in θ.
    pub fn seconds_a_step(&self, parameters: &Parameters<R>, budget: Duration) -> Result<f64> {
        let rows = &self.rows[..self.config.batch_size.min(self.rows.len())];
        let mut engine = self.engine();
        let batch = Batch {
            samples: self.samples,
            rows,
        };
        let planned = engine.tally(self.samples, rows).passes();
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let quick = match self.optimizer {
            OptimizerConfig::Lbfgs(_) => 0.0,
            _ => budget.as_secs_f64() / 30.0,
        };
        let seconds = of_gradients(budget, planned, quick, |budget| {
            let start = Instant::now();
            let (outcome, made) = self.control.for_at_most(budget, |control| {
                let outcome = engine.gradient(parameters, batch, &mut gradient, control);
                (outcome, control.evaluations())
            });
            let taken = start.elapsed().as_secs_f64();
            if self.control.is_stopped() {
                return Err(refused(Stopped::Interrupted));
            }
            let whole = match outcome {
                Ok(_) => true,
                Err(Stopped::Interrupted) => false,
                Err(lost) => return Err(refused(lost)),
            };
            Ok(Lap { taken, whole, made })
        })?;
        match self.steps(engine) {
            Ok(steps) if seconds < quick => self.seconds_of_steps(steps, parameters, budget),
            _ => Ok(seconds),
        }
    }

    /// Seconds of a step in a run of steps that leave θ = `parameters` where it is.
    fn seconds_of_steps(
        &self,
        mut stepper: Box<dyn Steps<R>>,
        parameters: &Parameters<R>,
        budget: Duration,
    ) -> Result<f64> {
        let batch = self.config.batch_size.min(self.rows.len());
        let most = self.rows.len().div_ceil(batch);
        let control = Control::default();
        let workers = stepper.engine().most_workers();
        stepper.load(parameters, &OptimizerState::Nothing);
        of_steps(budget, most, |steps| {
            let order = &self.rows[..(steps * batch).min(self.rows.len())];
            let segment = self.segment(order, 0.0, workers, DirectionSeed::default(), &control);
            let start = Instant::now();
            stepper.advance(segment, &mut 0.0).map_err(refused)?;
            Ok(start.elapsed().as_secs_f64())
        })
    }
}

/// A gradient that was made, or begun.
struct Lap {
    /// Seconds.
    taken: f64,
    /// Whether it came to its end.
    whole: bool,
    /// Evaluations that were made.
    made: u64,
}

/// Seconds of a gradient of `planned` evaluations: the fewest that one took in about `budget`, ended
/// sooner by one that takes less than `quick`; of one that is broken off, its share tells the rest.
/// `measure` is given the time that a gradient may take.
fn of_gradients(
    mut budget: Duration,
    planned: u64,
    quick: f64,
    mut measure: impl FnMut(Duration) -> Result<Lap>,
) -> Result<f64> {
    let (mut least, mut spent) = (f64::INFINITY, 0.0);
    loop {
        let lap = measure(budget)?;
        spent += lap.taken;
        if lap.whole {
            least = least.min(lap.taken);
        } else if least.is_infinite() && lap.made > 0 {
            least = lap.taken * planned as f64 / lap.made as f64;
        } else if least.is_infinite() {
            // Not one evaluation is done: more time.
            budget *= 2;
        }
        if least < quick || (least.is_finite() && spent >= budget.as_secs_f64()) {
            return Ok(least);
        }
    }
}

/// Seconds of a step: the fewest in about `budget`, over runs of so many steps that each takes a tenth of
/// it, or of `most`. `measure` makes a number of steps and says how long they took.
fn of_steps(
    budget: Duration,
    most: usize,
    mut measure: impl FnMut(usize) -> Result<f64>,
) -> Result<f64> {
    let budget = budget.as_secs_f64();
    let (mut steps, mut least, mut spent) = (1, f64::INFINITY, 0.0);
    while spent < budget {
        let taken = measure(steps)?;
        spent += taken;
        least = least.min(taken / steps as f64);
        if taken < budget / 10.0 {
            steps = (2 * steps).min(most);
        }
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(300);

    /// A machine that takes `evaluation` seconds for each evaluation of a gradient of `planned`, and
    /// breaks off where its time is over; the first gradient takes three times as long.
    fn predicted(evaluation: f64, planned: u64, quick: f64) -> (f64, usize) {
        let mut laps = 0;
        let found = of_gradients(BUDGET, planned, quick, |budget| {
            laps += 1;
            let each = if laps == 1 {
                3.0 * evaluation
            } else {
                evaluation
            };
            let made = ((budget.as_secs_f64() / each) as u64).min(planned);
            Ok(Lap {
                taken: (planned as f64 * each).min(budget.as_secs_f64()),
                whole: made == planned,
                made,
            })
        });
        (found.unwrap(), laps)
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found / expected - 1.0).abs() < 1e-9,
            "{found}, not {expected}"
        );
    }

    #[test]
    fn a_gradient_is_predicted_by_the_fastest_that_fits_into_the_budget() {
        // .03 s, then .01 s until .3 s are over.
        let (seconds, laps) = predicted(1e-5, 1000, 0.0);
        close(seconds, 0.01);
        assert!((28..=29).contains(&laps), "{laps}");
        // A quick one ends it.
        assert_eq!(predicted(1e-5, 1000, 0.02), (0.01, 2));
    }

    #[test]
    fn a_gradient_that_is_broken_off_is_predicted_by_its_share() {
        // 10 of 1000 evaluations at .03 s each.
        let (seconds, laps) = predicted(0.01, 1000, 0.0);
        close(seconds, 30.0);
        assert_eq!(laps, 1);
        // Not one in .3, .6 or 1.2 s, but in the first that may take longer.
        let (seconds, laps) = predicted(1.0, 50, 0.0);
        close(seconds, 60.0);
        assert_eq!(laps, 3);
    }

    #[test]
    fn a_step_is_predicted_by_the_fastest_run_of_steps() {
        // 1 ms to begin a run, and 10 µs a step: the longer the run, the less the beginning counts.
        let mut runs = Vec::new();
        let run = |steps: usize| {
            runs.push(steps);
            Ok(1e-3 + 1e-5 * steps as f64)
        };
        let seconds = of_steps(BUDGET, 64, run).unwrap();
        close(seconds, 1e-5 + 1e-3 / 64.0);
        assert_eq!(runs[..8], [1, 2, 4, 8, 16, 32, 64, 64]);
        let spent: f64 = runs.iter().map(|&steps| 1e-3 + 1e-5 * steps as f64).sum();
        assert!((0.3..0.302).contains(&spent), "{spent}");
        // Steps that take a tenth of the budget each are not made in runs.
        let slow = |steps: usize| {
            assert_eq!(steps, 1);
            Ok(0.03)
        };
        close(of_steps(BUDGET, 64, slow).unwrap(), 0.03);
    }
}
