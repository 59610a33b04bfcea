//! Gradient descent for engines that compute gradients only: θ is kept as one flat vector, and the
//! update rule is applied to it.

use std::sync::Arc;

use super::random_direction::DirectionSeed;
use super::{Control, Descent, GradientEngine, GradientEvaluation, Stopped};
use crate::data::{Batch, Samples};
use crate::kernels::update::Rule;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::Split;

/// An engine, together with θ and its velocity as flat vectors.
pub struct FlatDescent<R, E> {
    engine: E,
    theta: Parameters<R>,
    velocity: Option<Parameters<R>>,
    gradient: Parameters<R>,
    /// The seed of the next step's random directions.
    direction_seed: DirectionSeed,
}

impl<R: Real, E: GradientEngine<R>> FlatDescent<R, E> {
    /// Creates the descent by `engine`, at θ = 0 until another θ is loaded.
    pub fn new(network: &Network, engine: E) -> Self {
        let zeros = || Parameters::zeros(Arc::clone(&network.layout));
        Self {
            engine,
            theta: zeros(),
            velocity: None,
            gradient: zeros(),
            direction_seed: DirectionSeed::default(),
        }
    }
}

impl<R: Real, E: GradientEngine<R>> GradientEngine<R> for FlatDescent<R, E> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        self.engine.gradient(parameters, batch, gradient, control)
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        self.engine.tally(samples, rows)
    }

    fn most_workers(&self) -> usize {
        self.engine.most_workers()
    }

    fn splits(&self) -> &'static [Split] {
        self.engine.splits()
    }

    fn set_split(&mut self, split: Split) {
        self.engine.set_split(split);
    }

    fn limit_workers(&mut self, workers: usize) {
        self.engine.limit_workers(workers);
    }

    fn set_direction_seed(&mut self, direction_seed: DirectionSeed) {
        self.direction_seed = direction_seed;
        self.engine.set_direction_seed(direction_seed);
    }
}

impl<R: Real, E: GradientEngine<R>> Descent<R> for FlatDescent<R, E> {
    fn load(&mut self, parameters: &Parameters<R>) {
        self.theta.flat_mut().copy_from_slice(parameters.flat());
        self.velocity = None;
    }

    fn store(&mut self, parameters: &mut Parameters<R>) {
        parameters.flat_mut().copy_from_slice(self.theta.flat());
    }

    fn load_velocity(&mut self, velocity: &Parameters<R>) {
        self.velocity = Some(velocity.clone());
    }

    fn store_velocity(&mut self, velocity: &mut Parameters<R>) -> bool {
        match &self.velocity {
            Some(current) => {
                velocity.flat_mut().copy_from_slice(current.flat());
                true
            }
            None => false,
        }
    }

    fn descend(
        &mut self,
        samples: &Samples<R>,
        order: &[u32],
        batch_size: usize,
        rule: Rule<R>,
        workers: usize,
        loss: &mut f64,
        control: &Control,
    ) -> Result<usize, Stopped> {
        if rule.momentum != R::ZERO && self.velocity.is_none() {
            self.velocity = Some(Parameters::zeros(Arc::clone(self.theta.layout())));
        }
        self.engine.limit_workers(workers);
        // l2 is in the gradient already.
        let rule = rule.for_biases();
        for (done, rows) in order.chunks(batch_size).enumerate() {
            let batch = Batch { samples, rows };
            let (theta, gradient) = (&mut self.theta, &mut self.gradient);
            match self.engine.gradient(theta, batch, gradient, control) {
                Ok(evaluation) => *loss += evaluation.loss * rows.len() as f64,
                Err(Stopped::Interrupted) => return Ok(done * batch_size),
                Err(error) => return Err(error),
            }
            self.direction_seed.step += 1;
            self.engine.set_direction_seed(self.direction_seed);
            let pairs = theta.flat_mut().iter_mut().zip(gradient.flat());
            match &mut self.velocity {
                Some(velocity) => {
                    for ((weight, &partial), velocity) in pairs.zip(velocity.flat_mut()) {
                        rule.apply(partial, weight, Some(velocity));
                    }
                }
                None => pairs.for_each(|(weight, &partial)| rule.apply(partial, weight, None)),
            }
        }
        Ok(order.len())
    }
}
