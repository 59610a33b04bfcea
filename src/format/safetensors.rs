//! `model.safetensors`: tensors `layers.K.weight` `(fan_out, fan_in)` and `layers.K.bias`
//! `(fan_out,)`, named and shaped as PyTorch's `Linear`, with the rest of the model in the metadata.
//!
//! The tensors lie in the file in layout order, so that the SHA-256 of the data section is
//! `weights_sha256`, and the header is written in a fixed order, so that equal models are equal
//! files (the crate's own writer keeps metadata in a hash map, whose order changes between runs).
//!
//! A file of another program is accepted if its tensors have these names; what its metadata does
//! not say is assumed, and [`Loaded::assumed`] says what. Refused: missing, foreign or misshapen
//! tensors, other number types, numbers that are not finite, metadata that contradicts the tensors.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, Metadata, TensorView};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::file::{read_capped, write_atomically};
use super::{AnyParameters, Model};
use crate::data::Scaling;
use crate::error::{Error, Result};
use crate::model::{Layout, Loss, Network, Output, Parameters};
use crate::numeric::{Precision, Real};

/// Largest model file: 2³⁰ bytes, 134 million parameters in double precision.
const FILE_CAP: u64 = 1 << 30;
/// Largest header: names, scaling and class names of any network that fits take far less.
const HEADER_CAP: u64 = 1 << 26;
/// What our metadata says under `format`.
const FORMAT: &str = "nplus1";

/// A model, and what its file left open.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The model.
    pub model: Model,
    /// What the metadata did not say and was assumed, one sentence each; empty for our own files.
    pub assumed: Vec<String>,
}

/// The bytes of `model` as a safetensors file.
pub fn to_bytes(model: &Model) -> Vec<u8> {
    let layout = model.parameters.layout();
    let (dtype, width) = match model.parameters.precision() {
        Precision::F32 => ("F32", 4),
        Precision::F64 => ("F64", 8),
    };
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), metadata(model));
    for layer in 0..layout.layers() {
        let sizes = layout.sizes();
        let (fan_in, fan_out) = (sizes[layer], sizes[layer + 1]);
        let mut entry = |part: &str, shape: Value, range: std::ops::Range<usize>| {
            header.insert(
                format!("layers.{layer}.{part}"),
                json!({
                    "dtype": dtype,
                    "shape": shape,
                    "data_offsets": [range.start * width, range.end * width],
                }),
            );
        };
        entry("weight", json!([fan_out, fan_in]), layout.weights(layer));
        if layout.has_bias() {
            entry("bias", json!([fan_out]), layout.biases(layer));
        }
    }
    let mut header = Value::Object(header).to_string().into_bytes();
    // The data section starts at a multiple of 8, so that readers may map it as numbers.
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut bytes = Vec::with_capacity(8 + header.len() + layout.len() * width);
    bytes.extend_from_slice(&(header.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&header);
    match &model.parameters {
        AnyParameters::F32(parameters) => f32::extend_bytes(parameters.flat(), &mut bytes),
        AnyParameters::F64(parameters) => f64::extend_bytes(parameters.flat(), &mut bytes),
    }
    bytes
}

/// Writes `model` to `path`, all or nothing.
///
/// # Errors
/// Whatever the operating system refuses.
pub fn save(model: &Model, path: &Path) -> Result<()> {
    write_atomically(path, &to_bytes(model))
}

/// The model in the file `path`.
///
/// # Errors
/// Everything the module refuses, with the tensor or the metadata key as its place.
pub fn load(path: &Path) -> Result<Loaded> {
    from_bytes(&read_capped(path, FILE_CAP)?, path)
}

/// The model in `bytes`; errors name `path`.
///
/// # Errors
/// Everything the module refuses, with the tensor or the metadata key as its place.
pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Loaded> {
    let refused = |error: safetensors::SafeTensorError| {
        Error::refused(path, format!("not a safetensors file: {error}"))
            .at("header")
            .help("the file may be truncated or of another format")
    };
    // Capped here, because the parser allows 100 MB of header.
    if let Some(length) = bytes.first_chunk::<8>().map(|b| u64::from_le_bytes(*b))
        && length > HEADER_CAP
    {
        return Err(Error::refused(
            path,
            format!(
                "not a safetensors file: a header of {length} bytes, where at most {HEADER_CAP} are allowed"
            ),
        )
        .at("byte 0"));
    }
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(refused)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(refused)?;
    let (layout, precision) = layout_of(&tensors, path)?;
    let parameters = match precision {
        Precision::F32 => parameters::<f32>(&tensors, layout.clone(), path)?.into(),
        Precision::F64 => parameters::<f64>(&tensors, layout.clone(), path)?.into(),
    };
    Described::new(&header, path).model(layout, parameters)
}

