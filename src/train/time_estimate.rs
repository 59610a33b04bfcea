//! Estimate of a run's duration before it starts: the number of epochs, and the seconds per step.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::minibatch_steps::Steps;
use super::{Stepper, Training, refused};
use crate::data::Batch;
use crate::error::Result;
use crate::gradient::random_direction::DirectionSeed;
use crate::gradient::{Control, Stopped};
use crate::model::Parameters;
use crate::numeric::Real;
use crate::optimizer::{Method, OptimizerState};
use crate::parallel::Division;

/// Products of a parameter and a row in a measured evaluation: some tens of milliseconds.
const MEASURED_PRODUCTS: usize = 1 << 30;
/// Least rows of a measured evaluation, unless the mini-batch has fewer: with these, an update costs
/// little beside the products.
const LEAST_ROWS: usize = 16;

impl<R: Real> Training<'_, R> {
    /// Returns the number of epochs of the whole run: a fraction if the number of steps is limited,
    /// infinite if neither is.
    pub fn epochs(&self) -> f64 {
        let steps = self
            .config
            .max_steps
            .map(|steps| steps as f64 / self.steps_per_epoch() as f64);
        let epochs = self.config.epochs.map(|epochs| epochs as f64);
        steps.or(epochs).unwrap_or(f64::INFINITY)
    }

    /// Measures, for about `budget`, the seconds that a step takes at θ = `parameters`.
    ///
    /// A gradient of the first mini-batch is timed. If it exceeds the budget, it is interrupted,
    /// and its other evaluations are assumed to be as fast. If it is much faster than the budget,
    /// whole steps at a learning rate of 0 are timed instead. If an evaluation of the mini-batch takes
    /// long, one of fewer rows is timed, and the time of the whole is estimated from the operations.
    /// An iteration of L-BFGS counts as one gradient, which is what most iterations need.
    ///
    /// # Errors
    /// [`Usage`](crate::error::Error::Usage) if the gradient cannot be computed: an increment is
    /// lost in θ by rounding, or the run is stopped.
    pub fn measure_seconds_per_step(
        &self,
        parameters: &Parameters<R>,
        budget: Duration,
    ) -> Result<f64> {
        let whole = &self.rows[..self.config.batch_size.min(self.rows.len())];
        let affordable = MEASURED_PRODUCTS / self.network.layout.len();
        let rows = &whole[..whole.len().min(affordable.max(LEAST_ROWS))];
        let mut engine = self.engine_for(rows.len());
        let batch = Batch {
            samples: self.samples,
            rows,
        };
        let planned = engine.tally(self.samples, rows).passes();
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let quick = match self.optimizer.method::<R>() {
            Method::LineSearch(_) => 0.0,
            Method::Fused(_) | Method::Steps(_) => budget.as_secs_f64() / 30.0,
        };
        let seconds = of_gradients(budget, planned, quick, |budget| {
            let start = Instant::now();
            let (outcome, evaluated) = self.control.for_at_most(budget, |control| {
                let outcome = engine.gradient(parameters, batch, &mut gradient, control);
                (outcome, control.evaluations())
            });
            let seconds = start.elapsed().as_secs_f64();
            if self.control.is_stopped() {
                return Err(refused(Stopped::Interrupted));
            }
            let complete = match outcome {
                Ok(_) => true,
                Err(Stopped::Interrupted) => false,
                Err(stopped) => return Err(refused(stopped)),
            };
            Ok(GradientTiming {
                seconds,
                complete,
                evaluations: evaluated,
            })
        })?;
        if rows.len() < whole.len() {
            let operations = |rows| engine.tally(self.samples, rows).multiplications as f64;
            return Ok(seconds * operations(whole) / operations(rows));
        }
        if seconds < quick
            && let Stepper::Minibatches(steps) = self.stepper(engine)
        {
            return self.seconds_of_steps(steps, parameters, budget);
        }
        Ok(seconds)
    }

    /// Measures the seconds per step over steps of learning rate 0, which leave θ = `parameters`
    /// unchanged: with the most workers and with one in turns, since beside other processes one is
    /// faster, and the tuner will find that out.
    fn seconds_of_steps(
        &self,
        mut stepper: Box<dyn Steps<R> + '_>,
        parameters: &Parameters<R>,
        budget: Duration,
    ) -> Result<f64> {
        let batch = self.config.batch_size.min(self.rows.len());
        let most = self.rows.len().div_ceil(batch);
        let control = Control::default();
        let mut workers = [stepper.engine().most_workers(), 1];
        stepper.load(parameters, &OptimizerState::default());
        of_steps(budget, most, |steps| {
            workers.swap(0, 1);
            let division = Division {
                split: self.split,
                workers: workers[1],
            };
            let order = &self.rows[..(steps * batch).min(self.rows.len())];
            let segment = self.segment(order, 0.0, division, DirectionSeed::default(), &control);
            let start = Instant::now();
            stepper.advance(segment, &mut 0.0).map_err(refused)?;
            Ok(start.elapsed().as_secs_f64())
        })
    }
}

/// Duration of a gradient, complete or interrupted.
struct GradientTiming {
    /// Duration in seconds.
    seconds: f64,
    /// Whether the gradient was completed.
    complete: bool,
    /// Number of completed evaluations.
    evaluations: u64,
}

