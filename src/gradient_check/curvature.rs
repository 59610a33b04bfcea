//! Bounds on the second and third derivatives of a sample's loss while one unit is perturbed; they
//! bound the truncation of a difference quotient.
//!
//! Along z_j + t, |t| ≤ Δ, every quantity above unit j is a function of t. Bounds on the first
//! three derivatives of each are propagated upward (a Taylor series of absolute values), from
//!
//! ```text
//! σ′(z + t) ≤ e^|t|·σ′(z),  |σ″| ≤ σ′,  |σ‴| ≤ σ′;  σ′ ≤ 1/4,  |σ″| ≤ 0.0963,  |σ‴| ≤ 1/8
//! ```
//!
//! (σ″ = σ′(1 − 2σ), σ‴ = σ′(1 − 6σ′), and ln σ′ has the slope 1 − 2σ). Residuals also grow by at
//! most e^|t|, softmax probabilities by at most e^2|t|. So μ₂ = max |L″| and μ₃ = max |L‴| are
//! bounded over the whole increment instead of being estimated at θ: Lagrange's remainders μ₂·h/2
//! and μ₃·h²/6 hold for any h.
//!
//! The truncation of an extrapolated central quotient depends on μ₅ = max |L⁽⁵⁾| instead; |σ⁗| and
//! |σ⁽⁵⁾| are at most σ′ as well.
//!
//! Cost: per unit, three or five passes through the layers above it.

use ndarray::{Array2, ArrayView2};

use super::jet::{Jet, compose, product, propagate};
use super::sample_pass::{SamplePass, is_hot};
use crate::model::{Network, Parameters};
use crate::numeric::output_loss::OutputLoss;

/// |W| of every layer.
pub(super) struct WeightMagnitudes(Vec<Array2<f64>>);

impl WeightMagnitudes {
    pub(super) fn new(theta: &Parameters<f64>) -> Self {
        let layers = 0..theta.layout().layers();
        Self(
            layers
                .map(|layer| theta.weights(layer).mapv(f64::abs))
                .collect(),
        )
    }

    /// Returns |W| of layer `layer`, `(units, fan_in)`.
    pub(super) fn of(&self, layer: usize) -> ArrayView2<'_, f64> {
        self.0[layer].view()
    }
}

/// Bounds |σ′|, |σ″|, … within `reach` of a point where σ′ is `slope`: each is at most the largest
/// σ′ within reach, and at most its own global maximum.
pub(super) fn slopes<const K: usize>(slope: f64, reach: f64) -> Jet<K> {
    const LARGEST: [f64; 5] = [0.25, 0.0963, 0.125, 0.1277, 0.25];
    let grown = grown(slope, reach);
    std::array::from_fn(|order| grown.min(LARGEST[order]))
}

/// Bounds a quantity that decays like e^−|z|, within `reach` of its z: e^reach times the quantity,
/// or ∞. A quantity that underflowed to 0 counts as the smallest normal number, which e^reach may
/// bring back to 1.
pub(super) fn grown(value: f64, reach: f64) -> f64 {
    value.max(f64::MIN_POSITIVE) * reach.exp()
}

/// Bounds |L″| and |L‴| along the z of every unit of layer `layer`, within `reach[j]` of the z of
/// unit j.
pub(super) fn second_and_third(
    network: &Network,
    magnitudes: &WeightMagnitudes,
    pass: &SamplePass,
    layer: usize,
    reach: &[f64],
) -> Vec<[f64; 2]> {
    let softmax = network.output_loss() == OutputLoss::SoftmaxCrossEntropy;
    let outputs = outputs(network, magnitudes, pass, layer, reach);
    let units = outputs.iter().zip(reach);
    units
        .map(|(jets, &reach)| {
            let derivatives = if softmax {
                softmax_derivatives(pass, jets, reach)
            } else {
                let [_, second, third] = loss_jet(network.output_loss(), pass, jets, reach);
                [second, third]
            };
            derivatives.map(|derivative| derivative * pass.weight)
        })
        .collect()
}

