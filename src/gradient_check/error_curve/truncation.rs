//! The exact first three derivatives of the loss along every parameter, from which the truncation
//! of a difference follows.
//!
//! A perturbation h of the weight from input i to unit j changes z_j by h·a_i and no other z of
//! that layer, so the k-th derivative of a sample's loss along the weight is a_iᵏ times the one
//! along z_j: the jets of the U units (`jet.rs`) give the derivatives along all N parameters.
//!
//! Cost: per row and unit, three passes through the layers above the unit.

use crate::gradient_check::jet::{Jet, compose, loss_jet, propagate, sigmoid};
use crate::gradient_check::sample_pass::SamplePass;
use crate::model::{Network, Parameters};
use crate::parallel::Workers;

/// The derivatives of the objective, l2 included, along each of the N parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Derivatives {
    /// ∂L/∂θᵢ, `(N,)`.
    pub first: Vec<f64>,
    /// ∂²L/∂θᵢ², `(N,)`.
    pub second: Vec<f64>,
    /// ∂³L/∂θᵢ³, `(N,)`.
    pub third: Vec<f64>,
}

/// Computes the derivatives as means over the rows of `passes`.
pub(super) fn derivatives(
    network: &Network,
    theta: &Parameters<f64>,
    passes: &[SamplePass],
    workers: &Workers,
) -> Derivatives {
    let layout = &network.layout;
    // Derivatives by unit take little memory; derivatives by parameter would take much.
    let jets = workers.map(passes.len(), |row| {
        let layer_jets = |layer| unit_jets(network, theta, &passes[row], layer);
        (0..layout.layers()).map(layer_jets).collect::<Vec<_>>()
    });
    let mut sums = [0, 1, 2].map(|_| vec![0.0; layout.len()]);
    for (pass, layers) in passes.iter().zip(jets) {
        for (layer, units) in layers.iter().enumerate() {
            let (weights, biases) = (layout.weights(layer), layout.biases(layer));
            let inputs = &pass.a[layer];
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
    let share = 1.0 / passes.len() as f64;
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

/// Computes the jet of one sample's loss along the z of each unit of layer `layer`.
fn unit_jets(
    network: &Network,
    theta: &Parameters<f64>,
    pass: &SamplePass,
    layer: usize,
) -> Vec<Jet> {
    let (layers, output_loss) = (network.layout.layers(), network.output_loss());
    let units = pass.z[layer].len();
    let outputs = pass.z[layers - 1].len();
    if layer + 1 == layers {
        let unit_jet = |unit: usize| {
            let mut jets = vec![[0.0; 3]; outputs];
            jets[unit] = [1.0, 0.0, 0.0];
            loss_jet(output_loss, pass, &jets)
        };
        return (0..units).map(unit_jet).collect();
    }
    let activations: Vec<Jet> = (0..units)
        .map(|unit| compose(sigmoid(pass, layer, unit), [1.0, 0.0, 0.0]))
        .collect();
    let orders = propagate(
        |above| theta.weights(above),
        layers,
        layer,
        &activations,
        |above, k, _, jet| compose(sigmoid(pass, above, k), jet),
    );
    let unit_jet = |unit: usize| {
        let jets = (0..outputs).map(|k| [0, 1, 2].map(|order| orders[order][[k, unit]]));
        loss_jet(output_loss, pass, &jets.collect::<Vec<_>>())
    };
    (0..units).map(unit_jet).collect()
}