/// Returns the seconds of a gradient of `planned` evaluations: the shortest duration measured within
/// about `budget`. Measuring ends early after a gradient that takes less than `quick` seconds. An
/// interrupted gradient is extrapolated from its completed evaluations. `measure` receives the time
/// after which it must interrupt the gradient.
fn of_gradients(
    mut budget: Duration,
    planned: u64,
    quick: f64,
    mut measure: impl FnMut(Duration) -> Result<GradientTiming>,
) -> Result<f64> {
    let (mut shortest, mut spent) = (f64::INFINITY, 0.0);
    loop {
        let timing = measure(budget)?;
        spent += timing.seconds;
        if timing.complete {
            shortest = shortest.min(timing.seconds);
        } else if shortest.is_infinite() && timing.evaluations > 0 {
            shortest = timing.seconds * planned as f64 / timing.evaluations as f64;
        } else if shortest.is_infinite() {
            // Not one evaluation was completed, so more time is needed.
            budget *= 2;
        }
        if shortest < quick || (shortest.is_finite() && spent >= budget.as_secs_f64()) {
            return Ok(shortest);
        }
    }
}

/// Returns the seconds of a step: the shortest mean duration within about `budget`, over runs of
/// steps that double in length until one takes a hundredth of the budget, or has `most` steps. Such
/// runs are so short that some of them pass undisturbed by other processes. `measure` makes the
/// given number of steps and returns their duration in seconds.
fn of_steps(
    budget: Duration,
    most: usize,
    mut measure: impl FnMut(usize) -> Result<f64>,
) -> Result<f64> {
    let budget = budget.as_secs_f64();
    let (mut steps, mut shortest, mut spent) = (1, f64::INFINITY, 0.0);
    while spent < budget {
        let seconds = measure(steps)?;
        spent += seconds;
        shortest = shortest.min(seconds / steps as f64);
        if seconds < budget / 100.0 {
            steps = (2 * steps).min(most);
        }
    }
    Ok(shortest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Duration = Duration::from_millis(300);

    /// Returns the estimate for a synthetic machine, and the number of gradients it made. An
    /// evaluation takes `evaluation` seconds, three times as long in the first gradient.
    fn predicted(evaluation: f64, planned: u64, quick: f64) -> (f64, usize) {
        let mut gradients = 0;
        let estimate = of_gradients(BUDGET, planned, quick, |budget| {
            gradients += 1;
            let evaluation = if gradients == 1 {
                3.0 * evaluation
            } else {
                evaluation
            };
            let evaluations = ((budget.as_secs_f64() / evaluation) as u64).min(planned);
            Ok(GradientTiming {
                seconds: (planned as f64 * evaluation).min(budget.as_secs_f64()),
                complete: evaluations == planned,
                evaluations,
            })
        });
        (estimate.unwrap(), gradients)
    }

    fn close(actual: f64, expected: f64) {
        assert!(
            (actual / expected - 1.0).abs() < 1e-9,
            "{actual}, not {expected}"
        );
    }

    #[test]
    fn a_gradient_is_predicted_by_the_fastest_that_fits_into_the_budget() {
        // .03 s, then .01 s until .3 s are over.
        let (seconds, gradients) = predicted(1e-5, 1000, 0.0);
        close(seconds, 0.01);
        assert!((28..=29).contains(&gradients), "{gradients}");
        // A quick gradient ends the measurement.
        assert_eq!(predicted(1e-5, 1000, 0.02), (0.01, 2));
    }

    #[test]
    fn an_interrupted_gradient_is_extrapolated_from_its_evaluations() {
        // 10 of 1000 evaluations at .03 s each.
        let (seconds, gradients) = predicted(0.01, 1000, 0.0);
        close(seconds, 30.0);
        assert_eq!(gradients, 1);
        // Not one in .3, .6 or 1.2 s, but in the first that may take longer.
        let (seconds, gradients) = predicted(1.0, 50, 0.0);
        close(seconds, 60.0);
        assert_eq!(gradients, 3);
    }

    #[test]
    fn a_step_is_predicted_by_the_fastest_run_of_steps() {
        // 1 ms to start a run, and 10 µs per step: the longer the run, the less the start counts.
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
        // Steps that take a hundredth of the budget each are timed one by one.
        let slow = |steps: usize| {
            assert_eq!(steps, 1);
            Ok(0.03)
        };
        close(of_steps(BUDGET, 64, slow).unwrap(), 0.03);
    }

    #[test]
    fn a_prediction_beside_other_processes_is_that_of_the_undisturbed_runs() {
        // Every 4 ms another process takes the processor for 4 ms; a run takes 1 ms to start, and
        // 10 µs per step. Times in microseconds. Runs of 30 ms are all disturbed: 17.8 µs a step.
        let mut clock: u64 = 0;
        let beside = |steps: usize| {
            let begin = clock;
            let mut left = 1_000 + 10 * steps as u64;
            while left > 0 {
                let run = left.min(4_000 - clock % 8_000);
                clock += run;
                left -= run;
                if clock % 8_000 == 4_000 {
                    clock += 4_000;
                }
            }
            Ok((clock - begin) as f64 * 1e-6)
        };
        let seconds = of_steps(BUDGET, 10_000, beside).unwrap();
        // The longest run that passes between two turns has 256 steps.
        close(seconds, 1e-5 + 1e-3 / 256.0);
    }
}
