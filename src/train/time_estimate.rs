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
use crate::optimizer::OptimizerState;

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
        let evaluations = engine.tally(self.samples, rows).passes();
        let mut gradient = Parameters::zeros(Arc::clone(&self.network.layout));
        let mut least = f64::INFINITY;
        let mut budget = budget;
        let begin = Instant::now();
        loop {
            let start = Instant::now();
            let (outcome, made) = self.control.for_at_most(budget, |control| {
                let outcome = engine.gradient(parameters, batch, &mut gradient, control);
                (outcome, control.evaluations())
            });
            let taken = start.elapsed().as_secs_f64();
            if self.control.is_stopped() {
                return Err(refused(Stopped::Interrupted));
            }
            match outcome {
                Ok(_) if taken < budget.as_secs_f64() / 30.0 => match self.steps(engine) {
                    Ok(steps) => return self.seconds_of_steps(steps, parameters, budget),
                    Err(whole) => {
                        engine = whole;
                        least = least.min(taken);
                    }
                },
                Ok(_) => least = least.min(taken),
                Err(Stopped::Interrupted) if least.is_finite() => {}
                Err(Stopped::Interrupted) if made > 0 => {
                    least = taken * evaluations as f64 / made as f64;
                }
                // Not one evaluation is done: more time.
                Err(Stopped::Interrupted) => budget *= 2,
                Err(lost) => return Err(refused(lost)),
            }
            if least.is_finite() && begin.elapsed() >= budget {
                return Ok(least);
            }
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
        let control = Control::default();
        let workers = stepper.engine().most_workers();
        stepper.load(parameters, &OptimizerState::Nothing);
        let (mut steps, mut least) = (1, f64::INFINITY);
        let begin = Instant::now();
        while begin.elapsed() < budget {
            let order = &self.rows[..(steps * batch).min(self.rows.len())];
            let start = Instant::now();
            let segment = self.segment(order, 0.0, workers, DirectionSeed::default(), &control);
            stepper.advance(segment, &mut 0.0).map_err(refused)?;
            let taken = start.elapsed().as_secs_f64();
            least = least.min(taken / order.len().div_ceil(batch) as f64);
            if taken < budget.as_secs_f64() / 10.0 && order.len() < self.rows.len() {
                steps *= 2;
            }
        }
        Ok(least)
    }
}
