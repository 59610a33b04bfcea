//! The gauge: what the noise of a network's loss and its curvature say h should be.
//!
//! The noise is measured along a random direction through θ, the derivative that makes the
//! truncation error along a few parameters ([`super::noise`]): those that move their units farthest,
//! which are biases unless an input is larger than 1. A step that was measured along a bias would lead
//! the weight of an input of 100 a hundred times as far from θ as anything was looked at. Nor is h
//! larger than the farthest look. The noise is that of what is subtracted:
//! each sample's losses, or their mean. That takes some 20 forward passes, few next to N; they are
//! counted by the [`Control`] and are no part of a gradient's tally. The same θ and rows give the same h.

use ndarray_rand::rand::RngCore;

use super::forward_pass::{ForwardPass, GatheredBatch};
use super::noise::{self, Unmeasured};
use super::unit_panels::UnitPanels;
use super::{DifferenceConfig, Summation};
use crate::data::Batch;
use crate::gradient::{Control, Stopped};
use crate::kernels::Isa;
use crate::kernels::panels::{count, width};
use crate::model::{Layout, Network, Parameters};
use crate::numeric::Real;
use crate::numeric::random::{Purpose, stream};

/// Parameters along which the derivative is measured.
const PROBES: usize = 6;

/// The passes that measure.
pub struct NoiseIncrement<R> {
    config: DifferenceConfig,
    network: Network,
    isa: Isa,
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    gathered: GatheredBatch<R>,
}

impl<R: Real> NoiseIncrement<R> {
    /// For mini-batches of at most `capacity` rows.
    pub fn new(network: &Network, config: &DifferenceConfig, isa: Isa, capacity: usize) -> Self {
        let features = network.layout.sizes()[0];
        Self {
            config: *config,
            network: network.clone(),
            isa,
            weights: UnitPanels::zeros(&network.layout),
            pass: ForwardPass::new(network, capacity),
            gathered: GatheredBatch::new(features, capacity),
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
        let mut line = LossLine {
            gauge: self,
            theta,
            batch,
            control,
        };
        let first = noise::first_spacing::<R>();
        let found = noise::measure(first, samples, |distances, losses| {
            line.evaluate(distances, losses, &direction)
        })?;
        let probes = probes(theta.layout(), largest_input(batch));
        let mut derivatives = Vec::with_capacity(probes.len());
        for index in probes {
            let mut direction = vec![0.0; theta.flat().len()];
            direction[index] = theta.flat()[index].to_f64().abs().max(1.0);
            let derivative = found.derivative::<Stopped>(scheme, |distances, losses| {
                line.evaluate(distances, losses, &direction)
            })?;
            derivatives.push(derivative.magnitude);
        }
        let h = found
            .increment(scheme, root_mean_square(&derivatives))
            .min(1.0);
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

/// Parameters spread over the layers, by unit: its bias (without any, a weight), but in the first layer
/// the weight of input `largest.0` if that, `largest.1`, is larger than a bias's 1.
fn probes(layout: &Layout, largest: (usize, f64)) -> Vec<usize> {
    let layers = layout.layers();
    let probe = |probe: usize| {
        let layer = probe % layers;
        let spread = |count: usize| probe / layers * count / PROBES.div_ceil(layers);
        let (weights, biases) = (layout.weights(layer), layout.biases(layer));
        let fan_in = layout.sizes()[layer];
        if layer == 0 && (largest.1 > 1.0 || !layout.has_bias()) {
            return weights.start + spread(weights.len() / fan_in) * fan_in + largest.0;
        }
        let range = if layout.has_bias() { biases } else { weights };
        range.start + spread(range.len())
    };
    (0..PROBES).map(probe).collect()
}

/// Which input of `batch` is the largest in magnitude, and how large it is.
fn largest_input<R: Real>(batch: Batch<'_, R>) -> (usize, f64) {
    let features = batch.samples.features();
    let mut inputs = vec![R::ZERO; count::<R>(features) * width::<R>()];
    let mut largest = (0, 0.0);
    for row in batch.rows {
        // One row in panels of one row is one row after the other.
        batch
            .samples
            .gather(std::slice::from_ref(row), &mut inputs, width::<R>());
        for (feature, input) in inputs[..features].iter().enumerate() {
            if input.to_f64().abs() > largest.1 {
                largest = (feature, input.to_f64().abs());
            }
        }
    }
    largest
}

/// The loss along lines through θ.
struct LossLine<'a, R> {
    gauge: &'a mut NoiseIncrement<R>,
    theta: &'a Parameters<R>,
    batch: Batch<'a, R>,
    control: &'a Control,
}

impl<R: Real> LossLine<'_, R> {
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
