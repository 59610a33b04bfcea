//! The directional derivative v·∇L as a difference of two whole passes, L(θ + h·v) − L(θ) or
//! L(θ + h·v) − L(θ − h·v).
//!
//! Cost: 2 evaluations, whatever N. The losses are subtracted row by row, and the differences
//! summed in order.

use super::forward_pass::{ForwardPass, GatheredBatch};
use super::quotient::{Scheme, quotient};
use super::unit_panels::UnitPanels;
use crate::data::Batch;
use crate::gradient::{Control, Stopped};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::Real;

/// An estimate of v·∇L, with the direction as rounded.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionalDerivative {
    /// The quotient, without the l2 term.
    pub derivative: f64,
    /// The direction between the two evaluated points: θ ± h·v is rounded, but their difference is
    /// known exactly.
    pub rounded_direction: Vec<f64>,
}

/// Computes the derivative of the mini-batch's mean loss along `direction`, `(N,)`.
///
/// # Errors
/// [`Stopped::Interrupted`] if `control` was stopped.
#[allow(clippy::too_many_arguments)]
pub fn directional<R: Real>(
    network: &Network,
    isa: Isa,
    theta: &Parameters<R>,
    batch: Batch<'_, R>,
    direction: &[f64],
    h: f64,
    scheme: Scheme,
    control: &Control,
) -> Result<DirectionalDerivative, Stopped> {
    let batch_rows = batch.rows.len();
    let mut gathered = GatheredBatch::new(batch.samples.features(), batch_rows);
    gathered.read(network, batch);
    let rows = gathered.rows(network, isa, batch, control);
    let mut weights = UnitPanels::zeros(&network.layout);
    let mut pass = ForwardPass::new(network, batch_rows);
    let mut losses = |steps: f64| {
        if control.is_stopped() {
            return Err(Stopped::Interrupted);
        }
        let perturbed = theta.flat().iter().zip(direction);
        let perturbed: Vec<R> = perturbed
            .map(|(&theta, v)| theta + R::from_f64(steps * h * v))
            .collect();
        let point = Parameters::from_flat(std::sync::Arc::clone(theta.layout()), perturbed);
        weights.load(&point);
        pass.run(&rows, &weights, 0, None);
        if control.is_interrupted() {
            return Err(Stopped::Interrupted);
        }
        Ok((point, pass.losses.clone()))
    };
    let (above, upper) = losses(1.0)?;
    let (below, lower) = losses(match scheme {
        Scheme::Forward => 0.0,
        Scheme::Central => -1.0,
    })?;
    let distance = scheme.distance(h);
    let change = upper
        .iter()
        .zip(&lower)
        .fold(R::ZERO, |sum, (&upper, &lower)| sum + (upper - lower));
    let mean = change.to_f64() / batch_rows as f64;
    let points = above.flat().iter().zip(below.flat());
    Ok(DirectionalDerivative {
        derivative: quotient(mean, distance),
        rounded_direction: points
            .map(|(above, below)| (above.to_f64() - below.to_f64()) / distance)
            .collect(),
    })
}
