//! Gradients as safetensors or NPZ files: tensors with the names and shapes of the parameters.
//!
//! Written in double precision as `layers.K.weight` `(fan_out, fan_in)` and `layers.K.bias`
//! `(fan_out,)`. Read in either precision, and also with the names of PyTorch's `nn.Sequential`
//! (`0.weight`, `2.weight`, …: the layers in the order of their numbers). Refused: missing, unknown
//! or repeated tensors, other shapes or types. Numbers that are not finite are accepted, so that the
//! comparison finds them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::json;

use super::AnyParameters;
use super::file::{read_capped, write_atomically};
use super::safetensors::{FILE_CAP, read, tensors};
#[cfg(feature = "files")]
use crate::data::npz;
use crate::error::{Error, Result};
use crate::model::{Layout, Parameters};
use crate::numeric::{Precision, Real};

/// Writes `gradient` to `path` atomically: as NPZ if the extension says so, otherwise as
/// safetensors.
///
/// # Errors
/// The operating system refuses a call.
pub fn save(gradient: &Parameters<f64>, path: &Path) -> Result<()> {
    #[cfg(feature = "export")]
    if (path.extension()).is_some_and(|extension| extension.eq_ignore_ascii_case("npz")) {
        let mut archive = super::npz::ArchiveWriter::new();
        for tensor in gradient.layout().tensors() {
            let numbers = &gradient.flat()[tensor.range.clone()];
            archive.add(
                &tensor.name(),
                &super::npy::of_numbers(numbers, &tensor.shape),
            );
        }
        return write_atomically(path, &archive.finish());
    }
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
    let mut bytes = read_capped(path, FILE_CAP)?;
    let file = GradientFile::of(&mut bytes, path)?;
    let refuse = |name: &str, problem: String| refuse(path, name, problem, layout, &file);
    let names = file.names();
    let mut places = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        if places.insert(name.as_str(), at).is_some() {
            return Err(refuse(name, "present twice".to_owned()));
        }
    }
    let numbers = layer_numbers(&names);
    let mut gradient = Parameters::zeros(Arc::clone(layout));
    let expected: Vec<String> = (layout.tensors().iter())
        .map(|tensor| match &numbers {
            Some(numbers) if tensor.layer < numbers.len() => {
                format!("{}.{}", numbers[tensor.layer], tensor.part)
            }
            _ => tensor.name(),
        })
        .collect();
    if let Some(name) = (expected.iter()).find(|name| !places.contains_key(name.as_str())) {
        return Err(refuse(name, "missing".to_owned()));
    }
    if let Some(name) = (names.iter()).filter(|name| !expected.contains(name)).min() {
        return Err(refuse(name, "not a parameter of the network".to_owned()));
    }
    for (name, place) in expected.iter().zip(layout.tensors()) {
        let tensor = file.tensor(places[name.as_str()])?;
        let shape = &place.shape;
        if tensor.shape != *shape {
            let problem = format!("shape {:?}, but the network has {shape:?}", tensor.shape);
            return Err(refuse(name, problem));
        }
        let numbers = tensor.numbers.map_err(|dtype| {
            let problem =
                format!("numbers of type {dtype}; allowed are floats of 32 and of 64 bits");
            refuse(name, problem)
        })?;
        gradient.flat_mut()[place.range].copy_from_slice(&numbers);
    }
    let is_single = |&number: &f64| f64::from(number as f32).to_bits() == number.to_bits();
    let precision = if gradient.flat().iter().all(is_single) {
        Precision::F32
    } else {
        Precision::F64
    };
    Ok((gradient, precision))
}