/// What the metadata says of `model`; every value is a string, as the format demands.
fn metadata(model: &Model) -> Value {
    let layout = model.parameters.layout();
    json!({
        "format": FORMAT,
        "version": env!("CARGO_PKG_VERSION"),
        "name": model.name,
        "sizes": json!(layout.sizes()).to_string(),
        "bias": layout.has_bias().to_string(),
        "output": model.network.output.name(),
        "loss": model.network.loss.name(),
        "l2": json!(model.network.l2).to_string(),
        "precision": model.parameters.precision().name(),
        "class_names": json!(model.class_names).to_string(),
        "scaling": json!(model.scaling).to_string(),
    })
}

/// Layer sizes and precision, from the tensors alone.
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
            (&[fan_out, fan_in], Some(&before)) => fan_out > 0 && fan_in == before,
            _ => false,
        };
        if !fits {
            let allowed = sizes
                .last()
                .map_or("fan_in".to_owned(), |before| before.to_string());
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
    if let Some(stranger) = names.iter().filter(|name| !known.contains(**name)).min() {
        return Err(
            Error::refused(path, format!("not a part of the {layers} layers found"))
                .at(format!("tensor {stranger}"))
                .help(
                    "layers are numbered from 0 without a gap, and the file holds nothing but them",
                ),
        );
    }
    Ok((Arc::new(Layout::new(&sizes, bias)), precision))
}

/// Either all layers have a bias, of the right shape, or none has.
fn check_bias(
    tensors: &SafeTensors<'_>,
    layer: usize,
    fan_out: usize,
    bias: bool,
    path: &Path,
) -> Result<()> {
    let name = format!("layers.{layer}.bias");
    let problem = match (tensors.tensor(&name).ok(), bias) {
        (None, true) => "missing, though layers.0 has a bias".to_owned(),
        (Some(_), false) => "found, though layers.0 has no bias".to_owned(),
        (Some(tensor), true) if tensor.shape() != [fan_out] => {
            format!("shape {:?}; allowed: [{fan_out}]", tensor.shape())
        }
        _ => return Ok(()),
    };
    Err(Error::refused(path, problem).at(format!("tensor {name}")))
}

/// θ, each tensor of `R`'s type and every number finite.
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
                    "numbers of type {}, where layers.0.weight has {dtype}",
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

/// The metadata of a file while a model is made of it.
struct Described<'a> {
    entries: HashMap<String, String>,
    /// Our own files have to say everything.
    complete: bool,
    path: &'a Path,
    assumed: Vec<String>,
}

impl<'a> Described<'a> {
    fn new(header: &Metadata, path: &'a Path) -> Self {
        let entries = header.metadata().clone().unwrap_or_default();
        let complete = entries.get("format").is_some_and(|format| format == FORMAT);
        Self {
            entries,
            complete,
            path,
            assumed: Vec::new(),
        }
    }

    fn model(mut self, layout: Arc<Layout>, parameters: AnyParameters) -> Result<Loaded> {
        let sizes = layout.sizes();
        self.agrees("sizes", sizes.to_vec())?;
        self.agrees("bias", layout.has_bias())?;
        if self.complete {
            self.agrees_word("precision", parameters.precision().name())?;
        }
        let (inputs, outputs) = (sizes[0], sizes[layout.layers()]);
        let name = self.text("name", || stem(self.path))?;
        let output = self.word(
            "output",
            &[Output::Sigmoid, Output::Softmax, Output::Linear],
            Output::name,
        )?;
        let losses = match output {
            Output::Softmax => [Loss::CrossEntropy, Loss::Quadratic, Loss::Logistic],
            _ => [Loss::Quadratic, Loss::CrossEntropy, Loss::Logistic],
        };
        let loss = self.word("loss", &losses, Loss::name)?;
        self.check_pair(output, loss, outputs)?;
        let l2 = self.parsed("l2", 0.0, "no l2 term")?;
        self.require(l2 >= 0.0 && l2.is_finite(), "l2", "a finite number from 0")?;
        let class_names = self.class_names(outputs)?;
        let identity = Scaling {
            offset: vec![0.0; inputs],
            divisor: vec![1.0; inputs],
        };
        let scaling = self.parsed("scaling", identity, "inputs are taken unscaled")?;
        let each = |numbers: &[f64]| {
            numbers.len() == inputs && numbers.iter().all(|number| number.is_finite())
        };
        self.require(
            each(&scaling.offset)
                && each(&scaling.divisor)
                && scaling.divisor.iter().all(|&number| number != 0.0),
            "scaling",
            &format!("{inputs} finite offsets and {inputs} finite divisors, none of them 0"),
        )?;
        Ok(Loaded {
            model: Model {
                name,
                network: Network {
                    layout,
                    output,
                    loss,
                    l2,
                },
                parameters,
                class_names,
                scaling,
            },
            assumed: self.assumed,
        })
    }

