//! Datasets in NumPy's files: an NPY with a label column, an NPY of features and one of labels, or an
//! NPZ with both. In a regression, numbers to predict are in the place of the labels.

use std::path::Path;

use ndarray::{Array2, Axis};

use super::classes::{Classes, MOST_CLASSES, list, shown};
use super::dataset::{Dataset, Features};
use super::idx::shape as spelled;
use super::input::DataFile;
use super::npy::{self, NpyArray};
use super::npz::{self, Archive};
use super::targets::RegressionTargets;
use crate::error::{Error, Result};

/// The constant that scales images of bytes to 0…1.
const BYTE_RANGE: f64 = 255.0;

/// The name of a number to predict in a file that has no names.
pub(super) const TARGET: &str = "target";

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
                .at(format!("row {}, column {column}", row + 1))
                .help("predict the number with task = \"regression\" under [data], or choose another column: label = \"0\""));
        }
        labels.push(value.to_string());
    }
    dataset((without(features, &[column]), None), labels, path, name)
}

/// Reads features and the numbers that a regression predicts: of an NPY columns, the last one or
/// those that are wanted by their numbers from 0; of an NPZ arrays.
///
/// # Errors
/// A file that is refused; no such column or array; other numbers of rows.
pub(super) fn load_numbers(
    path: &Path,
    format: ArrayFormat,
    wanted: &WantedTargets,
    name: String,
) -> Result<Dataset> {
    if format == ArrayFormat::Npz {
        let (is_known, names) = (wanted.known.is_some(), wanted.names);
        let (features, arrays) =
            Archive::open(path)?.features_and_targets(wanted.label, names, is_known)?;
        let targets = wanted.named(targets(arrays, path)?, path)?;
        return regression(features.into_features(path)?, targets, path, name);
    }
    let (features, _) = read_npy(path)?.into_features(path)?;
    let (rows, width) = features.dim();
    let columns = wanted.columns(width).ok_or_else(|| {
        let problem = format!("no such columns to predict: the columns are 0…{}", width - 1);
        Error::refused(path, problem)
            .help("give their numbers: targets = [\"0\", \"3\"]; or numbers in a file of their own: train = [\"X.npy\", \"y.npy\"]")
    })?;
    let value = |(row, target): (usize, usize)| features.value(row, columns[target]);
    let targets = RegressionTargets {
        values: Array2::from_shape_fn((rows, columns.len()), value),
        names: match wanted.known {
            Some(_) => wanted.names.to_vec(),
            None => columns.iter().map(|at| format!("column {at}")).collect(),
        },
    };
    regression((without(features, &columns), None), targets, path, name)
}

/// Combines an NPY of features and one of the numbers to predict, `(rows)` or `(rows, targets)`.
///
/// # Errors
/// A file that is refused; other numbers of rows.
pub(super) fn load_number_pair(
    path: &Path,
    numbers: &Path,
    wanted: &WantedTargets,
    name: String,
) -> Result<Dataset> {
    let targets = targets(vec![(TARGET.to_owned(), read_npy(numbers)?)], numbers)?;
    let targets = wanted.named(targets, numbers)?;
    regression(read_npy(path)?.into_features(path)?, targets, path, name)
}

/// Makes targets of arrays, each of one or more numbers a row.
fn targets(arrays: Vec<(String, NpyArray)>, path: &Path) -> Result<RegressionTargets> {
    let (mut names, mut columns) = (Vec::new(), Vec::new());
    for (name, array) in arrays {
        let shape = array.shape.clone();
        let refused = |what: String| {
            Error::refused(path, what).at(format!("array {}", shown(&name))).help(
                "numbers to predict are an array of numbers, one or more for each row: (rows) or (rows, targets)",
            )
        };
        let width = match shape[..] {
            [rows] if rows > 0 => 1,
            [rows, width] if rows * width > 0 => width,
            _ => return Err(refused(format!("an array of shape ({})", spelled(&shape)))),
        };
        let numbers = array.into_numbers();
        let numbers = numbers.ok_or_else(|| refused("an array of texts".to_owned()))?;
        let values = Array2::from_shape_vec((shape[0], width), numbers);
        columns.push(values.expect("as many elements as the shape says"));
        names.extend(target_names(&name, width));
    }
    let views: Vec<_> = columns.iter().map(|array| array.view()).collect();
    let values = ndarray::concatenate(Axis(1), &views).map_err(|_| {
        let rows: Vec<String> = columns.iter().map(|a| a.nrows().to_string()).collect();
        let problem = format!(
            "the arrays of the numbers to predict have {} rows",
            list(&rows)
        );
        Error::refused(path, problem).help("each has one row for each row of the features")
    })?;
    let values = values.as_standard_layout().into_owned();
    Ok(RegressionTargets { names, values })
}

