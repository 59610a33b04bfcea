//! How far two programs that compute the same network can be apart.
//!
//! Both round every operation, sums may run in any order. With u the unit round-off, a sum of n
//! products is off by at most γ(n)·Σ|w·x|, γ(n) = n·u/(1 − n·u) (Higham, *Accuracy and Stability of
//! Numerical Algorithms*, 2nd ed., section 3.1); an error e of an input moves a sum by |w|·e; σ
//! multiplies an error by its slope, at most ¼, and adds its own rounding. Two programs are each so
//! far from the exact numbers, hence twice that from each other.

use crate::format::{AnyParameters, Model};
use crate::numeric::Precision;

/// Roundings of a product, of the bias, and of a factor that int8 weights add.
const EXTRA_TERMS: usize = 4;

/// Round-off of σ and of a probability, in units of u: the argument's own, an exponential within
/// three, an addition, a division.
const ELEMENTARY: f64 = 8.0;

/// Returns the largest difference of each output's pre-activation z between two programs that
/// compute `model` in its precision, for one row of `inputs`, `(inputs,)`, before they are scaled.
///
/// Two z that differ by more than the sum of their bounds have the same order in both programs; two
/// probabilities differ by at most half of the largest bound, and a few units of round-off.
/// Cost: one forward pass in double precision, and one of absolute values.
pub fn rounding_bounds(model: &Model, inputs: &[f64]) -> Vec<f64> {
    let parameters = match &model.parameters {
        AnyParameters::F32(parameters) => parameters.widened(),
        AnyParameters::F64(parameters) => parameters.clone(),
    };
    let unit = unit(model);
    let layout = parameters.layout();
    let mut values: Vec<f64> = inputs.to_vec();
    for (feature, value) in values.iter_mut().enumerate() {
        *value = model.scaling.apply(feature, *value);
    }
    let mut errors: Vec<f64> = values
        .iter()
        .map(|value| 2.0 * unit * value.abs())
        .collect();
    for layer in 0..layout.layers() {
        let weights = parameters.weights(layer);
        let biases = parameters.biases(layer);
        let terms = values.iter().filter(|value| **value != 0.0).count() + EXTRA_TERMS;
        let gamma = terms as f64 * unit / (1.0 - terms as f64 * unit);
        let is_last = layer + 1 == layout.layers();
        let mut next = Vec::with_capacity(weights.nrows());
        for (unit_index, row) in weights.rows().into_iter().enumerate() {
            let bias = biases.get(unit_index).copied().unwrap_or(0.0);
            let (mut z, mut size, mut carried) = (bias, bias.abs(), 0.0);
            for ((weight, value), error) in row.iter().zip(&values).zip(&errors) {
                z += weight * value;
                size += (weight * value).abs();
                carried += weight.abs() * error;
            }
            let error = 2.0 * gamma * size + (1.0 + gamma) * carried;
            next.push(if is_last {
                (z, error)
            } else {
                activated(z, error, unit)
            });
        }
        (values, errors) = next.into_iter().unzip();
    }
    errors
}

/// Returns the largest difference of a probability, or of an output that is none, by the bounds of
/// the pre-activations.
pub(super) fn probability_bound(model: &Model, bounds: &[f64]) -> f64 {
    let largest = bounds.iter().fold(0.0f64, |most, bound| most.max(*bound));
    0.5 * largest + (ELEMENTARY * 2.0 + bounds.len() as f64) * unit(model)
}

/// Returns σ(z) and its error. The slope is largest where |z| is smallest.
fn activated(z: f64, error: f64, unit: f64) -> (f64, f64) {
    let sigmoid = |z: f64| 1.0 / (1.0 + (-z).exp());
    let nearest = sigmoid((z.abs() - error).max(0.0));
    let slope = nearest * (1.0 - nearest);
    (sigmoid(z), slope * error + 2.0 * ELEMENTARY * unit)
}

fn unit(model: &Model) -> f64 {
    match model.parameters.precision() {
        Precision::F32 => f64::from(f32::EPSILON) / 2.0,
        Precision::F64 => f64::EPSILON / 2.0,
    }
}
