//! Writes a model as a file that other programs use: source text of C or Rust, ONNX, NPZ or
//! safetensors.
//!
//! Each file has all that is needed to turn a row as it is measured into an answer: the encoding of
//! categories, the scaling, the weights, the names of features and classes. The source files also
//! have a test of some rows with the answers of nplus1 ([`SelfTest`]).
//!
//! Equal models give equal files. What the writers need to know is in
//! `contents.rs`; there is one file for each of them.

mod c;
mod contents;
mod literals;
mod npz;
mod onnx;
mod protobuf;
mod rounding;
mod rust;
mod self_test;
mod weights;

use super::{Model, safetensors};
use crate::error::{InputError, Result};
use contents::Contents;

pub use rounding::rounding_bounds;
pub use self_test::{SelfTest, TestRow, sample_inputs};

/// A format of exported models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One file of C99.
    C,
    /// One file of Rust.
    Rust,
    /// An ONNX model.
    Onnx,
    /// An archive of NumPy arrays.
    Npz,
    /// The file that nplus1 itself reads.
    Safetensors,
}

impl ExportFormat {
    /// All formats, with their names.
    pub const ALL: [(&'static str, Self); 5] = [
        ("c", Self::C),
        ("rust", Self::Rust),
        ("onnx", Self::Onnx),
        ("npz", Self::Npz),
        ("safetensors", Self::Safetensors),
    ];

    /// Returns the name.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// The type of the weights in an exported file; biases keep the precision of the computation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightType {
    /// The model's own precision.
    #[default]
    Full,
    /// Half precision, IEEE 754's binary16: 11 significant bits. The file computes in single
    /// precision.
    F16,
    /// Integers from −127 to 127 times one number for each unit. The file computes in single
    /// precision.
    Int8,
}

impl WeightType {
    /// Returns the model whose weights are those that a file of this type holds, in single
    /// precision; a copy of `model` for [`WeightType::Full`].
    ///
    /// # Errors
    /// A weight that the type cannot hold.
    pub fn rounded(self, model: &Model) -> Result<Model, InputError> {
        weights::rounded(model, self)
    }
}

/// Returns the bytes of `model` as a file of `format`, whose weights are of type `weights`. The
/// source formats end with `test`.
///
/// # Errors
/// [`InputError`]: a name that the format cannot hold; a weight that `weights` cannot; weights of
/// another type than the model's in a format other than C and Rust.
pub fn to_bytes(
    model: &Model,
    format: ExportFormat,
    weights: WeightType,
    test: &SelfTest,
) -> Result<Vec<u8>, InputError> {
    let is_source = matches!(format, ExportFormat::C | ExportFormat::Rust);
    if weights != WeightType::Full && !is_source {
        return Err(InputError::Conflict(format!(
            "weights of f16 and int8 are for the formats c and rust, not for {}",
            format.name()
        )));
    }
    let contents = Contents::new(model, weights)?;
    match format {
        ExportFormat::C => Ok(c::source(&contents, test)?.into_bytes()),
        ExportFormat::Rust => Ok(rust::source(&contents, test).into_bytes()),
        ExportFormat::Onnx => Ok(onnx::to_bytes(&contents)),
        ExportFormat::Npz => Ok(npz::to_bytes(&contents)),
        ExportFormat::Safetensors => Ok(safetensors::to_bytes(model)),
    }
}