/// Names the columns of an array: by its name, and their numbers if there are several.
pub(super) fn target_names(array: &str, width: usize) -> Vec<String> {
    match width {
        1 => vec![array.to_owned()],
        _ => (0..width).map(|at| format!("{array} {at}")).collect(),
    }
}

/// Returns the first element that an earlier one equals.
fn repeated<T: PartialEq>(elements: &[T]) -> Option<&T> {
    let mut pairs = elements.iter().enumerate();
    let twice = pairs.find(|(index, element)| elements[..*index].contains(element));
    twice.map(|(_, element)| element)
}

fn regression(
    (features, image): (Features, Option<(usize, usize)>),
    targets: RegressionTargets,
    path: &Path,
    name: String,
) -> Result<Dataset> {
    let (rows, found) = (features.dim().0, targets.values.nrows());
    if rows != found {
        let problem = format!("{rows} rows of features, but {found} of numbers to predict");
        return Err(Error::refused(path, problem));
    }
    let is_bytes = matches!(features, Features::Bytes(_));
    Ok(Dataset {
        name,
        labels: vec![0; rows],
        features,
        class_names: Vec::new(),
        image,
        unit_divisor: image.filter(|_| is_bytes).map(|_| BYTE_RANGE),
        targets: Some(targets),
        table: None,
    })
}

/// What a config or a model says of the numbers that a regression predicts.
#[derive(Clone, Copy)]
pub(super) struct WantedTargets<'a> {
    /// The column or the array that holds them.
    pub label: Option<&'a str>,
    /// Their names; a config may give none.
    pub names: &'a [String],
    /// The model or the training file whose names they are; `None`: the config's.
    pub known: Option<&'a Path>,
}

impl WantedTargets<'_> {
    /// Returns the numbers of their columns in an array of `width` columns; `None` if it has no such
    /// columns, or no other.
    fn columns(&self, width: usize) -> Option<Vec<usize>> {
        let number = |name: &String| -> Option<usize> {
            let known = self.known.and_then(|_| name.strip_prefix("column "));
            known.unwrap_or(name).parse().ok()
        };
        let last = |count: usize| Some((width.checked_sub(count)?..width).collect());
        let columns: Vec<usize> = match (self.names, self.label) {
            ([], None) => last(1)?,
            ([], Some(label)) => vec![label.parse().ok()?],
            (names, _) => match names.iter().map(number).collect() {
                None if self.known.is_some() => last(names.len())?,
                numbers => numbers?,
            },
        };
        let fit = columns.iter().all(|&at| at < width) && repeated(&columns).is_none();
        (fit && columns.len() < width).then_some(columns)
    }

    /// Gives the targets of a file the names that are wanted, if there are any.
    ///
    /// # Errors
    /// Other numbers of names and targets; a repeated name.
    pub(super) fn named(
        &self,
        mut targets: RegressionTargets,
        path: &Path,
    ) -> Result<RegressionTargets> {
        let found = targets.names.len();
        if self.names.is_empty() {
            return Ok(targets);
        }
        if self.names.len() != found {
            let (wanted, names) = (self.names.len(), list(self.names));
            let problem = match self.known {
                Some(known) => format!(
                    "{found} numbers to predict per row, but {} has {wanted}: {names}",
                    known.display()
                ),
                None => format!("{found} numbers to predict per row, but `targets` names {wanted}"),
            };
            return Err(Error::refused(path, problem));
        }
        if let Some(twice) = repeated(self.names) {
            let problem = format!("`targets` has the name `{}` twice", shown(twice));
            return Err(Error::refused(path, problem).help("give each number a name of its own"));
        }
        targets.names = self.names.to_vec();
        Ok(targets)
    }
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
                shown(label)
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

/// Removes columns.
fn without(features: Features, columns: &[usize]) -> Features {
    fn kept<T: Copy>(values: &Array2<T>, columns: &[usize]) -> Array2<T> {
        let others: Vec<usize> = (0..values.ncols())
            .filter(|other| !columns.contains(other))
            .collect();
        values
            .select(Axis(1), &others)
            .as_standard_layout()
            .into_owned()
    }
    match features {
        Features::Bytes(values) => Features::Bytes(kept(&values, columns)),
        Features::Reals(values) => Features::Reals(kept(&values, columns)),
    }
}
