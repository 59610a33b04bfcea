//! The file `model.safetensors`: tensors `layers.K.weight` `(fan_out, fan_in)` and `layers.K.bias`
//! `(fan_out,)`, shaped as in PyTorch's `Linear`, with the rest of the model in the metadata.
//!
//! The tensors are in layout order, so that the SHA-256 of the data section is `weights_sha256`.
//! The header has a fixed order, so that equal models give equal files (the writer of the
//! `safetensors` crate keeps metadata in a hash map, whose order changes between runs).
//!
//! A file of another program is accepted if its tensors have these names; [`LoadedModel::assumed`]
//! lists the values assumed for missing metadata. Refused: missing or unknown tensors, other
//! shapes, other number types, numbers that are not finite, metadata that contradicts the tensors.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorView};
use serde_json::{Map, Value, json};

use super::file::{read_capped, write_atomically};
use super::metadata::{self, ModelMetadata};
use super::{AnyParameters, Model};
use crate::error::{Error, Result};
use crate::model::{Layout, Parameters};
use crate::numeric::{Precision, Real};

/// The largest model file: 2³⁰ bytes, 134 million parameters in double precision.
pub(super) const FILE_CAP: u64 = 1 << 30;
/// The largest header: the names and scaling of any network that fits in a file take far less.
const HEADER_CAP: u64 = 1 << 26;

/// A model, and the values that its file did not give.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadedModel {
    /// The model.
    pub model: Model,
    /// The values assumed for missing metadata, one sentence each; empty for a file of nplus1.
    pub assumed: Vec<String>,
}

/// Returns the bytes of `model` as a safetensors file.
pub fn to_bytes(model: &Model) -> Vec<u8> {
    tensors(&model.parameters, metadata::of(model))
}

/// Returns the bytes of a file with these parameters, in layout order, and this metadata.
pub(super) fn tensors(parameters: &AnyParameters, metadata: Value) -> Vec<u8> {
    let layout = parameters.layout();
    let (dtype, width) = match parameters.precision() {
        Precision::F32 => ("F32", 4),
        Precision::F64 => ("F64", 8),
    };
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), metadata);
    for tensor in layout.tensors() {
        let entry = json!({
            "dtype": dtype,
            "shape": tensor.shape,
            "data_offsets": [tensor.range.start * width, tensor.range.end * width],
        });
        header.insert(tensor.name(), entry);
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // The data section starts at a multiple of 8 bytes, so that readers can map it as numbers.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = Vec::with_capacity(8 + header.len() + layout.len() * width);
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    match parameters {
        AnyParameters::F32(parameters) => f32::extend_bytes(parameters.flat(), &mut bytes),
        AnyParameters::F64(parameters) => f64::extend_bytes(parameters.flat(), &mut bytes),
    }
    bytes
}

/// Writes `model` to `path` atomically.
///
/// # Errors
/// The operating system refuses a call.
pub fn save(model: &Model, path: &Path) -> Result<()> {
    write_atomically(path, &to_bytes(model))
}

/// Reads the model in the file `path`.
///
/// # Errors
/// Content that the module refuses, with the tensor or the metadata key as its place; a failed
/// read.
pub fn load(path: &Path) -> Result<LoadedModel> {
    from_bytes(&read_capped(path, FILE_CAP)?, path)
}

/// Reads the model in `bytes`; errors name `path`.
///
/// # Errors
/// Content that the module refuses, with the tensor or the metadata key as its place.
pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<LoadedModel> {
    let (header, tensors) = read(bytes, path)?;
    let (layout, precision) = layout_of(&tensors, path)?;
    let parameters = match precision {
        Precision::F32 => parameters::<f32>(&tensors, layout.clone(), path)?.into(),
        Precision::F64 => parameters::<f64>(&tensors, layout.clone(), path)?.into(),
    };
    ModelMetadata::new(&header, path).model(layout, parameters)
}

/// The largest number of names, values and elements in a header: those of thousands of layers. Each
/// takes some hundred bytes once it is parsed.
const MOST_ENTRIES: usize = 100_000;

/// Returns the number of names, values and elements in a header, without parsing it: of its strings
/// and of the commas between them.
fn entries(header: &[u8]) -> usize {
    let (mut quotes, mut commas) = (0, 0);
    let (mut is_inside, mut is_escaped) = (false, false);
    for &byte in header {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => {
                quotes += 1;
                is_inside = !is_inside;
            }
            b',' if !is_inside => commas += 1,
            _ => {}
        }
    }
    quotes / 2 + commas
}

/// Parses the header and the tensors in `bytes`.
pub(super) fn read<'b>(bytes: &'b [u8], path: &Path) -> Result<(Metadata, SafeTensors<'b>)> {
    let refused = |error: safetensors::SafeTensorError| {
        Error::refused(path, format!("not a safetensors file: {error}"))
            .at("header")
            .help("the file may be truncated or of another format")
    };
    // Limited here, because the parser allows a header of 100 MB.
    if let Some(length) = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b))
        && length > HEADER_CAP
    {
        return Err(Error::refused(
            path,
            format!(
                "not a safetensors file: a header of {length} bytes; at most {HEADER_CAP} are allowed"
            ),
        )
        .at("byte 0"));
    }
    let found = bytes.get(8..).map_or(0, |rest| {
        let length = bytes
            .first_chunk::<8>()
            .map_or(0, |b| u64::from_le_bytes(*b));
        entries(&rest[..rest.len().min(length as usize)])
    });
    if found > MOST_ENTRIES {
        return Err(Error::refused(
            path,
            format!("a header of {found} names and values; at most {MOST_ENTRIES} are allowed"),
        )
        .at("header")
        .help("a model has two tensors for each layer"));
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(refused)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(refused)?;
    Ok((header, tensors))
}

