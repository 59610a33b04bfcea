//! The second and third derivative of the loss along every parameter, exact: what a difference
//! leaves out, as it is and not as a bound.
//!
//! A weight from input i to unit j moves z_j by h·a_i and nothing else, so along it the k-th
//! derivative of a sample's loss is a_iᵏ times that along z_j: the jets of the U units (`jet.rs`)
//! give those of all N parameters.
//!
//! Cost: of each row, for each unit the tail of layers above it, three times.

use crate::gradient_check::jet::{Jet, compose, of_loss, sigmoid, upward};
use crate::gradient_check::sample_pass::SamplePass;
use crate::model::{Network, Parameters};
use crate::parallel::Workers;

/// Derivatives of the objective, l2 included, along each of the N parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivatives {
    /// ∂L/∂θᵢ, `(N,)`.
    pub first: Vec<f64>,
    /// ∂²L/∂θᵢ², `(N,)`.
    pub second: Vec<f64>,
    /// ∂³L/∂θᵢ³, `(N,)`.
    pub third: Vec<f64>,
}

/// Means over the rows that `traces` passed.
pub(super) fn of(
    network: &Network,
    theta: &Parameters<f64>,
    traces: &[SamplePass],
    team: &Workers,
) -> Derivatives {
    let layout = &network.layout;
    // One row's units take little room; all rows' parameters would take much.
    let jets = team.map(traces.len(), |row| {
        let of_layer = |layer| of_units(network, theta, &traces[row], layer);
        (0..layout.layers()).map(of_layer).collect::<Vec<_>>()
    });
    let mut sums = [0, 1, 2].map(|_| vec![0.0; layout.len()]);
    for (trace, layers) in traces.iter().zip(jets) {
        for (layer, units) in layers.iter().enumerate() {
            let (weights, biases) = (layout.weights(layer), layout.biases(layer));
            let inputs = &trace.a[layer];
            for (unit, jet) in units.iter().enumerate() {
                let start = weights.start + unit * inputs.len();
                for (order, sum) in sums.iter_mut().enumerate() {
                    let power = order as i32 + 1;
                    for (sum, a) in sum[start..].iter_mut().zip(inputs) {
                        *sum += jet[order] * a.powi(power);
                    }
                    if layout.has_bias() {
                        sum[biases.start + unit] += jet[order];
                    }
                }
            }
        }
    }
    let share = 1.0 / traces.len() as f64;
    for sum in &mut sums {
        sum.iter_mut().for_each(|sum| *sum *= share);
    }
    let [mut first, mut second, third] = sums;
    // ½λ'·w²
    for index in (0..layout.layers()).flat_map(|layer| layout.weights(layer)) {
        first[index] += network.l2 * theta.flat()[index];
        second[index] += network.l2;
    }
    Derivatives {
        first,
        second,
        third,
    }
}

/// Of one sample's loss by the z of each unit of layer `layer`.
fn of_units(
    network: &Network,
    theta: &Parameters<f64>,
    trace: &SamplePass,
    layer: usize,
) -> Vec<Jet> {
    let (layers, head) = (network.layout.layers(), network.head());
    let units = trace.z[layer].len();
    let outputs = trace.z[layers - 1].len();
    if layer + 1 == layers {
        let along = |unit: usize| {
            let mut jets = vec![[0.0; 3]; outputs];
            jets[unit] = [1.0, 0.0, 0.0];
            of_loss(head, trace, &jets)
        };
        return (0..units).map(along).collect();
    }
    let own: Vec<Jet> = (0..units)
        .map(|unit| compose(sigmoid(trace, layer, unit), [1.0, 0.0, 0.0]))
        .collect();
    let orders = upward(
        |above| theta.weights(above),
        layers,
        layer,
        &own,
        |above, k, _, jet| compose(sigmoid(trace, above, k), jet),
    );
    let along = |unit: usize| {
        let jets = (0..outputs).map(|k| [0, 1, 2].map(|order| orders[order][[k, unit]]));
        of_loss(head, trace, &jets.collect::<Vec<_>>())
    };
    (0..units).map(along).collect()
}
