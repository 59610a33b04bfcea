//! Gradients as safetensors files: tensors with the names and shapes of the parameters.
//!
//! Written in double precision as `layers.K.weight` `(fan_out, fan_in)` and `layers.K.bias`
//! `(fan_out,)`. Read in either precision, and also with the names of PyTorch's `nn.Sequential`
//! (`0.weight`, `2.weight`, …: the layers in the order of their numbers). Refused: missing or
//! unknown tensors, other shapes or types. Numbers that are not finite are accepted, so that the
//! comparison finds them.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::json;

use super::AnyParameters;
use super::file::{read_capped, write_atomically};
use super::safetensors::{FILE_CAP, read, tensors};
use crate::error::{Error, Result};
use crate::model::{Layout, Parameters};
use crate::numeric::{Precision, Real};

/// Writes `gradient` to `path` atomically.
///
/// # Errors
/// The operating system refuses a call.
pub fn save(gradient: &Parameters<f64>, path: &Path) -> Result<()> {
    let metadata = json!({ "format": "nplus1 gradient", "version": env!("CARGO_PKG_VERSION") });
    let gradient = AnyParameters::from(gradient.clone());
    write_atomically(path, &tensors(&gradient, metadata))
}

/// Reads the gradient of a network of this layout from `path`. Returns it with the precision of its
/// numbers: single, if all of them are exact in single precision.
///
/// # Errors
/// Content that the module refuses, with the tensors found and those expected; a failed read.
pub fn load(path: &Path, layout: &Arc<Layout>) -> Result<(Parameters<f64>, Precision)> {
    let bytes = read_capped(path, FILE_CAP)?;
    let (_, tensors) = read(&bytes, path)?;
    let numbers = layer_numbers(&tensors);
    let mut gradient = Parameters::zeros(Arc::clone(layout));
    let mut expected = BTreeSet::new();
    for layer in 0..layout.layers() {
        let (fan_in, fan_out) = (layout.sizes()[layer], layout.sizes()[layer + 1]);
        let mut parts = vec![("weight", vec![fan_out, fan_in], layout.weights(layer))];
        if layout.has_bias() {
            parts.push(("bias", vec![fan_out], layout.biases(layer)));
        }
        for (part, shape, range) in parts {
            let name = match &numbers {
                Some(numbers) => numbers.get(layer).map(|number| format!("{number}.{part}")),
                None => Some(format!("layers.{layer}.{part}")),
            };
            let name = name.unwrap_or_else(|| format!("layers.{layer}.{part}"));
            let Ok(tensor) = tensors.tensor(&name) else {
                return Err(refuse(path, &name, "missing".to_owned(), layout, &tensors));
            };
            if tensor.shape() != shape {
                let problem = format!("shape {:?}, but the network has {shape:?}", tensor.shape());
                return Err(refuse(path, &name, problem, layout, &tensors));
            }
            let to = &mut gradient.flat_mut()[range];
            match tensor.dtype() {
                Dtype::F32 => fill::<f32>(to, tensor.data()),
                Dtype::F64 => fill::<f64>(to, tensor.data()),
                other => {
                    let problem = format!("numbers of type {other}; allowed: F32, F64");
                    return Err(refuse(path, &name, problem, layout, &tensors));
                }
            }
            expected.insert(name);
        }
    }
    let unknown = tensors
        .names()
        .into_iter()
        .filter(|name| !expected.contains(*name));
    if let Some(name) = unknown.min() {
        let problem = "not a parameter of the network".to_owned();
        return Err(refuse(path, name, problem, layout, &tensors));
    }
    let is_single = |&number: &f64| f64::from(number as f32).to_bits() == number.to_bits();
    let precision = if gradient.flat().iter().all(is_single) {
        Precision::F32
    } else {
        Precision::F64
    };
    Ok((gradient, precision))
}

/// Returns the numbers of the layers in ascending order, if all tensors are named `NUMBER.weight`
/// or `NUMBER.bias`.
fn layer_numbers(tensors: &SafeTensors<'_>) -> Option<Vec<usize>> {
    let number = |name: &str| {
        let (number, part) = name.split_once('.')?;
        let number: usize = number.parse().ok()?;
        ["weight", "bias"].contains(&part).then_some(number)
    };
    let numbers: Option<BTreeSet<usize>> = tensors.names().into_iter().map(number).collect();
    numbers.map(|numbers| numbers.into_iter().collect())
}

/// Converts numbers of type `R` to double precision.
fn fill<R: Real>(to: &mut [f64], bytes: &[u8]) {
    for (to, bytes) in to.iter_mut().zip(bytes.chunks_exact(R::BYTES)) {
        *to = R::from_bytes(bytes).to_f64();
    }
}

/// Creates the error of tensor `name`, with the tensors of the file and those of the network.
fn refuse(
    path: &Path,
    name: &str,
    problem: String,
    layout: &Layout,
    tensors: &SafeTensors<'_>,
) -> Error {
    const SHOWN: usize = 8;
    let mut found: Vec<String> = tensors
        .iter()
        .map(|(name, tensor)| format!("{name} {:?}", tensor.shape()))
        .collect();
    found.sort();
    let more = if found.len() > SHOWN { ", …" } else { "" };
    found.truncate(SHOWN);
    let mut expected = Vec::new();
    for layer in 0..layout.layers() {
        let (fan_in, fan_out) = (layout.sizes()[layer], layout.sizes()[layer + 1]);
        expected.push(format!("layers.{layer}.weight [{fan_out}, {fan_in}]"));
        if layout.has_bias() {
            expected.push(format!("layers.{layer}.bias [{fan_out}]"));
        }
    }
    Error::refused(path, problem)
        .at(format!("tensor {name}"))
        .help(format!(
            "the network has {}; the file holds {}{more}",
            expected.join(", "),
            found.join(", ")
        ))
}
