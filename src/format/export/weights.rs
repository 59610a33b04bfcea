//! The weights of an exported file: in full, as half precision, or as bytes with a step for each
//! unit.

use half::f16;

use super::WeightType;
use crate::error::InputError;
use crate::format::{AnyParameters, Model};
use crate::model::Parameters;

/// The largest code of a byte; −128 is not used, so that the codes are symmetric.
const LARGEST_CODE: f32 = 127.0;

/// The parameters of a layer.
pub(super) struct StoredLayer {
    pub(super) fan_in: usize,
    pub(super) fan_out: usize,
    pub(super) weights: StoredWeights,
    /// `(fan_out,)`, or empty without biases.
    pub(super) biases: Vec<f64>,
}

/// Weights `(fan_out, fan_in)`, row-major.
pub(super) enum StoredWeights {
    /// Numbers in the model's precision.
    Full(Vec<f64>),
    /// The bits of half precision.
    Halves(Vec<u16>),
    /// A weight is its code times the step of its unit, `(fan_out,)`.
    Bytes { codes: Vec<i8>, steps: Vec<f32> },
}

/// The numbers of a layer as the constants of a source file.
pub(super) struct SpelledLayer {
    /// The weights by input, `(fan_in, fan_out)`.
    pub(super) rows: Vec<Vec<String>>,
    /// The step of each unit; none unless the weights are bytes.
    pub(super) steps: Vec<String>,
    /// None without biases.
    pub(super) biases: Vec<String>,
}

/// Returns the parameters of each layer of `model`.
///
/// # Errors
/// A weight beyond the range of `weights`.
pub(super) fn stored(model: &Model, weights: WeightType) -> Result<Vec<StoredLayer>, InputError> {
    let parameters = widened(model);
    let layout = parameters.layout();
    let sizes = layout.sizes();
    (0..layout.layers())
        .map(|layer| {
            let numbers = &parameters.flat()[layout.weights(layer)];
            Ok(StoredLayer {
                fan_in: sizes[layer],
                fan_out: sizes[layer + 1],
                weights: match weights {
                    WeightType::Full => StoredWeights::Full(numbers.to_vec()),
                    WeightType::F16 => StoredWeights::Halves(halves(numbers)?),
                    WeightType::Int8 => bytes(numbers, sizes[layer])?,
                },
                biases: parameters.biases(layer).to_vec(),
            })
        })
        .collect()
}

/// Returns `model` with the weights of type `weights`.
///
/// # Errors
/// Those of [`stored`].
pub(super) fn rounded(model: &Model, weights: WeightType) -> Result<Model, InputError> {
    if weights == WeightType::Full {
        return Ok(model.clone());
    }
    let layout = model.network.layout.clone();
    let mut flat = Vec::with_capacity(layout.len());
    for layer in stored(model, weights)? {
        let number = |at: usize| layer.weight(at / layer.fan_in, at % layer.fan_in) as f32;
        flat.extend((0..layer.fan_in * layer.fan_out).map(number));
        flat.extend(layer.biases.iter().map(|&bias| bias as f32));
    }
    Ok(Model {
        parameters: AnyParameters::F32(Parameters::from_flat(layout, flat)),
        ..model.clone()
    })
}

impl StoredLayer {
    /// Returns the weight of unit `unit` for input `input`.
    pub(super) fn weight(&self, unit: usize, input: usize) -> f64 {
        let at = unit * self.fan_in + input;
        match &self.weights {
            StoredWeights::Full(numbers) => numbers[at],
            StoredWeights::Halves(bits) => f16::from_bits(bits[at]).to_f64(),
            StoredWeights::Bytes { codes, steps } => f64::from(f32::from(codes[at]) * steps[unit]),
        }
    }

