//! The gauge: what the noise of a network's loss and its curvature say h should be.
//!
//! The noise is measured along a random direction through θ, the derivative that makes the
//! truncation error along a few biases ([`super::noise`]). The noise is that of what is subtracted:
//! each sample's losses, or their mean. That takes some 20 forward passes, few next to N; they are
//! counted by the [`Control`] and are no part of a gradient's tally. The same θ and rows give the same h.

use ndarray_rand::rand::RngCore;

use super::noise::{self, Unmeasured};
use super::panels::UnitPanels;
use super::pass::{Gathered, Pass};
use super::{DifferenceConfig, Summation};
use crate::data::Batch;
use crate::gradient::{Control, Stopped};
use crate::model::{Layout, Network, Parameters};
use crate::numeric::random::{Purpose, stream};
use crate::numeric::{Isa, Real};

/// Parameters along which the derivative is measured.
const PROBES: usize = 6;

/// The passes that measure.
pub struct Gauge<R> {
    config: DifferenceConfig,
    network: Network,
    isa: Isa,
    weights: UnitPanels<R>,
    pass: Pass<R>,
    gathered: Gathered<R>,
}

impl<R: Real> Gauge<R> {
    /// For mini-batches of at most `capacity` rows.
    pub fn new(network: &Network, config: &DifferenceConfig, isa: Isa, capacity: usize) -> Self {
        let features = network.layout.sizes()[0];
        Self {
            config: *config,
            network: network.clone(),
            isa,
            weights: UnitPanels::zeros(&network.layout),
            pass: Pass::new(network, capacity),
            gathered: Gathered::new(features, capacity),
        }
    }

    /// The relative increment that measured noise and curvature ask for.
    ///
    /// # Errors
    /// [`Stopped::Unmeasured`], or [`Stopped::Interrupted`] if `control` asked for it.
    pub fn measure(
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
            gauge: self,
            theta,
            batch,
            control,
        };
        let first = noise::first_spacing::<R>();
        let found = noise::measure(first, samples, |distances, losses| {
            line.evaluate(distances, losses, &direction)
        })?;
        let probes = probes(theta.layout());
        let mut derivatives = Vec::with_capacity(probes.len());
        for index in probes {
            let mut direction = vec![0.0; theta.flat().len()];
            direction[index] = theta.flat()[index].to_f64().abs().max(1.0);
            let derivative = found.derivative::<Stopped>(scheme, |distances, losses| {
                line.evaluate(distances, losses, &direction)
            })?;
            derivatives.push(derivative.magnitude);
        }
        let h = found.increment(scheme, root_mean_square(&derivatives));
        if !h.is_normal() {
            // The loss has derivatives that no number is small enough for.
            return Err(Unmeasured::Constant { distance: 1.0 }.into());
        }
        Ok(h)
    }
}

/// √(Σ x²/n), also where the squares alone are too small for numbers.
fn root_mean_square(numbers: &[f64]) -> f64 {
    let largest = numbers.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return 0.0;
    }
    let squares = numbers.iter().map(|number| (number / largest).powi(2));
    largest * (squares.sum::<f64>() / numbers.len() as f64).sqrt()
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
    gauge: &'a mut Gauge<R>,
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
        let gauge = &mut *self.gauge;
        let rows = self.batch.rows.len();
        gauge.gathered.read(self.batch);
        let (network, isa) = (&gauge.network, gauge.isa);
        let pass = (gauge.gathered).rows(network, isa, self.batch, self.control);
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
            gauge.weights.load(&moved);
            gauge.pass.run(&pass, &gauge.weights, 0, None);
            let found = &gauge.pass.losses[..rows];
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
