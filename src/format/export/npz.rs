//! An NPZ archive: weights, biases, scaling and names as NumPy arrays, which `numpy.load` reads
//! without pickles.
//!
//! | array | content |
//! |---|---|
//! | `layers.K.weight`, `layers.K.bias` | of each layer K from 0, `(fan_out, fan_in)` and `(fan_out,)`, in the model's precision |
//! | `offset`, `divisor` | the scaling of the inputs, `x' = (x − offset) / divisor` |
//! | `input_names` | the name of each input; `column=category` for a category |
//! | `class_names`, or `target_names`, `target_mean`, `target_scale` | the outputs |
//! | `metadata` | one text: the metadata of `model.safetensors` as JSON |

use super::contents::Contents;
use super::weights::StoredWeights;
use crate::format::npz::ArchiveWriter;
use crate::format::{metadata, npy};

/// Returns the bytes of the archive.
pub(super) fn to_bytes(contents: &Contents) -> Vec<u8> {
    let mut archive = ArchiveWriter::new();
    for (index, layer) in contents.layers.iter().enumerate() {
        let StoredWeights::Full(weights) = &layer.weights else {
            unreachable!("`to_bytes` refuses other weights for this format");
        };
        let reals = |numbers: &[f64], shape: &[usize]| match contents.is_single {
            true => npy::of_singles(numbers, shape),
            false => npy::of_numbers(numbers, shape),
        };
        archive.add(
            &format!("layers.{index}.weight"),
            &reals(weights, &[layer.fan_out, layer.fan_in]),
        );
        if !layer.biases.is_empty() {
            archive.add(
                &format!("layers.{index}.bias"),
                &reals(&layer.biases, &[layer.fan_out]),
            );
        }
    }
    let model = contents.model;
    let vector = |numbers: &[f64]| npy::of_numbers(numbers, &[numbers.len()]);
    archive.add("offset", &vector(&model.scaling.offset));
    archive.add("divisor", &vector(&model.scaling.divisor));
    let names = model.schema.input_names();
    let names = names.unwrap_or_else(|| (0..contents.inputs()).map(|at| at.to_string()).collect());
    archive.add(
        "input_names",
        &npy::of_texts(names.iter().map(String::as_str)),
    );
    let outputs = npy::of_texts(contents.outputs.names.iter().copied());
    match &contents.outputs.units {
        None => archive.add("class_names", &outputs),
        Some(units) => {
            archive.add("target_names", &outputs);
            archive.add("target_mean", &vector(units.mean));
            archive.add("target_scale", &vector(units.scale));
        }
    }
    let text = metadata::of(model).to_string();
    archive.add("metadata", &npy::of_texts(std::iter::once(text.as_str())));
    archive.finish()
}
