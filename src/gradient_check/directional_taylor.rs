//! Derivatives of the losses along one direction of θ, exact: a Taylor series carried through the
//! forward pass, W → W + t·V.
//!
//! Cost: about seven forward passes.

use super::jet::{Jet, compose, of_loss, sigmoid};
use super::sample_pass::SamplePass;
use crate::model::{Network, Parameters};

/// Means over the rows, at θ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DirectionalTaylor {
    /// The mean of L′: g·v without l2.
    pub first: f64,
    /// The mean of |L″|.
    pub second: f64,
    /// The mean of |L‴|.
    pub third: f64,
    /// The largest |z′| of any unit in any row.
    pub fastest: f64,
}

pub(super) fn of(
    network: &Network,
    theta: &Parameters<f64>,
    traces: &[SamplePass],
    direction: &Parameters<f64>,
) -> DirectionalTaylor {
    let mut along = DirectionalTaylor::default();
    for trace in traces {
        let [first, second, third] = of_row(network, theta, trace, direction, &mut along.fastest);
        along.first += first;
        along.second += second.abs();
        along.third += third.abs();
    }
    let share = 1.0 / traces.len() as f64;
    along.first *= share;
    along.second *= share;
    along.third *= share;
    along
}

fn of_row(
    network: &Network,
    theta: &Parameters<f64>,
    trace: &SamplePass,
    direction: &Parameters<f64>,
    fastest: &mut f64,
) -> Jet {
    let last = trace.z.len() - 1;
    // a′, a″, a‴ of the inputs of a layer.
    let mut below = vec![[0.0; 3]; trace.a[0].len()];
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
                    z[0] += w[i] * a[0] + v[i] * trace.a[layer][i];
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
                .map(|(unit, &jet)| compose(sigmoid(trace, layer, unit), jet))
                .collect();
        }
    }
    of_loss(network.head(), trace, &jets)
}