    /// Spells the numbers of the layer; `number` spells one in the type in which the file computes.
    pub(super) fn spelled(&self, number: impl Fn(f64) -> String) -> SpelledLayer {
        let code = |unit: usize, input: usize| {
            let at = unit * self.fan_in + input;
            match &self.weights {
                StoredWeights::Full(numbers) => number(numbers[at]),
                StoredWeights::Halves(bits) => format!("0x{:04x}", bits[at]),
                StoredWeights::Bytes { codes, .. } => codes[at].to_string(),
            }
        };
        let row = |input: usize| (0..self.fan_out).map(|unit| code(unit, input)).collect();
        let steps = match &self.weights {
            StoredWeights::Bytes { steps, .. } => &steps[..],
            _ => &[],
        };
        SpelledLayer {
            rows: (0..self.fan_in).map(row).collect(),
            steps: steps.iter().map(|&step| number(step.into())).collect(),
            biases: self.biases.iter().map(|&bias| number(bias)).collect(),
        }
    }

    /// Returns the name of the weights' type, of those of full, half-precision and byte weights.
    pub(super) fn weight_type<'n>(&self, names: [&'n str; 3]) -> &'n str {
        match self.weights {
            StoredWeights::Full(_) => names[0],
            StoredWeights::Halves(_) => names[1],
            StoredWeights::Bytes { .. } => names[2],
        }
    }
}

fn widened(model: &Model) -> Parameters<f64> {
    match &model.parameters {
        AnyParameters::F32(parameters) => parameters.widened(),
        AnyParameters::F64(parameters) => parameters.clone(),
    }
}

fn halves(numbers: &[f64]) -> Result<Vec<u16>, InputError> {
    let half = |&number: &f64| {
        let half = f16::from_f64(number);
        if half.is_finite() {
            return Ok(half.to_bits());
        }
        Err(InputError::Conflict(format!(
            "the weight {number} is beyond half precision, which ends at 65504; take int8, or \
             leave the weights as they are"
        )))
    };
    numbers.iter().map(half).collect()
}

fn bytes(numbers: &[f64], fan_in: usize) -> Result<StoredWeights, InputError> {
    let mut codes = Vec::with_capacity(numbers.len());
    let mut steps = Vec::with_capacity(numbers.len() / fan_in);
    for row in numbers.chunks(fan_in) {
        let largest = row
            .iter()
            .fold(0.0f64, |most, number| most.max(number.abs())) as f32;
        if !largest.is_finite() {
            return Err(InputError::Conflict(format!(
                "the weight {largest} is beyond single precision, in which the file computes"
            )));
        }
        let step = largest / LARGEST_CODE;
        // A row of zeros, or of numbers so small that their step is 0, has the code 0 throughout.
        let code = |number: &f64| match step > 0.0 {
            true => (*number as f32 / step)
                .round()
                .clamp(-LARGEST_CODE, LARGEST_CODE) as i8,
            false => 0,
        };
        codes.extend(row.iter().map(code));
        steps.push(step);
    }
    Ok(StoredWeights::Bytes { codes, steps })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_within_half_a_step_and_reach_both_ends() {
        let numbers = [-2.0, 0.25, 2.0, 0.0, 0.0, 0.0];
        let StoredWeights::Bytes { codes, steps } = bytes(&numbers, 3).unwrap() else {
            panic!("bytes");
        };
        assert_eq!(codes, [-127, 16, 127, 0, 0, 0]);
        assert_eq!(steps, [2.0 / 127.0, 0.0]);
        for (at, number) in numbers.iter().enumerate() {
            let step = f64::from(steps[at / 3]);
            let error = (f64::from(codes[at]) * step - number).abs();
            assert!(error <= 0.5 * step + 1e-7, "{number}: {error}");
        }
    }

    #[test]
    fn a_weight_beyond_half_precision_is_refused() {
        assert_eq!(halves(&[1.0, -0.5]).unwrap(), [0x3c00, 0xb800]);
        let error = halves(&[1e6]).unwrap_err().to_string();
        assert!(error.contains("65504"), "{error}");
    }
}
