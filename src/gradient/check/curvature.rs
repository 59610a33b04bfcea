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
//! Cost: per unit the tail of layers above it, three times.

use ndarray::Array2;

use super::jet::{Jet, compose, upward};
use super::trace::{Trace, is_hot};
use crate::model::{Network, Parameters};
use crate::numeric::head::Head;

/// |W| of every layer.
pub(super) struct Magnitudes(Vec<Array2<f64>>);

impl Magnitudes {
    pub(super) fn new(theta: &Parameters<f64>) -> Self {
        let layers = 0..theta.layout().layers();
        Self(
            layers
                .map(|layer| theta.weights(layer).mapv(f64::abs))
                .collect(),
        )
    }
}

/// Bounds of |σ′|, |σ″| and |σ‴| within `reach` of a point where σ′ is `slope`.
fn slopes(slope: f64, reach: f64) -> Jet {
    let grown = slope.max(f64::MIN_POSITIVE) * growth(reach);
    [grown.min(0.25), grown.min(0.0963), grown.min(0.125)]
}

/// e^reach, below infinity.
fn growth(reach: f64) -> f64 {
    reach.min(700.0).exp()
}

/// Bounds of |L″| and |L‴| of every unit of layer `layer`, unit j within `reach[j]` of its z.
pub(super) fn of_units(
    network: &Network,
    magnitudes: &Magnitudes,
    trace: &Trace,
    layer: usize,
    reach: &[f64],
) -> Vec<[f64; 2]> {
    let (last, head) = (network.layout.layers() - 1, network.head());
    let units = reach.len();
    if layer == last {
        let own = |unit: usize| {
            let jets = (0..units).map(|other| {
                if other == unit {
                    [1.0, 0.0, 0.0]
                } else {
                    [0.0; 3]
                }
            });
            of_loss(head, trace, jets, reach[unit])
        };
        return (0..units).map(own).collect();
    }
    // Column j: the derivatives of every unit's z by unit j's.
    let own: Vec<Jet> = (0..units)
        .map(|unit| {
            compose(
                slopes(trace.slope(layer, unit), reach[unit]),
                [1.0, 0.0, 0.0],
            )
        })
        .collect();
    let orders = upward(
        |above| magnitudes.0[above].view(),
        last + 1,
        layer,
        &own,
        |above, k, unit, jet| compose(slopes(trace.slope(above, k), jet[0] * reach[unit]), jet),
    );
    let outputs = trace.z[last].len();
    (0..units)
        .map(|unit| {
            let jets = (0..outputs).map(|k| [0, 1, 2].map(|order| orders[order][[k, unit]]));
            of_loss(head, trace, jets, reach[unit])
        })
        .collect()
}

/// Bounds of |L″| and |L‴|, from those of the outputs' derivatives, for |t| ≤ `reach`.
fn of_loss(
    head: Head,
    trace: &Trace,
    jets: impl Iterator<Item = Jet> + Clone,
    reach: f64,
) -> [f64; 2] {
    let last = trace.z.len() - 1;
    if head == Head::SoftmaxCrossEntropy {
        return of_softmax(trace, jets, reach);
    }
    let (mut second, mut third) = (0.0, 0.0);
    for (unit, jet) in jets.enumerate() {
        let reach = jet[0] * reach;
        let hot = is_hot(head, trace.label, unit);
        let [s1, s2, s3] = slopes(trace.slope(last, unit), reach);
        let side = if hot { &trace.complement } else { &trace.y };
        let residual = (side[last][unit] * growth(reach)).min(1.0);
        let own = match head {
            Head::SigmoidQuadratic => [
                residual * s1,
                s1 * s1 + residual * s2,
                3.0 * s1 * s2 + residual * s3,
            ],
            Head::LinearQuadratic => [trace.delta[last][unit].abs() + reach, 1.0, 0.0],
            _ => [residual, s1, s2],
        };
        let [_, of_second, of_third] = compose(own, jet);
        second += of_second;
        third += of_third;
    }
    [second, third]
}

/// ln Σ e^z − z_t: L″ is the variance of z′ under p and the mean of z″, L‴ the third central moment,
/// three covariances of z′ and z″, and the mean of z‴ (means against the target's). With pairs of
/// units, E|X − EX|ⁿ ≤ Σ p_k p_m |X_k − X_m|ⁿ ≤ 2ⁿ·Σ p_k (1 − p_k)·|X_k|ⁿ for n = 3, and half of
/// that for n = 2; |Cov| ≤ √(Var X · Var Y). A saturated softmax so has small bounds, as it should.
fn of_softmax(trace: &Trace, jets: impl Iterator<Item = Jet> + Clone, reach: f64) -> [f64; 2] {
    let last = trace.z.len() - 1;
    let largest = jets.clone().fold(0.0, |most: f64, jet| most.max(jet[0]));
    let growth = growth(2.0 * largest * reach);
    let [mut squares, mut cubes, mut others, mut second, mut third] = [0.0; 5];
    for (unit, [z1, z2, z3]) in jets.enumerate() {
        let p = (trace.y[last][unit] * growth).min(1.0);
        let miss = (trace.complement[last][unit] * growth).min(1.0);
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