    /// The entry `key`; `None` only where it may be assumed.
    fn entry(&self, key: &str) -> Result<Option<&str>> {
        match self.entries.get(key) {
            Some(text) => Ok(Some(text)),
            None if self.complete => Err(self.refuse(key, "missing".to_owned())),
            None => Ok(None),
        }
    }

    fn text(&mut self, key: &str, otherwise: impl FnOnce() -> String) -> Result<String> {
        Ok(self.entry(key)?.map_or_else(otherwise, str::to_owned))
    }

    /// One of `allowed`; the first of them where a foreign file does not say.
    fn word<T: Copy>(
        &mut self,
        key: &str,
        allowed: &[T],
        name: fn(T) -> &'static str,
    ) -> Result<T> {
        let Some(text) = self.entry(key)? else {
            self.assumed
                .push(format!("{key} = \"{}\"", name(allowed[0])));
            return Ok(allowed[0]);
        };
        let found = allowed.iter().find(|&&value| name(value) == text);
        found.copied().ok_or_else(|| {
            let names: Vec<_> = allowed.iter().map(|&value| name(value)).collect();
            self.refuse(key, format!("`{text}`; allowed: {}", names.join(", ")))
        })
    }

    /// The entry as JSON; `otherwise` where a foreign file does not say.
    fn parsed<T: DeserializeOwned>(
        &mut self,
        key: &str,
        otherwise: T,
        sentence: &str,
    ) -> Result<T> {
        match self.entry(key)? {
            Some(text) => serde_json::from_str(text)
                .map_err(|error| self.refuse(key, format!("not readable: {error}"))),
            None => {
                self.assumed.push(sentence.to_owned());
                Ok(otherwise)
            }
        }
    }

    fn class_names(&mut self, outputs: usize) -> Result<Vec<String>> {
        let classes = outputs.max(2);
        let numbers = (0..classes).map(|class| class.to_string()).collect();
        let names: Vec<String> =
            self.parsed("class_names", numbers, "classes are numbered from 0")?;
        self.require(
            names.len() == classes,
            "class_names",
            &format!("{classes} names for {outputs} outputs, not {}", names.len()),
        )?;
        Ok(names)
    }

    /// What the metadata says twice has to agree with the tensors.
    fn agrees<T: DeserializeOwned + PartialEq + serde::Serialize>(
        &mut self,
        key: &str,
        tensors: T,
    ) -> Result<()> {
        let Some(text) = self.entry(key)? else {
            return Ok(());
        };
        let fits = serde_json::from_str::<T>(text).is_ok_and(|value| value == tensors);
        self.require(
            fits,
            key,
            &format!("{} as the tensors have", json!(tensors)),
        )
    }

    fn agrees_word(&self, key: &str, tensors: &str) -> Result<()> {
        let fits = self.entry(key)? == Some(tensors);
        self.require(fits, key, &format!("{tensors} as the tensors have"))
    }

    /// Only the pairs that a config may ask for.
    fn check_pair(&self, output: Output, loss: Loss, outputs: usize) -> Result<()> {
        let fits = match loss {
            Loss::Quadratic => output != Output::Softmax,
            Loss::CrossEntropy => output != Output::Linear,
            Loss::Logistic => output == Output::Linear && outputs == 1,
        };
        if fits {
            return Ok(());
        }
        let problem = format!(
            "{} with {} outputs of kind {}; allowed: quadratic with sigmoid or linear, \
             cross-entropy with sigmoid or softmax, logistic with one linear output",
            loss.name(),
            outputs,
            output.name()
        );
        Err(self.refuse("loss", problem))
    }

    fn require(&self, fits: bool, key: &str, allowed: &str) -> Result<()> {
        if fits {
            return Ok(());
        }
        let found = self.entries.get(key).map_or("nothing", String::as_str);
        let short: String = found.chars().take(60).collect();
        let more = if short.len() < found.len() { "…" } else { "" };
        Err(self.refuse(key, format!("`{short}{more}`; allowed: {allowed}")))
    }

    fn refuse(&self, key: &str, problem: String) -> Error {
        Error::refused(self.path, problem).at(format!("metadata `{key}`"))
    }
}

/// A file's name without its extension.
fn stem(path: &Path) -> String {
    path.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}
