//! The choice of h from the measured noise of a network's loss.
//!
//! ECnoise (Moré and Wild, 2011; [`super::noise`]) estimates the noise along a random direction.
//! Differences along six parameters estimate the derivative that determines the truncation error.
//! These are the parameters that change their units' pre-activations most: biases, or weights of
//! the largest input if it exceeds 1, because an h measured along a bias would move the
//! pre-activation of a unit with an input of 100 a hundred times as far as anything sampled. The
//! relative h never exceeds 1, the largest distance at which derivatives are sampled. The noise is
//! that of the subtracted quantity: each sample's loss, or their mean.
//!
//! Cost: at least 21 forward passes (central: 33), counted by the [`Control`], not by a gradient's
//! tally. The same θ and rows give the same h.

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

/// The number of parameters along which the derivative is measured.
const SAMPLED_PARAMETERS: usize = 6;

/// The workspace of the noise measurement.
pub struct NoiseIncrement<R> {
    config: DifferenceConfig,
    network: Network,
    isa: Isa,
    weights: UnitPanels<R>,
    pass: ForwardPass<R>,
    gathered: GatheredBatch<R>,
}

impl<R: Real> NoiseIncrement<R> {
    /// Creates the workspace for mini-batches of at most `capacity` rows.
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

    /// Returns the relative increment that balances the measured noise and the truncation error.
    ///
    /// # Errors
    /// [`Stopped::Unmeasured`] if the noise cannot be measured, [`Stopped::Interrupted`] if
    /// `control` was stopped.
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
            workspace: self,
            theta,
            batch,
            control,
        };
        let first = noise::first_spacing::<R>();
        let estimate = noise::measure(first, samples, |distances, losses| {
            line.evaluate(distances, losses, &direction)
        })?;
        let sampled = sampled_parameters(theta.layout(), largest_input(batch));
        let mut derivatives = Vec::with_capacity(sampled.len());
        for index in sampled {
            let mut direction = vec![0.0; theta.flat().len()];
            direction[index] = theta.flat()[index].to_f64().abs().max(1.0);
            let derivative = estimate.derivative::<Stopped>(scheme, |distances, losses| {
                line.evaluate(distances, losses, &direction)
            })?;
            derivatives.push(derivative.magnitude);
        }
        let h = estimate
            .increment(scheme, root_mean_square(&derivatives))
            .min(1.0);
        if !h.is_normal() {
            // The noise is so small next to the derivatives that h underflows.
            return Err(Unmeasured::Constant { distance: 1.0 }.into());
        }
        Ok(h)
    }
}

/// Returns √(Σ x²/n), even if the squares alone would underflow.
fn root_mean_square(numbers: &[f64]) -> f64 {
    let largest = numbers.iter().copied().fold(0.0, f64::max);
    if largest == 0.0 {
        return 0.0;
    }
    let squares = numbers.iter().map(|number| (number / largest).powi(2));
    largest * (squares.sum::<f64>() / numbers.len() as f64).sqrt()
}

/// Returns the parameters along which derivatives are measured, spread over the layers and their
/// units: a unit's bias, or a weight in a network without biases. In the first layer it is the
/// weight of input `largest.0` if the magnitude of that input, `largest.1`, exceeds a bias's 1.
fn sampled_parameters(layout: &Layout, largest: (usize, f64)) -> Vec<usize> {
    let layers = layout.layers();
    let parameter = |number: usize| {
        let layer = number % layers;
        let spread = |count: usize| number / layers * count / SAMPLED_PARAMETERS.div_ceil(layers);
        let (weights, biases) = (layout.weights(layer), layout.biases(layer));
        let fan_in = layout.sizes()[layer];
        if layer == 0 && (largest.1 > 1.0 || !layout.has_bias()) {
            return weights.start + spread(weights.len() / fan_in) * fan_in + largest.0;
        }
        let range = if layout.has_bias() { biases } else { weights };
        range.start + spread(range.len())
    };
    (0..SAMPLED_PARAMETERS).map(parameter).collect()
}

/// Returns the index and the magnitude of the largest input of `batch`.
fn largest_input<R: Real>(batch: Batch<'_, R>) -> (usize, f64) {
    let features = batch.samples.features();
    let mut inputs = vec![R::ZERO; count::<R>(features) * width::<R>()];
    let mut largest = (0, 0.0);
    for row in batch.rows {
        // Panels of one row are that row's inputs, contiguous.
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

/// The loss along lines through θ, on one mini-batch.
struct LossLine<'a, R> {
    workspace: &'a mut NoiseIncrement<R>,
    theta: &'a Parameters<R>,
    batch: Batch<'a, R>,
    control: &'a Control,
}

impl<R: Real> LossLine<'_, R> {
    /// Computes the losses at θ + distance·direction, `(distances, samples)`, or their means,
    /// `(distances, 1)`.
    fn evaluate(
        &mut self,
        distances: &[f64],
        losses: &mut [f64],
        direction: &[f64],
    ) -> Result<(), Stopped> {
        let workspace = &mut *self.workspace;
        let rows = self.batch.rows.len();
        let (network, isa) = (&workspace.network, workspace.isa);
        workspace.gathered.read(network, self.batch);
        let pass = (workspace.gathered).rows(network, isa, self.batch, self.control);
        let samples = losses.len() / distances.len();
        let mut perturbed = self.theta.clone();
        for (&distance, losses) in distances.iter().zip(losses.chunks_exact_mut(samples)) {
            if self.control.is_stopped() {
                return Err(Stopped::Interrupted);
            }
            let pairs = self.theta.flat().iter().zip(direction);
            for (to, (&from, &component)) in perturbed.flat_mut().iter_mut().zip(pairs) {
                *to = from + R::from_f64(distance * component);
            }
            workspace.weights.load(&perturbed);
            workspace.pass.run(&pass, &workspace.weights, 0, None);
            if self.control.is_interrupted() {
                return Err(Stopped::Interrupted);
            }
            let row_losses = &workspace.pass.losses[..rows];
            if samples == rows {
                for (to, from) in losses.iter_mut().zip(row_losses) {
                    *to = from.to_f64();
                }
            } else {
                let sum = row_losses.iter().fold(R::ZERO, |sum, &loss| sum + loss);
                losses[0] = (sum * R::from_f64(1.0 / rows as f64)).to_f64();
            }
        }
        Ok(())
    }
}
