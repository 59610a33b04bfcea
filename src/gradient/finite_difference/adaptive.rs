//! A wrapper that adds measured increments and Richardson extrapolation to any difference engine.
//!
//! With [`Increment::Noise`] the increment is measured before each gradient
//! ([`super::noise_increment`]). With extrapolation the engine runs at h and at h/2
//! ([`super::richardson`]): that doubles the cost, cancels the leading error term, and yields an
//! error estimate.

use super::{DifferenceConfig, Increment, IncrementControl, NoiseIncrement, richardson};
use crate::data::{Batch, Samples};
use crate::gradient::{Control, GradientEngine, GradientEvaluation, Stopped};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;

/// An engine that wraps another one and sets its increments.
pub struct AdaptiveIncrement<R> {
    inner: Box<dyn IncrementControl<R>>,
    config: DifferenceConfig,
    /// The number of parameters, N.
    parameters: u64,
    noise_increment: Option<NoiseIncrement<R>>,
    /// The quotients at h; after a gradient, the estimate of its error.
    wide: Option<Parameters<R>>,
}

impl<R: Real> AdaptiveIncrement<R> {
    /// Wraps `inner`, an engine of `config` for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        config: &DifferenceConfig,
        isa: Isa,
        capacity: usize,
        inner: Box<dyn IncrementControl<R>>,
    ) -> Self {
        let is_measured = config.increment == Increment::Noise;
        Self {
            inner,
            config: *config,
            parameters: network.layout.len() as u64,
            noise_increment: is_measured
                .then(|| NoiseIncrement::new(network, config, isa, capacity)),
            wide: None,
        }
    }

    /// Returns the error estimate of each partial derivative of the last gradient; `None` without
    /// extrapolation.
    pub fn error(&self) -> Option<&Parameters<R>> {
        self.wide.as_ref()
    }
}

impl<R: Real> GradientEngine<R> for AdaptiveIncrement<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        let measured = match &mut self.noise_increment {
            Some(noise_increment) => noise_increment.measure(parameters, batch, control)?,
            None => f64::NAN,
        };
        if !self.config.extrapolate {
            self.inner.set_increments(1.0, measured);
            return self.inner.gradient(parameters, batch, gradient, control);
        }
        let factor = richardson::widening::<R>(&self.config);
        let mut wide = match self.wide.take() {
            Some(wide) => wide,
            None => Parameters::zeros(std::sync::Arc::clone(parameters.layout())),
        };
        self.inner.set_increments(factor, measured);
        self.inner.gradient(parameters, batch, &mut wide, control)?;
        self.inner.set_increments(factor / 2.0, measured);
        let evaluation = self.inner.gradient(parameters, batch, gradient, control)?;
        richardson::extrapolate(self.config.scheme, wide.flat_mut(), gradient.flat_mut());
        self.wide = Some(wide);
        Ok(GradientEvaluation {
            loss: evaluation.loss,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        let once = self.inner.tally(samples, rows);
        if !self.config.extrapolate {
            return once;
        }
        let mut tally = once * 2;
        // The correction, a difference over a divisor, and its addition.
        tally.additions += 2 * self.parameters;
        tally.divisions += self.parameters;
        tally
    }

    fn most_workers(&self) -> usize {
        self.inner.most_workers()
    }

    fn limit_workers(&mut self, workers: usize) {
        self.inner.limit_workers(workers);
    }
}