/// Bounds |L⁽⁵⁾| likewise, which determines the truncation of extrapolated central quotients.
pub(super) fn fifth_derivatives(
    network: &Network,
    magnitudes: &WeightMagnitudes,
    pass: &SamplePass,
    layer: usize,
    reach: &[f64],
) -> Vec<f64> {
    let softmax = network.output_loss() == OutputLoss::SoftmaxCrossEntropy;
    let outputs = outputs::<5>(network, magnitudes, pass, layer, reach);
    let units = outputs.iter().zip(reach);
    units
        .map(|(jets, &reach)| {
            let derivative = if softmax {
                softmax_fifth_derivative(pass, jets, reach)
            } else {
                loss_jet(network.output_loss(), pass, jets, reach)[4]
            };
            derivative * pass.weight
        })
        .collect()
}

/// Bounds the derivatives of every output's z along each unit's z, `(units, outputs)`.
fn outputs<const K: usize>(
    network: &Network,
    magnitudes: &WeightMagnitudes,
    pass: &SamplePass,
    layer: usize,
    reach: &[f64],
) -> Vec<Vec<Jet<K>>> {
    let layers = network.layout.layers();
    let units = 0..reach.len();
    let identity: Jet<K> = std::array::from_fn(|order| f64::from(u8::from(order == 0)));
    if layer + 1 == layers {
        let output_jets = |unit| {
            let jet = |other| if other == unit { identity } else { [0.0; K] };
            units.clone().map(jet).collect()
        };
        return units.clone().map(output_jets).collect();
    }
    let activations: Vec<Jet<K>> = units
        .clone()
        .map(|unit| compose(slopes(pass.slope(layer, unit), reach[unit]), identity))
        .collect();
    let orders = propagate(
        |above| magnitudes.of(above),
        layers,
        layer,
        &activations,
        |above, k, unit, jet| compose(slopes(pass.slope(above, k), jet[0] * reach[unit]), jet),
    );
    let outputs = pass.z[layers - 1].len();
    let output_jets = |unit| {
        let jet = |k| std::array::from_fn(|order: usize| orders[order][[k, unit]]);
        (0..outputs).map(jet).collect()
    };
    units.map(output_jets).collect()
}

/// Bounds |L′|, |L″|, … of the loss without its factor for |t| ≤ `reach`, from the bounds on the outputs' derivatives; for every
/// loss but softmax.
fn loss_jet<const K: usize>(
    output_loss: OutputLoss,
    pass: &SamplePass,
    jets: &[Jet<K>],
    reach: f64,
) -> Jet<K> {
    let last = pass.z.len() - 1;
    let mut loss = [0.0; K];
    for (unit, &jet) in jets.iter().enumerate() {
        let reach = jet[0] * reach;
        let hot = is_hot(output_loss, pass.label, unit);
        let slopes: Jet<K> = slopes(pass.slope(last, unit), reach);
        let side = if hot { &pass.one_minus_y } else { &pass.y };
        let residual = grown(side[last][unit], reach).min(1.0);
        // The residual and its derivatives.
        let mut derivatives = [0.0; K];
        derivatives[0] = residual;
        derivatives[1..].copy_from_slice(&slopes[..K - 1]);
        match output_loss {
            OutputLoss::SigmoidQuadratic => {
                // r·r′ and its derivatives.
                derivatives = std::array::from_fn(|n| product(n, &derivatives, &slopes));
            }
            OutputLoss::LinearQuadratic => {
                derivatives = [0.0; K];
                derivatives[0] = pass.residual(unit).abs() + reach;
                derivatives[1] = 1.0;
            }
            _ => {}
        }
        for (sum, term) in loss.iter_mut().zip(compose(derivatives, jet)) {
            *sum += term;
        }
    }
    loss
}