/// Derives the layer sizes and the precision from the tensors.
fn layout_of(tensors: &SafeTensors<'_>, path: &Path) -> Result<(Arc<Layout>, Precision)> {
    let names = tensors.names();
    let find = |name: &str| tensors.tensor(name).ok();
    let first = find("layers.0.weight").ok_or_else(|| {
        let mut found = names.clone();
        found.sort_unstable();
        let more = if found.len() > 8 { ", …" } else { "" };
        found.truncate(8);
        Error::refused(
            path,
            format!(
                "no tensor `layers.0.weight` (found: {}{more})",
                if found.is_empty() { "none".to_owned() } else { found.join(", ") }
            ),
        )
        .help("name the tensors layers.0.weight, layers.0.bias, layers.1.weight, …; weights (fan_out, fan_in)")
    })?;
    let precision = match first.dtype() {
        Dtype::F32 => Precision::F32,
        Dtype::F64 => Precision::F64,
        other => {
            return Err(Error::refused(
                path,
                format!("numbers of type {other}; allowed: F32, F64"),
            )
            .at("tensor layers.0.weight"));
        }
    };
    let bias = find("layers.0.bias").is_some();
    let mut sizes: Vec<usize> = Vec::new();
    let mut known = HashSet::new();
    for layer in 0.. {
        let name = format!("layers.{layer}.weight");
        let Some(weight) = find(&name) else { break };
        let shape = weight.shape();
        let fits = match (shape, sizes.last()) {
            (&[fan_out, fan_in], None) => fan_out > 0 && fan_in > 0,
            (&[fan_out, fan_in], Some(&below)) => fan_out > 0 && fan_in == below,
            _ => false,
        };
        if !fits {
            let allowed = sizes
                .last()
                .map_or("fan_in".to_owned(), |below| below.to_string());
            return Err(Error::refused(
                path,
                format!("shape {shape:?}; allowed: [fan_out, {allowed}], neither of them 0"),
            )
            .at(format!("tensor {name}")));
        }
        if sizes.is_empty() {
            sizes.push(shape[1]);
        }
        sizes.push(shape[0]);
        known.insert(name);
        if bias {
            known.insert(format!("layers.{layer}.bias"));
        }
    }
    let layers = sizes.len() - 1;
    for layer in 0..layers {
        check_bias(tensors, layer, sizes[layer + 1], bias, path)?;
    }
    if let Some(unknown) = names.iter().filter(|name| !known.contains(**name)).min() {
        return Err(Error::refused(
            path,
            format!("not a parameter of the {layers} layers found"),
        )
        .at(format!("tensor {unknown}"))
        .help("number the layers from 0 without a gap, and remove all other tensors"));
    }
    Ok((Arc::new(Layout::new(&sizes, bias)), precision))
}

/// Checks that all layers have a bias of the right shape, or that none has one.
fn check_bias(
    tensors: &SafeTensors<'_>,
    layer: usize,
    fan_out: usize,
    bias: bool,
    path: &Path,
) -> Result<()> {
    let name = format!("layers.{layer}.bias");
    let problem = match (tensors.tensor(&name).ok(), bias) {
        (None, true) => "missing, but layers.0 has a bias".to_owned(),
        (Some(_), false) => "present, but layers.0 has no bias".to_owned(),
        (Some(tensor), true) if tensor.shape() != [fan_out] => {
            format!("shape {:?}; allowed: [{fan_out}]", tensor.shape())
        }
        _ => return Ok(()),
    };
    Err(Error::refused(path, problem).at(format!("tensor {name}")))
}

/// Reads θ; refuses tensors of another type than `R` and numbers that are not finite.
fn parameters<R: Real>(
    tensors: &SafeTensors<'_>,
    layout: Arc<Layout>,
    path: &Path,
) -> Result<Parameters<R>> {
    let dtype = match R::PRECISION {
        Precision::F32 => Dtype::F32,
        Precision::F64 => Dtype::F64,
    };
    let mut flat = Vec::with_capacity(layout.len());
    let mut append = |name: String, tensor: &TensorView<'_>| {
        if tensor.dtype() != dtype {
            return Err(Error::refused(
                path,
                format!(
                    "numbers of type {}, but layers.0.weight has {dtype}",
                    tensor.dtype()
                ),
            )
            .at(format!("tensor {name}")));
        }
        for bytes in tensor.data().chunks_exact(R::BYTES) {
            let value = R::from_bytes(bytes);
            if !value.is_finite() {
                return Err(Error::refused(
                    path,
                    format!("{value}; only finite numbers are allowed"),
                )
                .at(layout.name(flat.len())));
            }
            flat.push(value);
        }
        Ok(())
    };
    for layer in 0..layout.layers() {
        for part in ["weight", "bias"] {
            let name = format!("layers.{layer}.{part}");
            if let Ok(tensor) = tensors.tensor(&name) {
                append(name, &tensor)?;
            }
        }
    }
    Ok(Parameters::from_flat(layout, flat))
}
