//! Increments that are measured, quotients that are extrapolated: what needs more than one look at
//! the loss, around any engine.
//!
//! With [`Increment::Noise`] the noise of the loss is measured before each gradient, along a random
//! direction through θ, and the derivative that makes the truncation error along a few biases
//! ([`super::noise`]). The noise is that of what is subtracted: each sample's losses, or their mean.
//! That takes some 20 forward passes, few next to N; they are counted by the [`Control`] and are no
//! part of the gradient's tally. With extrapolation the engine runs at h and at h/2
//! ([`super::richardson`]): twice its cost, an error of the next order, and an estimate of it.

use ndarray_rand::rand::RngCore;

use super::increment::{power_of_two, relative};
use super::noise;
use super::panels::UnitPanels;
use super::pass::{Gathered, Pass};
use super::{Arithmetic, DifferenceConfig, Increment, Perturbing, Summation, richardson};
use crate::data::{Batch, Samples};
use crate::gradient::{Control, Evaluation, GradientEngine, Stopped};
use crate::model::{Layout, Network, Parameters};
use crate::numeric::random::{Purpose, stream};
use crate::numeric::tally::Tally;
use crate::numeric::{Isa, Real};

/// Parameters along which the derivative is measured.
const PROBES: usize = 6;
/// Levels of an extrapolation.
const LEVELS: usize = 2;

/// The engine around another.
pub struct Refined<R> {
    inner: Box<dyn Perturbing<R>>,
    config: DifferenceConfig,
    network: Network,
    isa: Isa,
    weights: UnitPanels<R>,
    pass: Pass<R>,
    gathered: Gathered<R>,
    /// Quotients at h; after a gradient, the estimate of its error.
    wide: Option<Parameters<R>>,
}

impl<R: Real> Refined<R> {
    /// Around `inner`, an engine of `config` for mini-batches of at most `capacity` rows.
    pub fn new(
        network: &Network,
        config: &DifferenceConfig,
        isa: Isa,
        capacity: usize,
        inner: Box<dyn Perturbing<R>>,
    ) -> Self {
        let features = network.layout.sizes()[0];
        Self {
            inner,
            config: *config,
            network: network.clone(),
            isa,
            weights: UnitPanels::zeros(&network.layout),
            pass: Pass::new(network, capacity),
            gathered: Gathered::new(features, capacity),
            wide: None,
        }
    }

    /// With extrapolation: the estimate of each partial derivative's error, of the last gradient.
    pub fn error(&self) -> Option<&Parameters<R>> {
        self.wide.as_ref()
    }

    /// The relative increment that measured noise and curvature ask for.
    fn measure(
        &mut self,
        theta: &Parameters<R>,
        batch: Batch<'_, R>,
        control: &Control,
    ) -> Result<f64, Stopped> {
        let mut random = stream(0, Purpose::Directions);
        let unit = 1.0 / (theta.flat().len() as f64).sqrt();
        let direction: Vec<f64> = theta
            .flat()
            .iter()
            .map(|&value| {
                let sign = if random.next_u32() & 1 == 0 {
                    unit
                } else {
                    -unit
                };
                sign * value.to_f64().abs().max(1.0)
            })
            .collect();
        let samples = match self.config.summation {
            Summation::Differences => batch.rows.len(),
            Summation::Losses => 1,
        };
        let scheme = self.config.scheme;
        let mut line = Line {
            refined: self,
            theta,
            batch,
            control,
        };
        let first = noise::first_spacing::<R>();
        let found = noise::measure(first, samples, |distances, losses| {
            line.evaluate(distances, losses, &direction)
        })?;
        let mut squares = 0.0;
        let probes = probes(theta.layout());
        for &index in &probes {
            let mut direction = vec![0.0; theta.flat().len()];
            direction[index] = theta.flat()[index].to_f64().abs().max(1.0);
            let derivative = found.derivative::<Stopped>(scheme, |distances, losses| {
                line.evaluate(distances, losses, &direction)
            })?;
            squares += derivative.magnitude * derivative.magnitude;
        }
        let derivative = (squares / probes.len() as f64).sqrt();
        Ok(found.increment(scheme, derivative))
    }

    /// `auto` at the first level of an extrapolation is larger than without one.
    fn widening(&self) -> f64 {
        let scheme = self.config.scheme;
        if self.config.increment != Increment::Auto
            || self.config.arithmetic == Arithmetic::CancellationFree
        {
            return 1.0;
        }
        power_of_two(
            richardson::relative::<R>(scheme, LEVELS)
                / relative::<R>(scheme, self.config.arithmetic),
        )
    }
}

/// Biases (without any, weights) spread over the layers.
fn probes(layout: &Layout) -> Vec<usize> {
    let layers = layout.layers();
    let probe = |probe: usize| {
        let layer = probe % layers;
        let range = if layout.has_bias() {
            layout.biases(layer)
        } else {
            layout.weights(layer)
        };
        range.start + probe / layers * range.len() / PROBES.div_ceil(layers)
    };
    (0..PROBES).map(probe).collect()
}

/// The loss along lines through θ.
struct Line<'a, R> {
    refined: &'a mut Refined<R>,
    theta: &'a Parameters<R>,
    batch: Batch<'a, R>,
    control: &'a Control,
}

impl<R: Real> Line<'_, R> {
    /// The losses at θ + distance·direction, `(distances, samples)`, or `(distances, 1)`: their
    /// means.
    fn evaluate(
        &mut self,
        distances: &[f64],
        losses: &mut [f64],
        direction: &[f64],
    ) -> Result<(), Stopped> {
        let refined = &mut *self.refined;
        let rows = self.batch.rows.len();
        refined.gathered.read(self.batch);
        let (network, isa) = (&refined.network, refined.isa);
        let pass = (refined.gathered).rows(network, isa, self.batch, self.control);
        let samples = losses.len() / distances.len();
        let mut moved = self.theta.clone();
        for (&distance, losses) in distances.iter().zip(losses.chunks_exact_mut(samples)) {
            if self.control.is_stopped() {
                return Err(Stopped::Interrupted);
            }
            let pairs = self.theta.flat().iter().zip(direction);
            for (to, (&from, &component)) in moved.flat_mut().iter_mut().zip(pairs) {
                *to = from + R::from_f64(distance * component);
            }
            refined.weights.load(&moved);
            refined.pass.run(&pass, &refined.weights, 0, None);
            let found = &refined.pass.losses[..rows];
            if samples == rows {
                for (to, from) in losses.iter_mut().zip(found) {
                    *to = from.to_f64();
                }
            } else {
                let sum = found.iter().fold(R::ZERO, |sum, &loss| sum + loss);
                losses[0] = (sum * R::from_f64(1.0 / rows as f64)).to_f64();
            }
        }
        Ok(())
    }
}

impl<R: Real> GradientEngine<R> for Refined<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        control: &Control,
    ) -> Result<Evaluation, Stopped> {
        let measured = match self.config.increment {
            Increment::Noise => self.measure(parameters, batch, control)?,
            _ => f64::NAN,
        };
        if !self.config.extrapolate {
            self.inner.set_increments(1.0, measured);
            return self.inner.gradient(parameters, batch, gradient, control);
        }
        let factor = self.widening();
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
        Ok(Evaluation {
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
        // The correction: a difference over 2^p − 1, and its addition.
        let parameters = self.network.layout.len() as u64;
        tally.additions += 2 * parameters;
        tally.divisions += parameters;
        tally
    }

    fn most_workers(&self) -> usize {
        self.inner.most_workers()
    }

    fn limit_workers(&mut self, workers: usize) {
        self.inner.limit_workers(workers);
    }
}
