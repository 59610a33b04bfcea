//! Jets: the first K derivatives of a quantity along a line through θ (Taylor mode), 3 or 5 of them.
//!
//! A network is sums and functions of one number, so a jet needs two rules: sums are linear, and
//! [`compose`] is the chain rule of order K (Faà di Bruno). Exact derivatives (`along.rs`,
//! `taylor.rs`) and bounds of them (`curvature.rs`) are carried by the same rules.

use ndarray::{Array2, ArrayView2};

use super::sample_pass::{SamplePass, is_hot};
use crate::numeric::output_loss::OutputLoss;

/// f′, f″, f‴, …
pub(super) type Jet<const K: usize = 3> = [f64; K];

/// Pascal's triangle.
const CHOOSE: [[f64; 5]; 5] = [
    [1.0, 0.0, 0.0, 0.0, 0.0],
    [1.0, 1.0, 0.0, 0.0, 0.0],
    [1.0, 2.0, 1.0, 0.0, 0.0],
    [1.0, 3.0, 3.0, 1.0, 0.0],
    [1.0, 4.0, 6.0, 4.0, 1.0],
];

/// The n-th derivative of a product (Leibniz), from those of its factors, each from the 0-th on.
pub(super) fn product(n: usize, a: &[f64], b: &[f64]) -> f64 {
    (0..=n).map(|i| CHOOSE[n][i] * a[i] * b[n - i]).sum()
}

/// The derivatives of g(f), of those of g at f and those of f: from g⁽ᵐ⁾(f)′ = g⁽ᵐ⁺¹⁾(f)·f′, order by
/// order.
pub(super) fn compose<const K: usize>(g: Jet<K>, f: Jet<K>) -> Jet<K> {
    // Row m: the derivatives of g⁽ᵐ⁺¹⁾(f), from the 0-th on.
    let mut outer = [[0.0; K]; K];
    for (row, g) in outer.iter_mut().zip(g) {
        row[0] = g;
    }
    for n in 1..K {
        for m in 0..K - n {
            outer[m][n] = product(n - 1, &outer[m + 1], &f);
        }
    }
    std::array::from_fn(|n| product(n, &outer[0], &f))
}

/// σ′, σ″, σ‴ of unit `unit` of layer `layer`.
pub(super) fn sigmoid(trace: &SamplePass, layer: usize, unit: usize) -> Jet {
    let slope = trace.slope(layer, unit);
    let tilt = trace.complement[layer][unit] - trace.y[layer][unit];
    [slope, slope * tilt, slope * (1.0 - 6.0 * slope)]
}

/// Of the sample's loss, from those of the outputs' z.
pub(super) fn of_loss(head: OutputLoss, trace: &SamplePass, jets: &[Jet]) -> Jet {
    let last = trace.z.len() - 1;
    if head == OutputLoss::SoftmaxCrossEntropy {
        // Cumulants under p of what the others' z move against the target's: a saturated p leaves
        // terms as small as it is, and no difference of large ones.
        let target = jets[trace.label];
        let mean = |of: &dyn Fn(Jet) -> f64| {
            let terms = trace.y[last].iter().zip(jets);
            let moved = terms.map(|(p, jet)| (p, std::array::from_fn(|n| jet[n] - target[n])));
            moved.map(|(p, jet)| p * of(jet)).sum::<f64>()
        };
        let m1 = mean(&|[z1, ..]| z1);
        let m2 = mean(&|[_, z2, _]| z2);
        return [
            m1,
            mean(&|[z1, ..]| (z1 - m1).powi(2)) + m2,
            mean(&|[z1, ..]| (z1 - m1).powi(3))
                + 3.0 * mean(&|[z1, z2, _]| (z1 - m1) * (z2 - m2))
                + mean(&|[.., z3]| z3),
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
            OutputLoss::SigmoidQuadratic => [
                residual * s1,
                s1 * s1 + residual * s2,
                3.0 * s1 * s2 + residual * s3,
            ],
            OutputLoss::LinearQuadratic => [trace.delta[last][unit], 1.0, 0.0],
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
/// Returns K orders, `(outputs, units)`. `weights` gives the weights of a layer, `activate` the
/// jet of unit `k` of layer `above` from that of its z, along unit `unit`'s line.
pub(super) fn upward<'w, const K: usize>(
    weights: impl Fn(usize) -> ArrayView2<'w, f64>,
    layers: usize,
    layer: usize,
    own: &[Jet<K>],
    activate: impl Fn(usize, usize, usize, Jet<K>) -> Jet<K>,
) -> [Array2<f64>; K] {
    let first = weights(layer + 1);
    let mut orders: [_; K] = std::array::from_fn(|order| {
        Array2::from_shape_fn(first.dim(), |(above, unit)| {
            first[[above, unit]] * own[unit][order]
        })
    });
    for above in layer + 1..layers - 1 {
        for k in 0..orders[0].nrows() {
            for unit in 0..own.len() {
                let jet = std::array::from_fn(|order| orders[order][[k, unit]]);
                let jet = activate(above, k, unit, jet);
                for (order, of_order) in orders.iter_mut().enumerate() {
                    of_order[[k, unit]] = jet[order];
                }
            }
        }
        orders = orders.map(|order| weights(above + 1).dot(&order));
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_rule_is_faà_di_bruno_s() {
        let (g, f) = ([2.0, 3.0, 5.0], [7.0, 11.0, 13.0]);
        let [first, second, third] = compose(g, f);
        assert_eq!(first, 2.0 * 7.0);
        assert_eq!(second, 3.0 * 49.0 + 2.0 * 11.0);
        assert_eq!(third, 5.0 * 343.0 + 3.0 * 3.0 * 77.0 + 2.0 * 13.0);
        // e^(t²) at t = 1: its derivatives are 2, 6, 20, 76, 312 times e.
        assert_eq!(
            compose([1.0; 5], [2.0, 2.0, 0.0, 0.0, 0.0]),
            [2.0, 6.0, 20.0, 76.0, 312.0]
        );
    }
}
