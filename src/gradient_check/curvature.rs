//! How far the second and third derivatives of a sample's loss can go while one unit is perturbed:
//! what a difference quotient leaves out.
//!
//! Along z_j + t, |t| ≤ Δ, every quantity above unit j is a function of t. Bounds of the first
//! three derivatives of each are carried upward (a Taylor series of absolute values), from
//!
//! ```text
//! σ′(z + t) ≤ e^|t|·σ′(z),  |σ″| ≤ σ′,  |σ‴| ≤ σ′;  σ′ ≤ 1/4,  |σ″| ≤ 0.0963,  |σ‴| ≤ 1/8
//! ```
//!
//! (σ″ = σ′(1 − 2σ), σ‴ = σ′(1 − 6σ′), and ln σ′ has the slope 1 − 2σ). Residuals grow by e^|t| at
//! most as well, a softmax probability by e^2|t|. So μ₂ = max |L″| and μ₃ = max |L‴| over the whole
//! step are bounded, not guessed from θ: Lagrange's remainders μ₂·h/2 and μ₃·h²/6 hold for any h.
//!
//! A central quotient that is extrapolated leaves out μ₅ instead; |σ⁗| and |σ⁽⁵⁾| are not above σ′ either.
//!
//! Cost: per unit the tail of layers above it, three or five times.

use ndarray::{Array2, ArrayView2};

use super::jet::{Jet, compose, product, upward};
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

    /// |W| of layer `layer`, `(units, fan_in)`.
    pub(super) fn of(&self, layer: usize) -> ArrayView2<'_, f64> {
        self.0[layer].view()
    }
}

/// Bounds of |σ′|, |σ″|, … within `reach` of a point where σ′ is `slope`: none is above σ′ itself, nor
/// above what it is at its largest anywhere.
pub(super) fn slopes<const K: usize>(slope: f64, reach: f64) -> Jet<K> {
    const LARGEST: [f64; 5] = [0.25, 0.0963, 0.125, 0.1277, 0.25];
    let grown = grown(slope, reach);
    std::array::from_fn(|order| grown.min(LARGEST[order]))
}

/// A tail of e^−|z| within `reach` of its z: e^reach times as large, or infinite. What has underflowed
/// to 0 may be any number below the smallest, of which e^reach can make 1 again.
pub(super) fn grown(tail: f64, reach: f64) -> f64 {
    tail.max(f64::MIN_POSITIVE) * reach.exp()
}

/// Bounds of |L″| and |L‴| of every unit of layer `layer`, unit j within `reach[j]` of its z.
pub(super) fn of_units(
    network: &Network,
    magnitudes: &WeightMagnitudes,
    trace: &SamplePass,
    layer: usize,
    reach: &[f64],
) -> Vec<[f64; 2]> {
    let softmax = network.head() == OutputLoss::SoftmaxCrossEntropy;
    let outputs = outputs(network, magnitudes, trace, layer, reach);
    let units = outputs.iter().zip(reach);
    units
        .map(|(jets, &reach)| {
            if softmax {
                return of_softmax(trace, jets, reach);
            }
            let [_, second, third] = of_loss(network.head(), trace, jets, reach);
            [second, third]
        })
        .collect()
}

/// Bounds of |L⁽⁵⁾|, which central quotients leave out when they are extrapolated.
pub(super) fn fifths(
    network: &Network,
    magnitudes: &WeightMagnitudes,
    trace: &SamplePass,
    layer: usize,
    reach: &[f64],
) -> Vec<f64> {
    let softmax = network.head() == OutputLoss::SoftmaxCrossEntropy;
    let outputs = outputs::<5>(network, magnitudes, trace, layer, reach);
    let units = outputs.iter().zip(reach);
    units
        .map(|(jets, &reach)| {
            if softmax {
                return fifth_of_softmax(trace, jets, reach);
            }
            of_loss(network.head(), trace, jets, reach)[4]
        })
        .collect()
}

/// Bounds of the derivatives of every output's z along each unit's, `(units, outputs)`.
fn outputs<const K: usize>(
    network: &Network,
    magnitudes: &WeightMagnitudes,
    trace: &SamplePass,
    layer: usize,
    reach: &[f64],
) -> Vec<Vec<Jet<K>>> {
    let layers = network.layout.layers();
    let units = 0..reach.len();
    let straight: Jet<K> = std::array::from_fn(|order| f64::from(u8::from(order == 0)));
    if layer + 1 == layers {
        let along = |unit| {
            let jet = |other| if other == unit { straight } else { [0.0; K] };
            units.clone().map(jet).collect()
        };
        return units.clone().map(along).collect();
    }
    let own: Vec<Jet<K>> = units
        .clone()
        .map(|unit| compose(slopes(trace.slope(layer, unit), reach[unit]), straight))
        .collect();
    let orders = upward(
        |above| magnitudes.of(above),
        layers,
        layer,
        &own,
        |above, k, unit, jet| compose(slopes(trace.slope(above, k), jet[0] * reach[unit]), jet),
    );
    let outputs = trace.z[layers - 1].len();
    let along = |unit| {
        let jet = |k| std::array::from_fn(|order: usize| orders[order][[k, unit]]);
        (0..outputs).map(jet).collect()
    };
    units.map(along).collect()
}

