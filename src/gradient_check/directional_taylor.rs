//! Exact derivatives of the losses along one direction of θ: a Taylor series propagated through the
//! forward pass with W + t·V.
//!
//! Cost: about seven forward passes.

use super::jet::{Jet, compose, loss_jet, sigmoid};
use super::sample_pass::SamplePass;
use crate::model::{Network, Parameters};

/// Derivatives along one direction, as means over the rows, at θ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DirectionalTaylor {
    /// The mean of L′, which is g·v without the l2 term.
    pub first: f64,
    /// The mean of |L″|.
    pub second: f64,
    /// The mean of |L‴|.
    pub third: f64,
    /// The largest |z′| of any unit in any row.
    pub fastest: f64,
}

/// Computes the derivatives along `direction`, as means over the rows of `passes`.
pub(super) fn row_means(
    network: &Network,
    theta: &Parameters<f64>,
    passes: &[SamplePass],
    direction: &Parameters<f64>,
) -> DirectionalTaylor {
    let mut taylor = DirectionalTaylor::default();
    for pass in passes {
        let [first, second, third] = row_jet(network, theta, pass, direction, &mut taylor.fastest);
        taylor.first += first;
        taylor.second += second.abs();
        taylor.third += third.abs();
    }
    let share = 1.0 / passes.len() as f64;
    taylor.first *= share;
    taylor.second *= share;
    taylor.third *= share;
    taylor
}

/// Computes the jet of one row's loss along `direction`, and raises `fastest` to the row's largest
/// |z′|.
fn row_jet(
    network: &Network,
    theta: &Parameters<f64>,
    pass: &SamplePass,
    direction: &Parameters<f64>,
    fastest: &mut f64,
) -> Jet {
    let last = pass.z.len() - 1;
    // a′, a″, a‴ of the inputs of a layer.
    let mut below = vec![[0.0; 3]; pass.a[0].len()];
    let mut jets: Vec<Jet> = Vec::new();
    for layer in 0..=last {
        let (weights, moves) = (theta.weights(layer), direction.weights(layer));
        let biases = direction.biases(layer);
        jets = weights
            .outer_iter()
            .zip(moves.outer_iter())
            .enumerate()
            .map(|(unit, (w, v))| {
                let mut z = [biases.get(unit).copied().unwrap_or(0.0), 0.0, 0.0];
                for (i, a) in below.iter().enumerate() {
                    // (W + tV)·a(t)
                    z[0] += w[i] * a[0] + v[i] * pass.a[layer][i];
                    z[1] += w[i] * a[1] + 2.0 * v[i] * a[0];
                    z[2] += w[i] * a[2] + 3.0 * v[i] * a[1];
                }
                *fastest = fastest.max(z[0].abs());
                z
            })
            .collect();
        if layer < last {
            let activated = jets.iter().enumerate();
            below = activated
                .map(|(unit, &jet)| compose(sigmoid(pass, layer, unit), jet))
                .collect();
        }
    }
    loss_jet(network.output_loss(), pass, &jets)
}
