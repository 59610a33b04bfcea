//! Gradients as safetensors files: tensors named and shaped as the parameters they belong to.
//!
//! Written in double precision as `layers.K.weight` `(fan_out, fan_in)` and `layers.K.bias`
//! `(fan_out,)`. Read in either precision, and also with the names of PyTorch's `nn.Sequential`
//! (`0.weight`, `2.weight`, …: the layers in the order of their numbers). Refused: tensors that are
//! missing, foreign, of another shape or type. Numbers that are not finite are read as they are: they
//! are for the comparison to find.

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

/// Writes `gradient` to `path`, all or nothing.
///
/// # Errors
/// Whatever the operating system refuses.
pub fn save(gradient: &Parameters<f64>, path: &Path) -> Result<()> {
    let metadata = json!({ "format": "nplus1 gradient", "version": env!("CARGO_PKG_VERSION") });
    let gradient = AnyParameters::from(gradient.clone());
    write_atomically(path, &tensors(&gradient, metadata))
}

/// The gradient in the file `path`, of a network of this layout, and the precision it was computed
/// in: that of its numbers, single where no number needs more.
///
/// # Errors
/// Everything the module refuses, with the tensors found and those wanted.
pub fn load(path: &Path, layout: &Arc<Layout>) -> Result<(Parameters<f64>, Precision)> {
    let bytes = read_capped(path, FILE_CAP)?;
    let (_, tensors) = read(&bytes, path)?;
    let numbers = numbers(&tensors);
    let mut gradient = Parameters::zeros(Arc::clone(layout));
    let mut wanted = BTreeSet::new();
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
                let problem = format!(
                    "shape {:?}, where the network has {shape:?}",
                    tensor.shape()
                );
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
            wanted.insert(name);
        }
    }
    let strangers = tensors
        .names()
        .into_iter()
        .filter(|name| !wanted.contains(*name));
    if let Some(stranger) = strangers.min() {
        let problem = "not a part of the network".to_owned();
        return Err(refuse(path, stranger, problem, layout, &tensors));
    }
    let single = |&number: &f64| f64::from(number as f32).to_bits() == number.to_bits();
    let precision = if gradient.flat().iter().all(single) {
        Precision::F32
    } else {
        Precision::F64
    };
    Ok((gradient, precision))
}

/// The layers' numbers in order, if every tensor is called `NUMBER.weight` or `NUMBER.bias`.
fn numbers(tensors: &SafeTensors<'_>) -> Option<Vec<usize>> {
    let number = |name: &str| {
        let (number, part) = name.split_once('.')?;
        let number: usize = number.parse().ok()?;
        ["weight", "bias"].contains(&part).then_some(number)
    };
    let numbers: Option<BTreeSet<usize>> = tensors.names().into_iter().map(number).collect();
    numbers.map(|numbers| numbers.into_iter().collect())
}

fn fill<R: Real>(to: &mut [f64], bytes: &[u8]) {
    for (to, bytes) in to.iter_mut().zip(bytes.chunks_exact(R::BYTES)) {
        *to = R::from_bytes(bytes).to_f64();
    }
}

/// What is wrong with tensor `name`, what the file holds and what the network has.
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
    let mut wanted = Vec::new();
    for layer in 0..layout.layers() {
        let (fan_in, fan_out) = (layout.sizes()[layer], layout.sizes()[layer + 1]);
        wanted.push(format!("layers.{layer}.weight [{fan_out}, {fan_in}]"));
        if layout.has_bias() {
            wanted.push(format!("layers.{layer}.bias [{fan_out}]"));
        }
    }
    Error::refused(path, problem)
        .at(format!("tensor {name}"))
        .help(format!(
            "the network has {}; the file holds {}{more}",
            wanted.join(", "),
            found.join(", ")
        ))
}
