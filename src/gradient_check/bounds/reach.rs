//! The reach of a perturbation: bounds on the distance of a perturbed pass from the pass at θ, over
//! the whole increment. The round-off of the perturbed pass grows with these values.
//!
//! ```text
//! |Δz_j| = reach     |Δa| ≤ min(1, max σ′·|Δz|)     |Δz| ≤ |W|·|Δa|
//! |Δδ| of the outputs: the largest slope of δ within reach times |Δz|, at most the range of δ
//! |Δ∂L/∂a| ≤ |W|ᵀ·|Δδ|     |Δδ| ≤ max σ′·|Δ∂L/∂a| + |∂L/∂a|·max |σ″|·|Δz|
//! ```
//!
//! Cost: per unit, a forward and a backward pass through the layers above it.

use ndarray::Array2;

use crate::gradient_check::curvature::{WeightMagnitudes, grown, slopes};
use crate::gradient_check::sample_pass::{SamplePass, is_hot};
use crate::model::Network;
use crate::numeric::output_loss::OutputLoss;

/// Bounds on the changes caused by perturbing one unit of layer `layer`. Element m of each field
/// concerns layer `layer + m` and has the shape `(units of that layer, perturbed units)`.
pub(super) struct ReachBounds {
    layer: usize,
    /// |Δz|.
    z: Vec<Array2<f64>>,
    /// |Δδ|.
    delta: Vec<Array2<f64>>,
    /// |Δ∂L/∂a|, for all layers but the last.
    activation_gradient: Vec<Array2<f64>>,
}

/// Bounds on the changes caused by perturbing unit `unit`.
#[derive(Clone, Copy)]
pub(super) struct UnitReach<'a> {
    bounds: &'a ReachBounds,
    unit: usize,
}

impl ReachBounds {
    /// Computes the bounds for perturbations that move the z of unit j of layer `layer` by at most
    /// `reach[j]`.
    pub(super) fn new(
        network: &Network,
        magnitudes: &WeightMagnitudes,
        pass: &SamplePass,
        layer: usize,
        reach: &[f64],
    ) -> Self {
        let last = pass.z.len() - 1;
        let initial = |(k, unit)| if k == unit { reach[unit] } else { 0.0 };
        let mut z = vec![Array2::from_shape_fn((reach.len(), reach.len()), initial)];
        for m in layer..last {
            let mut activations = z[m - layer].clone();
            for ((k, _), change) in activations.indexed_iter_mut() {
                let [slope]: [f64; 1] = slopes(pass.slope(m, k), *change);
                *change = (slope * *change).min(1.0);
            }
            z.push(magnitudes.of(m + 1).dot(&activations));
        }
        let mut delta = vec![output_delta_bounds(
            network.output_loss(),
            pass,
            &z[last - layer],
        )];
        let mut activation_gradient = Vec::new();
        for m in (layer..last).rev() {
            let activation_gradients = magnitudes.of(m + 1).t().dot(&delta[last - m - 1]);
            delta.push(Array2::from_shape_fn(
                activation_gradients.dim(),
                |(k, unit)| {
                    let change = z[m - layer][[k, unit]];
                    let [first, second]: [f64; 2] = slopes(pass.slope(m, k), change);
                    first * activation_gradients[[k, unit]]
                        + pass.activation_gradient[m][k].abs() * second * change
                },
            ));
            activation_gradient.push(activation_gradients);
        }
        delta.reverse();
        activation_gradient.reverse();
        Self {
            layer,
            z,
            delta,
            activation_gradient,
        }
    }

    /// Returns the bounds for the perturbation of unit `unit`.
    pub(super) fn for_unit(&self, unit: usize) -> UnitReach<'_> {
        UnitReach { bounds: self, unit }
    }
}

/// Bounds |Δδ| of the outputs, given their |Δz|.
fn output_delta_bounds(output_loss: OutputLoss, pass: &SamplePass, z: &Array2<f64>) -> Array2<f64> {
    let last = pass.z.len() - 1;
    let farthest: Vec<f64> = z
        .columns()
        .into_iter()
        .map(|column| column.iter().copied().fold(0.0, f64::max))
        .collect();
    Array2::from_shape_fn(z.dim(), |(k, unit)| {
        let change = z[[k, unit]];
        let (y, one_minus_y) = (pass.y[last][k], pass.one_minus_y[last][k]);
        let [first, second]: [f64; 2] = slopes(y * one_minus_y, change);
        let bound = match output_loss {
            OutputLoss::LinearQuadratic => change,
            OutputLoss::SigmoidQuadratic => {
                let hot = is_hot(output_loss, pass.label, k);
                let residual = grown(if hot { one_minus_y } else { y }, change).min(1.0);
                // r·σ′ is below 1/4 everywhere.
                ((first * first + residual * second) * change).min(0.25)
            }
            OutputLoss::SigmoidCrossEntropy | OutputLoss::Logistic => (first * change).min(1.0),
            OutputLoss::SoftmaxCrossEntropy => {
                let margin_change = 2.0 * farthest[unit];
                (grown(y.min(one_minus_y), margin_change) * margin_change).min(1.0)
            }
        };
        bound * pass.weight
    })
}

impl UnitReach<'_> {
    /// Returns the bound on |Δz| of unit `k` of layer `m`.
    pub(super) fn z(self, m: usize, k: usize) -> f64 {
        self.bounds.z[m - self.bounds.layer][[k, self.unit]]
    }

    /// Returns the bound on |Δδ| of unit `k` of layer `m`.
    pub(super) fn delta(self, m: usize, k: usize) -> f64 {
        self.bounds.delta[m - self.bounds.layer][[k, self.unit]]
    }

    /// Returns the bound on |Δ∂L/∂a| of unit `k` of layer `m`.
    pub(super) fn activation_gradient(self, m: usize, k: usize) -> f64 {
        self.bounds.activation_gradient[m - self.bounds.layer][[k, self.unit]]
    }

    /// Bounds the change of the loss: every output moves with its steepest slope.
    pub(super) fn loss(self, pass: &SamplePass) -> f64 {
        let last = pass.z.len() - 1;
        let outputs = pass.delta[last].iter().enumerate();
        outputs
            .map(|(k, delta)| (delta.abs() + self.delta(last, k)) * self.z(last, k))
            .sum()
    }
}