/// Bounds |L″| and |L‴| of L = ln Σ e^z − z_t.
///
/// L″ is the variance of z′ under p plus the mean of z″; L‴ is the third central moment of z′,
/// three times the covariance of z′ and z″, and the mean of z‴ (means relative to the target's
/// value). From pairs of units, E|X − EX|ⁿ ≤ Σ p_k p_m |X_k − X_m|ⁿ ≤ 2ⁿ·Σ p_k (1 − p_k)·|X_k|ⁿ for
/// n = 3, and half of that for n = 2; |Cov| ≤ √(Var X · Var Y). A saturated softmax therefore has
/// small bounds.
fn softmax_derivatives(pass: &SamplePass, jets: &[Jet], reach: f64) -> [f64; 2] {
    let last = pass.z.len() - 1;
    let reach = 2.0 * fastest(jets) * reach;
    let [mut squares, mut cubes, mut others, mut second, mut third] = [0.0; 5];
    for (unit, &[z1, z2, z3]) in jets.iter().enumerate() {
        let p = grown(pass.y[last][unit], reach).min(1.0);
        let miss = grown(pass.one_minus_y[last][unit], reach).min(1.0);
        squares += p * miss * z1 * z1;
        cubes += p * miss * z1.powi(3);
        others += p * miss * z2 * z2;
        let residual = if unit == pass.label { miss } else { p };
        second += residual * z2;
        third += residual * z3;
    }
    [
        2.0 * squares + second,
        8.0 * cubes + 6.0 * (squares * others).sqrt() + third,
    ]
}

/// Returns the largest |z′| of any output.
fn fastest<const K: usize>(jets: &[Jet<K>]) -> f64 {
    jets.iter().fold(0.0, |most: f64, jet| most.max(jet[0]))
}

/// Bounds |L⁽⁵⁾| of softmax, order by order.
///
/// With m = Σ p_k·z′_k: p′_k = p_k·(z′_k − m) and L′ = Σ r_k·z′_k. The residuals r equal p, except
/// that the target's is minus the sum of the others' p. Every term is relative to a residual, so a
/// saturated softmax has small bounds here as well.
fn softmax_fifth_derivative(pass: &SamplePass, jets: &[Jet<5>], reach: f64) -> f64 {
    let (last, target) = (pass.z.len() - 1, pass.label);
    let reach = 2.0 * fastest(jets) * reach;
    let grown = |p: f64| grown(p, reach).min(1.0);
    // Bounds on the n-th derivatives of p_k, n = 0 … 4.
    let mut p: Vec<[f64; 5]> = (pass.y[last].iter())
        .map(|&p| [grown(p), 0.0, 0.0, 0.0, 0.0])
        .collect();
    let mut mean = [0.0; 5];
    for n in 0..4 {
        mean[n] = p.iter().zip(jets).map(|(p, jet)| product(n, p, jet)).sum();
        for (p, jet) in p.iter_mut().zip(jets) {
            let centered: [f64; 5] = std::array::from_fn(|n| jet[n] + mean[n]);
            p[n + 1] = product(n, p, &centered);
        }
    }
    let others = |n: usize| {
        let others = p.iter().enumerate().filter(|(k, _)| *k != target);
        others.map(|(_, p)| p[n]).sum::<f64>()
    };
    let mut target_residual: [f64; 5] = std::array::from_fn(others);
    target_residual[0] = grown(pass.one_minus_y[last][target]);
    p[target] = target_residual;
    p.iter().zip(jets).map(|(p, jet)| product(4, p, jet)).sum()
}

#[cfg(test)]
mod tests {
    use super::slopes;

    /// σ⁽ⁿ⁺¹⁾ = σ′·q_n(x), x = 1 − 2σ, with q₀ = 1 and q_{n+1} = x·q_n − (1 − x²)/2·q_n′.
    #[test]
    fn no_derivative_of_sigma_is_above_its_bounds() {
        for step in -1000..=1000 {
            let x = f64::from(step) / 1000.0;
            let slope = (1.0 - x * x) / 4.0;
            let factors = [
                1.0,
                x,
                (3.0 * x * x - 1.0) / 2.0,
                3.0 * x.powi(3) - 2.0 * x,
                7.5 * x.powi(4) - 7.5 * x * x + 1.0,
            ];
            let bounds: [f64; 5] = slopes(slope, 0.0);
            for (bound, factor) in bounds.iter().zip(factors) {
                assert!((slope * factor).abs() <= bound * (1.0 + 1e-12), "{x}");
            }
        }
    }
}
