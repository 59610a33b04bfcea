//! Derivatives of the losses along one direction of θ, exact: a Taylor series carried through the
//! forward pass, W → W + t·V.
//!
//! Cost: about seven forward passes.

use super::trace::{Trace, is_hot};
use crate::model::{Network, Parameters};
use crate::numeric::head::Head;

/// Means over the rows, at θ.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Along {
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
    traces: &[Trace],
    direction: &Parameters<f64>,
) -> Along {
    let mut along = Along::default();
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
    trace: &Trace,
    direction: &Parameters<f64>,
    fastest: &mut f64,
) -> [f64; 3] {
    let last = trace.z.len() - 1;
    // a′, a″, a‴ of the inputs of a layer.
    let mut below = vec![[0.0; 3]; trace.a[0].len()];
    let mut jets: Vec<[f64; 3]> = Vec::new();
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
            let activated = jets.iter().enumerate().map(|(unit, &[z1, z2, z3])| {
                let [s1, s2, s3] = slopes(trace, layer, unit);
                [
                    s1 * z1,
                    s2 * z1 * z1 + s1 * z2,
                    s3 * z1.powi(3) + 3.0 * s2 * z1 * z2 + s1 * z3,
                ]
            });
            below = activated.collect();
        }
    }
    of_loss(network.head(), trace, &jets)
}

/// σ′, σ″, σ‴.
fn slopes(trace: &Trace, layer: usize, unit: usize) -> [f64; 3] {
    let slope = trace.slope(layer, unit);
    let tilt = trace.complement[layer][unit] - trace.y[layer][unit];
    [slope, slope * tilt, slope * (1.0 - 6.0 * slope)]
}

fn of_loss(head: Head, trace: &Trace, jets: &[[f64; 3]]) -> [f64; 3] {
    let last = trace.z.len() - 1;
    let mut loss = [0.0; 3];
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
    for (unit, &[z1, z2, z3]) in jets.iter().enumerate() {
        let [s1, s2, s3] = slopes(trace, last, unit);
        let hot = is_hot(head, trace.label, unit);
        let residual = if hot {
            -trace.complement[last][unit]
        } else {
            trace.y[last][unit]
        };
        let [l1, l2, l3] = match head {
            Head::SigmoidQuadratic => [
                residual * s1,
                s1 * s1 + residual * s2,
                3.0 * s1 * s2 + residual * s3,
            ],
            Head::LinearQuadratic => [trace.delta[last][unit], 1.0, 0.0],
            _ => [residual, s1, s2],
        };
        loss[0] += l1 * z1;
        loss[1] += l2 * z1 * z1 + l1 * z2;
        loss[2] += l3 * z1.powi(3) + 3.0 * l2 * z1 * z2 + l1 * z3;
    }
    loss
}
