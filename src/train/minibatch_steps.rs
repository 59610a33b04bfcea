//! Optimizer steps over mini-batches. With SGD the gradient engine makes the steps itself; for every
//! other optimizer it computes gradients, and the optimizer makes the steps.

use std::sync::Arc;

use crate::data::{Batch, Samples};
use crate::gradient::random_direction::DirectionSeed;
use crate::gradient::{Control, Stopped, TrainingEngine};
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::optimizer::{Optimizer, OptimizerState, SgdConfig, sgd};
use crate::parallel::Division;

/// Rows of consecutive steps, and the settings of these steps.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a, R> {
    pub samples: &'a Samples<R>,
    pub order: &'a [u32],
    pub batch_size: usize,
    /// Factor of the learning rate, from the schedule.
    pub factor: f64,
    pub division: Division,
    /// Seed of the random directions of the first step; each further step takes the next one.
    pub direction_seed: DirectionSeed,
    pub control: &'a Control,
}

/// Optimizer that steps over mini-batches.
pub(super) trait Steps<R: Real> {
    /// Copies θ, and the optimizer's state if it is of this optimizer's kind.
    fn load(&mut self, parameters: &Parameters<R>, state: &OptimizerState<R>);

    /// Copies θ and the optimizer's state back.
    fn store(&mut self, parameters: &mut Parameters<R>, state: &mut OptimizerState<R>);

    /// Steps over a segment, by the contract of [`crate::gradient::Descent::descend`]. Adds the
    /// rows' losses, each before its step, to `loss`. Returns the number of rows done.
    fn advance(&mut self, segment: Segment<'_, R>, loss: &mut f64) -> Result<usize, Stopped>;

    /// Returns the engine, for gradients between steps.
    fn engine(&mut self) -> &mut dyn TrainingEngine<R>;
}

/// Sets the split of `division`, if the engine has a choice.
pub(super) fn divide<R: Real>(engine: &mut dyn TrainingEngine<R>, division: Division) {
    if let Some(split) = division.split {
        engine.set_split(split);
    }
}

/// Stochastic gradient descent: the engine makes the steps.
pub(super) struct FusedSteps<'c, R> {
    pub engine: Box<dyn TrainingEngine<R>>,
    pub config: &'c SgdConfig,
    pub l2: f64,
}

impl<R: Real> Steps<R> for FusedSteps<'_, R> {
    fn load(&mut self, parameters: &Parameters<R>, state: &OptimizerState<R>) {
        self.engine.load(parameters);
        if let Some(velocity) = state.vector("velocity") {
            self.engine.load_velocity(velocity);
        }
    }

    fn store(&mut self, parameters: &mut Parameters<R>, state: &mut OptimizerState<R>) {
        self.engine.store(parameters);
        if self.config.momentum == 0.0 {
            return;
        }
        let mut stored = std::mem::take(state).of_form(&sgd::STATE, parameters.layout());
        let [velocity] = stored.vectors_mut();
        if self.engine.store_velocity(velocity) {
            *state = stored;
        }
    }

    fn advance(&mut self, segment: Segment<'_, R>, loss: &mut f64) -> Result<usize, Stopped> {
        self.engine.set_direction_seed(segment.direction_seed);
        divide(&mut *self.engine, segment.division);
        self.engine.descend(
            segment.samples,
            segment.order,
            segment.batch_size,
            self.config.rule(self.l2, segment.factor),
            segment.division.workers,
            loss,
            segment.control,
        )
    }

    fn engine(&mut self) -> &mut dyn TrainingEngine<R> {
        &mut *self.engine
    }
}

/// Any optimizer that steps by one gradient, with gradients by any engine.
pub(super) struct GradientSteps<'c, R: Real> {
    engine: Box<dyn TrainingEngine<R>>,
    optimizer: &'c dyn Optimizer<R>,
    theta: Parameters<R>,
    gradient: Parameters<R>,
    state: OptimizerState<R>,
}

impl<'c, R: Real> GradientSteps<'c, R> {
    pub(super) fn new(
        network: &Network,
        engine: Box<dyn TrainingEngine<R>>,
        optimizer: &'c dyn Optimizer<R>,
    ) -> Self {
        let zeros = || Parameters::zeros(Arc::clone(&network.layout));
        Self {
            engine,
            optimizer,
            theta: zeros(),
            gradient: zeros(),
            state: OptimizerState::zeros(optimizer.state_form(), &network.layout),
        }
    }
}

impl<R: Real> Steps<R> for GradientSteps<'_, R> {
    fn load(&mut self, parameters: &Parameters<R>, state: &OptimizerState<R>) {
        self.theta.clone_from(parameters);
        let form = self.optimizer.state_form();
        self.state = state.clone().of_form(form, parameters.layout());
    }

    fn store(&mut self, parameters: &mut Parameters<R>, state: &mut OptimizerState<R>) {
        parameters.clone_from(&self.theta);
        state.clone_from(&self.state);
    }

    fn advance(&mut self, segment: Segment<'_, R>, loss: &mut f64) -> Result<usize, Stopped> {
        divide(&mut *self.engine, segment.division);
        self.engine.limit_workers(segment.division.workers);
        let (mut done, mut direction_seed) = (0, segment.direction_seed);
        for rows in segment.order.chunks(segment.batch_size) {
            let samples = segment.samples;
            let batch = Batch { samples, rows };
            let gradient = &mut self.gradient;
            self.engine.set_direction_seed(direction_seed);
            match self
                .engine
                .gradient(&self.theta, batch, gradient, segment.control)
            {
                Ok(evaluation) => *loss += evaluation.loss * rows.len() as f64,
                Err(Stopped::Interrupted) => break,
                Err(stopped) => return Err(stopped),
            }
            let (theta, state) = (&mut self.theta, &mut self.state);
            self.optimizer.step(segment.factor, theta, gradient, state);
            done += rows.len();
            direction_seed.step += 1;
        }
        Ok(done)
    }

    fn engine(&mut self) -> &mut dyn TrainingEngine<R> {
        &mut *self.engine
    }
}
