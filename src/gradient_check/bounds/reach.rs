//! How far a perturbed pass goes from the pass at θ, over the whole step: what it rounds anew is as
//! large as it is there.
//!
//! ```text
//! |Δz_j| = reach     |Δa| ≤ min(1, max σ′·|Δz|)     |Δz| ≤ |W|·|Δa|
//! |Δδ| of the outputs by the largest slope of δ on the way, and never more than δ can change;
//! |Δ∂L/∂a| ≤ |W|ᵀ·|Δδ|     |Δδ| ≤ max σ′·|Δ∂L/∂a| + |∂L/∂a|·max |σ″|·|Δz|
//! ```
//!
//! Cost: per unit the tail of layers above it, forward and back.

use ndarray::Array2;

use crate::gradient_check::curvature::{WeightMagnitudes, grown, slopes};
use crate::gradient_check::sample_pass::{SamplePass, is_hot};
use crate::model::Network;
use crate::numeric::output_loss::OutputLoss;

/// Bounds of changes while one unit of layer `layer` is perturbed: of every unit of layer
/// `layer + m`, at m, `(units of it, units of the layer)`.
pub(super) struct ReachBounds {
    layer: usize,
    /// Of z.
    z: Vec<Array2<f64>>,
    /// Of δ.
    delta: Vec<Array2<f64>>,
    /// Of ∂L/∂a, but for the last layer.
    pull: Vec<Array2<f64>>,
}

/// Changes while unit `unit` is perturbed.
#[derive(Clone, Copy)]
pub(super) struct UnitReach<'a> {
    moved: &'a ReachBounds,
    unit: usize,
}

impl ReachBounds {
    /// Unit j of layer `layer` within `reach[j]` of its z.
    pub(super) fn new(
        network: &Network,
        magnitudes: &WeightMagnitudes,
        trace: &SamplePass,
        layer: usize,
        reach: &[f64],
    ) -> Self {
        let last = trace.z.len() - 1;
        let own = |(k, unit)| if k == unit { reach[unit] } else { 0.0 };
        let mut z = vec![Array2::from_shape_fn((reach.len(), reach.len()), own)];
        for m in layer..last {
            let mut activations = z[m - layer].clone();
            for ((k, _), change) in activations.indexed_iter_mut() {
                let [slope]: [f64; 1] = slopes(trace.slope(m, k), *change);
                *change = (slope * *change).min(1.0);
            }
            z.push(magnitudes.of(m + 1).dot(&activations));
        }
        let mut delta = vec![of_outputs(network.head(), trace, &z[last - layer])];
        let mut pull = Vec::new();
        for m in (layer..last).rev() {
            let pulls = magnitudes.of(m + 1).t().dot(&delta[last - m - 1]);
            delta.push(Array2::from_shape_fn(pulls.dim(), |(k, unit)| {
                let change = z[m - layer][[k, unit]];
                let [first, second]: [f64; 2] = slopes(trace.slope(m, k), change);
                first * pulls[[k, unit]] + trace.pull[m][k].abs() * second * change
            }));
            pull.push(pulls);
        }
        delta.reverse();
        pull.reverse();
        Self {
            layer,
            z,
            delta,
            pull,
        }
    }

    /// While unit `unit` is perturbed.
    pub(super) fn along(&self, unit: usize) -> UnitReach<'_> {
        UnitReach { moved: self, unit }
    }
}

/// |Δδ| of the outputs, from their |Δz|.
fn of_outputs(head: OutputLoss, trace: &SamplePass, z: &Array2<f64>) -> Array2<f64> {
    let last = trace.z.len() - 1;
    let farthest: Vec<f64> = z
        .columns()
        .into_iter()
        .map(|column| column.iter().copied().fold(0.0, f64::max))
        .collect();
    Array2::from_shape_fn(z.dim(), |(k, unit)| {
        let change = z[[k, unit]];
        let (y, complement) = (trace.y[last][k], trace.complement[last][k]);
        let [first, second]: [f64; 2] = slopes(y * complement, change);
        match head {
            OutputLoss::LinearQuadratic => change,
            OutputLoss::SigmoidQuadratic => {
                let hot = is_hot(head, trace.label, k);
                let residual = grown(if hot { complement } else { y }, change).min(1.0);
                // r·σ′ is below 1/4 anywhere.
                ((first * first + residual * second) * change).min(0.25)
            }
            OutputLoss::SigmoidCrossEntropy | OutputLoss::Logistic => (first * change).min(1.0),
            OutputLoss::SoftmaxCrossEntropy => {
                let apart = 2.0 * farthest[unit];
                (grown(y.min(complement), apart) * apart).min(1.0)
            }
        }
    })
}

impl UnitReach<'_> {
    /// |Δz| of unit `k` of layer `m`.
    pub(super) fn z(self, m: usize, k: usize) -> f64 {
        self.moved.z[m - self.moved.layer][[k, self.unit]]
    }

    /// |Δδ| of unit `k` of layer `m`.
    pub(super) fn delta(self, m: usize, k: usize) -> f64 {
        self.moved.delta[m - self.moved.layer][[k, self.unit]]
    }

    /// |Δ∂L/∂a| of unit `k` of layer `m`.
    pub(super) fn pull(self, m: usize, k: usize) -> f64 {
        self.moved.pull[m - self.moved.layer][[k, self.unit]]
    }

    /// By how much the loss changes at most: each output at its steepest.
    pub(super) fn loss(self, trace: &SamplePass) -> f64 {
        let last = trace.z.len() - 1;
        let outputs = trace.delta[last].iter().enumerate();
        outputs
            .map(|(k, delta)| (delta.abs() + self.delta(last, k)) * self.z(last, k))
            .sum()
    }
}
