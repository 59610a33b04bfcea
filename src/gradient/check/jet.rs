//! Jets of order 3: the first three derivatives of a quantity along a line through θ (Taylor mode).
//!
//! A network is sums and functions of one number, so a jet needs two rules: sums are linear, and
//! [`compose`] is the chain rule of third order (Faà di Bruno). Exact derivatives (`along.rs`,
//! `taylor.rs`) and bounds of them (`curvature.rs`) are carried by the same rules.

use ndarray::{Array2, ArrayView2};

use super::trace::{Trace, is_hot};
use crate::numeric::head::Head;

/// f′, f″, f‴.
pub(super) type Jet = [f64; 3];

/// g(f)′, g(f)″, g(f)‴, of g′, g″, g‴ at f.
pub(super) fn compose([g1, g2, g3]: Jet, [f1, f2, f3]: Jet) -> Jet {
    [
        g1 * f1,
        g2 * f1 * f1 + g1 * f2,
        g3 * f1.powi(3) + 3.0 * g2 * f1 * f2 + g1 * f3,
    ]
}

/// σ′, σ″, σ‴ of unit `unit` of layer `layer`.
pub(super) fn sigmoid(trace: &Trace, layer: usize, unit: usize) -> Jet {
    let slope = trace.slope(layer, unit);
    let tilt = trace.complement[layer][unit] - trace.y[layer][unit];
    [slope, slope * tilt, slope * (1.0 - 6.0 * slope)]
}

/// Of the sample's loss, from those of the outputs' z.
pub(super) fn of_loss(head: Head, trace: &Trace, jets: &[Jet]) -> Jet {
    let last = trace.z.len() - 1;
    if head == Head::SoftmaxCrossEntropy {
        // Cumulants of z′ under p, against the target.
        let mean = |of: &dyn Fn(usize) -> f64| {
            let terms = trace.y[last].iter().enumerate();
            terms.map(|(unit, p)| p * of(unit)).sum::<f64>()
        };
        let m1 = mean(&|k| jets[k][0]);
        let m2 = mean(&|k| jets[k][1]);
        let center = |k: usize| jets[k][0] - m1;
        let target = jets[trace.label];
        return [
            m1 - target[0],
            mean(&|k| center(k).powi(2)) + m2 - target[1],
            mean(&|k| center(k).powi(3))
                + 3.0 * mean(&|k| center(k) * (jets[k][1] - m2))
                + mean(&|k| jets[k][2])
                - target[2],
        ];
    }
    let mut loss = [0.0; 3];
    for (unit, &jet) in jets.iter().enumerate() {
        let [s1, s2, s3] = sigmoid(trace, last, unit);
        let hot = is_hot(head, trace.label, unit);
        let residual = if hot {
            -trace.complement[last][unit]
        } else {
            trace.y[last][unit]
        };
        let own = match head {
            Head::SigmoidQuadratic => [
                residual * s1,
                s1 * s1 + residual * s2,
                3.0 * s1 * s2 + residual * s3,
            ],
            Head::LinearQuadratic => [trace.delta[last][unit], 1.0, 0.0],
            _ => [residual, s1, s2],
        };
        for (sum, term) in loss.iter_mut().zip(compose(own, jet)) {
            *sum += term;
        }
    }
    loss
}

/// Carries one jet a unit of layer `layer` up to the outputs' z: `own` are the jets of the units'
/// activations, each along its own line.
///
/// Returns three orders, `(outputs, units)`. `weights` gives the weights of a layer, `activate` the
/// jet of unit `k` of layer `above` from that of its z, along unit `unit`'s line.
pub(super) fn upward<'w>(
    weights: impl Fn(usize) -> ArrayView2<'w, f64>,
    layers: usize,
    layer: usize,
    own: &[Jet],
    activate: impl Fn(usize, usize, usize, Jet) -> Jet,
) -> [Array2<f64>; 3] {
    let first = weights(layer + 1);
    let mut orders = [0, 1, 2].map(|order| {
        Array2::from_shape_fn(first.dim(), |(above, unit)| {
            first[[above, unit]] * own[unit][order]
        })
    });
    for above in layer + 1..layers - 1 {
        for k in 0..orders[0].nrows() {
            for unit in 0..own.len() {
                let jet = [0, 1, 2].map(|order| orders[order][[k, unit]]);
                let jet = activate(above, k, unit, jet);
                for order in 0..3 {
                    orders[order][[k, unit]] = jet[order];
                }
            }
        }
        orders = orders.map(|order| weights(above + 1).dot(&order));
    }
    orders
}
