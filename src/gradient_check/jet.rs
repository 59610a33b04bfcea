//! Jets: the first K = 3 or 5 derivatives of a quantity along a line through θ (Taylor mode).
//!
//! A network consists of sums and functions of one number, so jets need two rules: sums are linear,
//! and [`compose`] is the chain rule of order K (Faà di Bruno). The same rules propagate exact
//! derivatives (`directional_taylor.rs`, `error_curve/truncation.rs`) and bounds (`curvature.rs`).

use ndarray::{Array2, ArrayView2};

use super::sample_pass::{SamplePass, is_hot};
use crate::numeric::output_loss::OutputLoss;

/// f′, f″, f‴, …
pub(super) type Jet<const K: usize = 3> = [f64; K];

/// Binomial coefficients n over i, at `[n][i]`.
const BINOMIAL: [[f64; 5]; 5] = [
    [1.0, 0.0, 0.0, 0.0, 0.0],
    [1.0, 1.0, 0.0, 0.0, 0.0],
    [1.0, 2.0, 1.0, 0.0, 0.0],
    [1.0, 3.0, 3.0, 1.0, 0.0],
    [1.0, 4.0, 6.0, 4.0, 1.0],
];

/// Computes the n-th derivative of a product by Leibniz's rule, from the factors and their
/// derivatives, starting with the 0-th.
pub(super) fn product(n: usize, a: &[f64], b: &[f64]) -> f64 {
    (0..=n).map(|i| BINOMIAL[n][i] * a[i] * b[n - i]).sum()
}

/// Computes the derivatives of g(f) from those of g at f and those of f, order by order, by
/// g⁽ᵐ⁾(f)′ = g⁽ᵐ⁺¹⁾(f)·f′.
pub(super) fn compose<const K: usize>(g: Jet<K>, f: Jet<K>) -> Jet<K> {
    // Row m: g⁽ᵐ⁺¹⁾(f) and its derivatives.
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

/// Returns σ′, σ″, σ‴ of unit `unit` of layer `layer`.
pub(super) fn sigmoid(pass: &SamplePass, layer: usize, unit: usize) -> Jet {
    let slope = pass.slope(layer, unit);
    let tilt = pass.one_minus_y[layer][unit] - pass.y[layer][unit];
    [slope, slope * tilt, slope * (1.0 - 6.0 * slope)]
}

/// Computes the jet of the sample's loss from the jets of the outputs' z.
pub(super) fn loss_jet(output_loss: OutputLoss, pass: &SamplePass, jets: &[Jet]) -> Jet {
    unweighted_loss_jet(output_loss, pass, jets).map(|derivative| derivative * pass.weight)
}

fn unweighted_loss_jet(output_loss: OutputLoss, pass: &SamplePass, jets: &[Jet]) -> Jet {
    let last = pass.z.len() - 1;
    if output_loss == OutputLoss::SoftmaxCrossEntropy {
        // Cumulants under p of the outputs' z relative to the target's: with a saturated p the
        // terms are small, not differences of large terms.
        let target = jets[pass.label];
        let mean = |of: &dyn Fn(Jet) -> f64| {
            let terms = pass.y[last].iter().zip(jets);
            let relative = terms.map(|(p, jet)| (p, std::array::from_fn(|n| jet[n] - target[n])));
            relative.map(|(p, jet)| p * of(jet)).sum::<f64>()
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
        let [s1, s2, s3] = sigmoid(pass, last, unit);
        let hot = is_hot(output_loss, pass.label, unit);
        let residual = if hot {
            -pass.one_minus_y[last][unit]
        } else {
            pass.y[last][unit]
        };
        let derivatives = match output_loss {
            OutputLoss::SigmoidQuadratic => [
                residual * s1,
                s1 * s1 + residual * s2,
                3.0 * s1 * s2 + residual * s3,
            ],
            OutputLoss::LinearQuadratic => [pass.residual(unit), 1.0, 0.0],
            _ => [residual, s1, s2],
        };
        for (sum, term) in loss.iter_mut().zip(compose(derivatives, jet)) {
            *sum += term;
        }
    }
    loss
}

/// Propagates one jet per unit of layer `layer` up to the outputs' z. `activations` are the jets of
/// the units' activations, each along its own line.
///
/// Returns K orders, `(outputs, units)`. `weights(layer)` returns the weights of a layer;
/// `activate(above, k, unit, jet)` maps the jet of the z of unit `k` of layer `above`, along the
/// line of `unit`, to the jet of its activation.
pub(super) fn propagate<'w, const K: usize>(
    weights: impl Fn(usize) -> ArrayView2<'w, f64>,
    layers: usize,
    layer: usize,
    activations: &[Jet<K>],
    activate: impl Fn(usize, usize, usize, Jet<K>) -> Jet<K>,
) -> [Array2<f64>; K] {
    let first = weights(layer + 1);
    let mut orders: [_; K] = std::array::from_fn(|order| {
        Array2::from_shape_fn(first.dim(), |(above, unit)| {
            first[[above, unit]] * activations[unit][order]
        })
    });
    for above in layer + 1..layers - 1 {
        for k in 0..orders[0].nrows() {
            for unit in 0..activations.len() {
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