/// Bounds of |L′|, |L″|, …, from those of the outputs' derivatives, for |t| ≤ `reach`; not of softmax.
fn of_loss<const K: usize>(
    head: OutputLoss,
    trace: &SamplePass,
    jets: &[Jet<K>],
    reach: f64,
) -> Jet<K> {
    let last = trace.z.len() - 1;
    let mut loss = [0.0; K];
    for (unit, &jet) in jets.iter().enumerate() {
        let reach = jet[0] * reach;
        let hot = is_hot(head, trace.label, unit);
        let slopes: Jet<K> = slopes(trace.slope(last, unit), reach);
        let side = if hot { &trace.complement } else { &trace.y };
        let residual = grown(side[last][unit], reach).min(1.0);
        // The residual, and its derivatives.
        let mut own = [0.0; K];
        own[0] = residual;
        own[1..].copy_from_slice(&slopes[..K - 1]);
        match head {
            OutputLoss::SigmoidQuadratic => {
                // r·r′, and its derivatives.
                own = std::array::from_fn(|n| product(n, &own, &slopes));
            }
            OutputLoss::LinearQuadratic => {
                own = [0.0; K];
                own[0] = trace.delta[last][unit].abs() + reach;
                own[1] = 1.0;
            }
            _ => {}
        }
        for (sum, term) in loss.iter_mut().zip(compose(own, jet)) {
            *sum += term;
        }
    }
    loss
}

/// ln Σ e^z − z_t: L″ is the variance of z′ under p and the mean of z″, L‴ the third central moment,
/// three covariances of z′ and z″, and the mean of z‴ (means against the target's). With pairs of
/// units, E|X − EX|ⁿ ≤ Σ p_k p_m |X_k − X_m|ⁿ ≤ 2ⁿ·Σ p_k (1 − p_k)·|X_k|ⁿ for n = 3, and half of
/// that for n = 2; |Cov| ≤ √(Var X · Var Y). A saturated softmax so has small bounds, as it should.
fn of_softmax(trace: &SamplePass, jets: &[Jet], reach: f64) -> [f64; 2] {
    let last = trace.z.len() - 1;
    let reach = 2.0 * fastest(jets) * reach;
    let [mut squares, mut cubes, mut others, mut second, mut third] = [0.0; 5];
    for (unit, &[z1, z2, z3]) in jets.iter().enumerate() {
        let p = grown(trace.y[last][unit], reach).min(1.0);
        let miss = grown(trace.complement[last][unit], reach).min(1.0);
        squares += p * miss * z1 * z1;
        cubes += p * miss * z1.powi(3);
        others += p * miss * z2 * z2;
        let residual = if unit == trace.label { miss } else { p };
        second += residual * z2;
        third += residual * z3;
    }
    [
        2.0 * squares + second,
        8.0 * cubes + 6.0 * (squares * others).sqrt() + third,
    ]
}

/// The largest |z′| of any output.
fn fastest<const K: usize>(jets: &[Jet<K>]) -> f64 {
    jets.iter().fold(0.0, |most: f64, jet| most.max(jet[0]))
}

/// Order by order, with m = Σ p_k·z′_k, p′_k = p_k·(z′_k − m) and L′ = Σ r_k·z′_k, where the residuals r
/// are p but for the target's, the sum of all others' (and its sign): every term is relative to a
/// residual, so that a saturated softmax has small bounds here as well.
fn fifth_of_softmax(trace: &SamplePass, jets: &[Jet<5>], reach: f64) -> f64 {
    let (last, target) = (trace.z.len() - 1, trace.label);
    let reach = 2.0 * fastest(jets) * reach;
    let grown = |p: f64| grown(p, reach).min(1.0);
    // Bounds of the n-th derivatives of p_k, n = 0 … 4.
    let mut p: Vec<[f64; 5]> = (trace.y[last].iter())
        .map(|&p| [grown(p), 0.0, 0.0, 0.0, 0.0])
        .collect();
    let mut mean = [0.0; 5];
    for n in 0..4 {
        mean[n] = p.iter().zip(jets).map(|(p, jet)| product(n, p, jet)).sum();
        for (p, jet) in p.iter_mut().zip(jets) {
            let moved: [f64; 5] = std::array::from_fn(|n| jet[n] + mean[n]);
            p[n + 1] = product(n, p, &moved);
        }
    }
    let others = |n: usize| {
        let others = p.iter().enumerate().filter(|(k, _)| *k != target);
        others.map(|(_, p)| p[n]).sum::<f64>()
    };
    let mut of_target: [f64; 5] = std::array::from_fn(others);
    of_target[0] = grown(trace.complement[last][target]);
    p[target] = of_target;
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
