//! Datasets in NumPy's files: an NPY with a label column, an NPY of features and one of labels, or an
//! NPZ with both.

use std::path::Path;

use ndarray::{Array2, Axis};

use super::classes::{Classes, MOST_CLASSES};
use super::dataset::{Dataset, Features};
use super::input::DataFile;
use super::npy::{self, NpyArray};
use super::npz::{self, Archive};
use crate::error::{Error, Result};

/// The constant that scales images of bytes to 0…1.
const BYTE_RANGE: f64 = 255.0;

/// A format of NumPy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArrayFormat {
    Npy,
    Npz,
}

/// Returns the format of a file, by its first bytes; `None` for others.
///
/// # Errors
/// A missing file, or a failed read.
pub(super) fn format_of(path: &Path) -> Result<Option<ArrayFormat>> {
    let mut magic = [0; 6];
    let count = DataFile::open(path, None)?.read_start(&mut magic)?;
    Ok(match &magic[..count] {
        start if start == npy::MAGIC => Some(ArrayFormat::Npy),
        start if start.starts_with(&npz::MAGIC) => Some(ArrayFormat::Npz),
        _ => None,
    })
}

/// Reads the NPY file `path`, gzipped or not.
pub(super) fn read_npy(path: &Path) -> Result<NpyArray> {
    let mut input = DataFile::open(path, None)?;
    let most = input.most_bytes();
    npy::read(&mut input, most, path)
}

/// Reads the features of a file without labels.
///
/// # Errors
/// A file that is refused.
pub(super) fn read_features(path: &Path, format: ArrayFormat) -> Result<Features> {
    let array = match format {
        ArrayFormat::Npy => read_npy(path)?,
        ArrayFormat::Npz => Archive::open(path)?.features_and_labels(None)?.0,
    };
    Ok(array.into_features(path)?.0)
}

/// Reads a labeled file: of an NPY the column `label`, a number from 0, or the last; of an NPZ the
/// array `label`, or one with a name that is usual.
///
/// # Errors
/// A file that is refused; no such column or array.
pub(super) fn load(
    path: &Path,
    format: ArrayFormat,
    label: Option<&str>,
    name: String,
) -> Result<(Dataset, Classes)> {
    if format == ArrayFormat::Npz {
        let (features, labels) = Archive::open(path)?.features_and_labels(label)?;
        let labels = labels.ok_or_else(|| {
            Error::refused(path, "no array of labels")
                .help("call it y, or name it: label = \"its name\"")
        })?;
        return combined(features, labels.into_labels(path)?, path, name);
    }
    let (features, _) = read_npy(path)?.into_features(path)?;
    let width = features.dim().1;
    let column = label.map_or(Some(width - 1), |label| label.parse().ok());
    let column = column.filter(|&column| column < width && width > 1).ok_or_else(|| {
        Error::refused(path, format!("no label column: the columns are 0…{}", width - 1))
            .help("give its number: label = 0; or labels in a file of their own: train = [\"X.npy\", \"y.npy\"]")
    })?;
    let rows = features.dim().0;
    let mut labels = Vec::with_capacity(rows);
    for row in 0..rows {
        let value = features.value(row, column);
        if value.fract() != 0.0 {
            return Err(Error::refused(path, format!("label {value} is no integer"))
                .at(format!("row {}, column {column}", row + 1)));
        }
        labels.push(value.to_string());
    }
    dataset((without(features, column), None), labels, path, name)
}

/// Combines an NPY of features and one of labels.
///
/// # Errors
/// A file that is refused; other numbers of rows.
pub(super) fn load_pair(path: &Path, labels: &Path, name: String) -> Result<(Dataset, Classes)> {
    let texts = read_npy(labels)?.into_labels(labels)?;
    combined(read_npy(path)?, texts, path, name)
}

fn combined(
    features: NpyArray,
    labels: Vec<String>,
    path: &Path,
    name: String,
) -> Result<(Dataset, Classes)> {
    dataset(features.into_features(path)?, labels, path, name)
}

fn dataset(
    (features, image): (Features, Option<(usize, usize)>),
    labels: Vec<String>,
    path: &Path,
    name: String,
) -> Result<(Dataset, Classes)> {
    let rows = features.dim().0;
    if rows != labels.len() {
        let problem = format!("{rows} rows of features, but {} labels", labels.len());
        return Err(Error::refused(path, problem));
    }
    let mut classes = Classes::default();
    for (row, label) in (1..).zip(&labels) {
        let pushed = Some(label).filter(|label| !label.is_empty());
        let pushed = pushed.and_then(|label| classes.push(label, row));
        pushed.ok_or_else(|| {
            let problem = format!(
                "`{}` is no label, or the one after {MOST_CLASSES} others",
                super::classes::shown(label)
            );
            Error::refused(path, problem).at(format!("row {row}"))
        })?;
    }
    let is_bytes = matches!(features, Features::Bytes(_));
    let data = Dataset {
        name,
        features,
        labels: Vec::new(),
        class_names: Vec::new(),
        image,
        unit_divisor: image.filter(|_| is_bytes).map(|_| BYTE_RANGE),
        targets: None,
        table: None,
    };
    Ok((data, classes))
}

/// Removes a column.
fn without(features: Features, column: usize) -> Features {
    fn kept<T: Copy>(values: &Array2<T>, column: usize) -> Array2<T> {
        let others: Vec<usize> = (0..values.ncols())
            .filter(|other| *other != column)
            .collect();
        values
            .select(Axis(1), &others)
            .as_standard_layout()
            .into_owned()
    }
    match features {
        Features::Bytes(values) => Features::Bytes(kept(&values, column)),
        Features::Reals(values) => Features::Reals(kept(&values, column)),
    }
}