/// A file of tensors, which are read one by one.
enum GradientFile<'b> {
    Safetensors(Vec<String>, SafeTensors<'b>),
    #[cfg(feature = "files")]
    Npz(npz::Archive<'b>),
}

/// A tensor of a file.
struct FileTensor {
    shape: Vec<usize>,
    /// The numbers, row-major; of another type than floats of 32 or 64 bits its name.
    numbers: std::result::Result<Vec<f64>, String>,
}

impl<'b> GradientFile<'b> {
    /// Reads what `bytes` hold, without the numbers; an archive takes them.
    #[cfg_attr(not(feature = "files"), allow(clippy::ptr_arg))]
    fn of(bytes: &'b mut Vec<u8>, path: &'b Path) -> Result<Self> {
        #[cfg(feature = "files")]
        if bytes.starts_with(&npz::MAGIC) {
            return Ok(Self::Npz(npz::Archive::of(std::mem::take(bytes), path)?));
        }
        let (_, tensors) = read(bytes, path).map_err(|error| {
            error.help("a gradient is a safetensors file, or an NPZ with an array for each tensor; `nplus1 check --help` describes both")
        })?;
        let mut names: Vec<String> = tensors.names().into_iter().map(str::to_owned).collect();
        names.sort();
        Ok(Self::Safetensors(names, tensors))
    }

    fn names(&self) -> Vec<String> {
        match self {
            Self::Safetensors(names, _) => names.clone(),
            #[cfg(feature = "files")]
            Self::Npz(archive) => archive.names().into_iter().map(str::to_owned).collect(),
        }
    }

    /// Reads the tensor number `at`.
    ///
    /// # Errors
    /// A damaged array of an NPZ.
    fn tensor(&self, at: usize) -> Result<FileTensor> {
        match self {
            Self::Safetensors(names, tensors) => {
                let tensor = tensors.tensor(&names[at]).expect("a name of the file");
                Ok(FileTensor {
                    shape: tensor.shape().to_vec(),
                    numbers: match tensor.dtype() {
                        Dtype::F32 => Ok(numbers::<f32>(tensor.data())),
                        Dtype::F64 => Ok(numbers::<f64>(tensor.data())),
                        other => Err(other.to_string()),
                    },
                })
            }
            #[cfg(feature = "files")]
            Self::Npz(archive) => {
                let array = archive.array(at)?;
                let (shape, descr) = (array.shape.clone(), array.descr.clone());
                let is_float = matches!(descr.trim_start_matches(['<', '>', '=']), "f4" | "f8");
                let numbers = array.into_numbers().filter(|_| is_float);
                Ok(FileTensor {
                    shape,
                    numbers: numbers.ok_or(descr),
                })
            }
        }
    }
}

/// Returns the numbers of the layers in ascending order, if all tensors are named `NUMBER.weight`
/// or `NUMBER.bias`.
fn layer_numbers(names: &[String]) -> Option<Vec<usize>> {
    let number = |name: &String| {
        let (number, part) = name.split_once('.')?;
        let number: usize = number.parse().ok()?;
        ["weight", "bias"].contains(&part).then_some(number)
    };
    let numbers: Option<BTreeSet<usize>> = names.iter().map(number).collect();
    numbers.map(|numbers| numbers.into_iter().collect())
}

/// Converts numbers of type `R` to double precision.
fn numbers<R: Real>(bytes: &[u8]) -> Vec<f64> {
    let each = bytes.chunks_exact(R::BYTES);
    each.map(|bytes| R::from_bytes(bytes).to_f64()).collect()
}

/// Creates the error of tensor `name`, with the tensors of the file and those of the network.
fn refuse(path: &Path, name: &str, problem: String, layout: &Layout, file: &GradientFile) -> Error {
    const SHOWN: usize = 8;
    let names = file.names();
    let mut found: Vec<(usize, &String)> = names.iter().enumerate().collect();
    found.sort_by_key(|(_, name)| *name);
    let more = if found.len() > SHOWN { ", …" } else { "" };
    let spelled = |(at, name): (usize, &String)| {
        let name = crate::text::plain_line(name);
        match file.tensor(at) {
            Ok(tensor) => format!("{name} {:?}", tensor.shape),
            Err(_) => name.into_owned(),
        }
    };
    let found: Vec<String> = found.into_iter().take(SHOWN).map(spelled).collect();
    let tensors = layout.tensors().into_iter();
    let expected: Vec<String> = tensors
        .map(|tensor| format!("{} {:?}", tensor.name(), tensor.shape))
        .collect();
    let name = crate::text::plain_line(name);
    Error::refused(path, problem)
        .at(format!("tensor {name}"))
        .help(format!(
            "the network has {}; the file holds {}{more}",
            expected.join(", "),
            found.join(", ")
        ))
}
