//! Steps over mini-batches: the engine makes them itself where the update is plain descent, and
//! gives gradients to an optimizer where it is not.

use std::sync::Arc;

use crate::data::{Batch, Samples};
use crate::gradient::random_direction::DirectionSeed;
use crate::gradient::{Control, Stopped, TrainingEngine};
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::optimizer::{AdamConfig, Moments, OptimizerState, SgdConfig};

/// Rows in the order of their steps.
#[derive(Clone, Copy)]
pub(super) struct Segment<'a, R> {
    pub samples: &'a Samples<R>,
    pub order: &'a [u32],
    pub batch_size: usize,
    /// What the learning rate is multiplied by.
    pub factor: f64,
    pub workers: usize,
    /// Random directions of the first step; each later one takes the next.
    pub draw: DirectionSeed,
    pub control: &'a Control,
}

/// What steps θ from one mini-batch to the next.
pub(super) trait Steps<R: Real> {
    /// Takes over θ and what the optimizer remembers, if it is of its kind.
    fn load(&mut self, parameters: &Parameters<R>, memory: &OptimizerState<R>);

    /// Gives both back.
    fn store(&mut self, parameters: &mut Parameters<R>, memory: &mut OptimizerState<R>);

    /// Steps over a segment; the contract is that of [`crate::gradient::Descent::descend`]. Adds the
    /// rows' losses, each before its step, to `loss`; returns how many rows are done.
    fn advance(&mut self, segment: Segment<'_, R>, loss: &mut f64) -> Result<usize, Stopped>;

    /// The engine, for gradients beside the steps.
    fn engine(&mut self) -> &mut dyn TrainingEngine<R>;
}

/// Stochastic gradient descent, by the engine's own steps.
pub(super) struct Sgd<R> {
    pub engine: Box<dyn TrainingEngine<R>>,
    pub config: SgdConfig,
    pub l2: f64,
}

impl<R: Real> Steps<R> for Sgd<R> {
    fn load(&mut self, parameters: &Parameters<R>, memory: &OptimizerState<R>) {
        self.engine.load(parameters);
        if let OptimizerState::Velocity(velocity) = memory {
            self.engine.load_velocity(velocity);
        }
    }

    fn store(&mut self, parameters: &mut Parameters<R>, memory: &mut OptimizerState<R>) {
        self.engine.store(parameters);
        if self.config.momentum == 0.0 {
            return;
        }
        let mut velocity = match std::mem::take(memory) {
            OptimizerState::Velocity(velocity) => velocity,
            _ => Parameters::zeros(Arc::clone(parameters.layout())),
        };
        if self.engine.store_velocity(&mut velocity) {
            *memory = OptimizerState::Velocity(velocity);
        }
    }

    fn advance(&mut self, segment: Segment<'_, R>, loss: &mut f64) -> Result<usize, Stopped> {
        self.engine.set_draw(segment.draw);
        self.engine.descend(
            segment.samples,
            segment.order,
            segment.batch_size,
            self.config.rule(self.l2, segment.factor),
            segment.workers,
            loss,
            segment.control,
        )
    }

    fn engine(&mut self) -> &mut dyn TrainingEngine<R> {
        &mut *self.engine
    }
}

/// Adam, on gradients by any engine.
pub(super) struct Adam<R> {
    engine: Box<dyn TrainingEngine<R>>,
    config: AdamConfig,
    theta: Parameters<R>,
    gradient: Parameters<R>,
    moments: Moments<R>,
}

impl<R: Real> Adam<R> {
    pub(super) fn new(
        network: &Network,
        engine: Box<dyn TrainingEngine<R>>,
        config: AdamConfig,
    ) -> Self {
        let zeros = || Parameters::zeros(Arc::clone(&network.layout));
        Self {
            engine,
            config,
            theta: zeros(),
            gradient: zeros(),
            moments: Moments::zeros(&network.layout),
        }
    }
}

impl<R: Real> Steps<R> for Adam<R> {
    fn load(&mut self, parameters: &Parameters<R>, memory: &OptimizerState<R>) {
        self.theta.clone_from(parameters);
        self.moments = match memory {
            OptimizerState::Moments(moments) => moments.clone(),
            _ => Moments::zeros(parameters.layout()),
        };
    }

    fn store(&mut self, parameters: &mut Parameters<R>, memory: &mut OptimizerState<R>) {
        parameters.clone_from(&self.theta);
        *memory = OptimizerState::Moments(self.moments.clone());
    }

    fn advance(&mut self, segment: Segment<'_, R>, loss: &mut f64) -> Result<usize, Stopped> {
        self.engine.limit_workers(segment.workers);
        let (mut done, mut draw) = (0, segment.draw);
        for rows in segment.order.chunks(segment.batch_size) {
            let samples = segment.samples;
            let batch = Batch { samples, rows };
            let gradient = &mut self.gradient;
            self.engine.set_draw(draw);
            match self
                .engine
                .gradient(&self.theta, batch, gradient, segment.control)
            {
                Ok(evaluation) => *loss += evaluation.loss * rows.len() as f64,
                Err(Stopped::Interrupted) => break,
                Err(lost) => return Err(lost),
            }
            let (theta, moments) = (&mut self.theta, &mut self.moments);
            self.config.step(segment.factor, theta, gradient, moments);
            done += rows.len();
            draw.step += 1;
        }
        Ok(done)
    }

    fn engine(&mut self) -> &mut dyn TrainingEngine<R> {
        &mut *self.engine
    }
}
