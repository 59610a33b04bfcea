//! Reads CSV files, gzipped or not: numeric feature columns and one label column.
//!
//! - Comma-separated, one row per line; blank lines are skipped. A header is recognized by its
//!   content: most of its feature columns are not numbers.
//! - The label column is given by its header or its number from 0; the default is the last.
//! - A first line `rows,features,class names…`, as in scikit-learn's datasets, is recognized;
//!   labels are then indices into the class names, from 0, and the number of rows must match.
//! - If all features are integers 0…255, they stay bytes, an eighth of the memory.
//!
//! Refused, with line and column: values that are not finite numbers, rows of different lengths,
//! missing labels, more than 1000 distinct labels, files without rows.

use std::path::Path;

use ndarray::Array2;

use self::header::Header;
use self::records::{CsvRecords, CsvRow};
use self::targets::TargetColumns;
use super::classes::{Classes, MOST_CLASSES, integer};
use super::dataset::Features;
use super::targets::RegressionTargets;
use crate::error::{Error, Result};

mod header;
mod records;
mod targets;

/// The content of a CSV file.
#[derive(Debug)]
pub struct CsvTable {
    /// Shape `(rows, features)`: all columns except the label column, in the file's order.
    pub features: Features,
    /// The names of the feature columns, if there is a header.
    pub feature_names: Option<Vec<String>>,
    pub(crate) classes: Classes,
    /// The columns of numbers to predict, if the file was read for them.
    pub(crate) targets: Option<RegressionTargets>,
}

/// Reads a CSV file; `label` is the label column's header or its number from 0, `None` for the last
/// column. If a checksum (SHA-256, hexadecimal) is given, the file must have it.
///
/// # Errors
/// Any violation of the format, with its line and column; a wrong checksum; a failed read.
pub fn read(path: &Path, label: Option<&str>, sha256: Option<&str>) -> Result<CsvTable> {
    let mut records = CsvRecords::open(path, sha256)?;
    let Some(first) = records.next()? else {
        return Err(Error::refused(path, "empty file").help("a CSV has one row per line"));
    };
    let second = records.next()?;
    let heading = Header::of(&first, second.as_ref(), label, path)?;
    let mut rows = RowBuffer::new(path, &heading, &first);
    if heading.is_data() {
        rows.push(&first)?;
    }
    let mut next = second;
    while let Some(row) = next {
        rows.push(&row)?;
        next = records.next()?;
    }
    rows.finish(&heading, &first)
}

/// Reads a CSV file whose columns `targets`, by header or by number from 0, are numbers to predict;
/// without any it is the last column.
///
/// # Errors
/// As [`read`]; a target that does not exist, or that is no finite number.
pub fn read_targets(path: &Path, targets: &[String], sha256: Option<&str>) -> Result<CsvTable> {
    let mut records = CsvRecords::open(path, sha256)?;
    let Some(first) = records.next()? else {
        return Err(Error::refused(path, "empty file").help("a CSV has one row per line"));
    };
    let second = records.next()?;
    // The name of a column marks a header; what does not exist is refused below.
    let fields = first.texts(path)?;
    let mut named = targets.iter().map(String::as_str);
    let label = named.find(|name| fields.contains(name));
    let heading = Header::of(&first, second.as_ref(), label, path)?;
    if let Header::Counts { .. } = heading {
        return Err(Error::refused(
            path,
            "its first line names classes, so its last column is a label, not a number to predict",
        )
        .at(format!("line {}", first.line))
        .help("leave out `task`"));
    }
    let mut rows = RowBuffer::new(path, &heading, &first);
    rows.targets = Some(TargetColumns::find(path, &heading, &first, targets)?);
    if heading.is_data() {
        rows.push(&first)?;
    }
    let mut next = second;
    while let Some(row) = next {
        rows.push(&row)?;
        next = records.next()?;
    }
    rows.finish(&heading, &first)
}

/// The features read so far: bytes until a value does not fit in one.
enum Cells {
    Bytes(Vec<u8>),
    Reals(Vec<f64>),
}

impl Cells {
    fn push(&mut self, value: f64) {
        match self {
            Self::Bytes(bytes) if f64::from(value as u8) == value => bytes.push(value as u8),
            Self::Bytes(bytes) => {
                let mut reals: Vec<f64> = bytes.iter().map(|&byte| f64::from(byte)).collect();
                reals.push(value);
                *self = Self::Reals(reals);
            }
            Self::Reals(reals) => reals.push(value),
        }
    }

    fn remove_first(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => drop(bytes.drain(..count)),
            Self::Reals(reals) => drop(reals.drain(..count)),
        }
    }

    fn into_features(self, shape: (usize, usize)) -> Features {
        match self {
            Self::Bytes(mut bytes) => {
                bytes.shrink_to_fit();
                Features::Bytes(
                    Array2::from_shape_vec(shape, bytes)
                        .expect("every row has the same number of features"),
                )
            }
            Self::Reals(mut reals) => {
                reals.shrink_to_fit();
                Features::Reals(
                    Array2::from_shape_vec(shape, reals)
                        .expect("every row has the same number of features"),
                )
            }
        }
    }
}

/// The rows read so far.
struct RowBuffer<'a> {
    path: &'a Path,
    width: usize,
    width_line: u64,
    label: usize,
    cells: Cells,
    classes: Classes,
    /// The columns of numbers to predict, instead of a label.
    targets: Option<TargetColumns>,
    /// The number of classes, if the first line names them.
    class_count: Option<usize>,
    /// The names of all columns, for messages; empty without a header.
    columns: Vec<String>,
}

impl<'a> RowBuffer<'a> {
    fn new(path: &'a Path, heading: &Header, first: &CsvRow) -> Self {
        let mut rows = Self {
            path,
            width: first.fields.len(),
            width_line: first.line,
            label: 0,
            cells: Cells::Bytes(Vec::new()),
            classes: Classes::default(),
            targets: None,
            class_count: None,
            columns: Vec::new(),
        };
        match heading {
            Header::Data { label } => rows.label = *label,
            Header::Names { label } => {
                rows.label = *label;
                rows.columns = first.names();
            }
            Header::Counts { names, .. } => {
                // The next row sets the width.
                rows.width = 0;
                rows.class_count = Some(names.len());
            }
        }
        rows
    }

    fn push(&mut self, row: &CsvRow) -> Result<()> {
        let fields = row.texts(self.path)?;
        if self.width == 0 {
            self.width = fields.len();
            self.width_line = row.line;
            self.label = self.width - 1;
        }
        if fields.len() != self.width {
            return Err(Error::refused(
                self.path,
                format!(
                    "{} columns, but line {} has {}",
                    fields.len(),
                    self.width_line,
                    self.width
                ),
            )
            .at(format!(
                "line {}, column {}",
                row.line,
                fields.len().min(self.width) + 1
            )));
        }
        for (column, text) in fields.iter().enumerate() {
            if self.targets.is_none() && column == self.label {
                self.push_label(text, row.line)?;
                continue;
            }
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => match &mut self.targets {
                    Some(targets) if targets.columns.contains(&column) => {
                        targets.row.push((column, value));
                    }
                    _ => self.cells.push(value),
                },
                Ok(_) => return Err(self.fault(row.line, column, text, "not finite")),
                Err(_) => return Err(self.fault(row.line, column, text, "not a number")),
            }
        }
        if let Some(targets) = &mut self.targets {
            targets.finish_row();
            self.classes.labels.push(0);
        }
        Ok(())
    }

    fn push_label(&mut self, text: &str, line: u64) -> Result<()> {
        if text.is_empty() || text.eq_ignore_ascii_case("nan") {
            return Err(self.fault(line, self.label, text, "not a label"));
        }
        if let Some(classes) = self.class_count {
            let class = integer(text)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|&class| class < classes)
                .and_then(|class| u16::try_from(class).ok())
                .ok_or_else(|| {
                    let allowed = format!("not a label; allowed are 0…{}", classes - 1);
                    self.fault(line, self.label, text, &allowed)
                })?;
            self.classes.labels.push(class);
            return Ok(());
        }
        self.classes.push(text, line).ok_or_else(|| {
            let problem = format!(
                "distinct label number {}; at most {MOST_CLASSES} are allowed",
                MOST_CLASSES + 1
            );
            self.fault(line, self.label, text, &problem).help(
                "choose the label column: label = \"its header, or its number from 0\"; or predict the number with task = \"regression\"",
            )
        })
    }

    fn fault(&self, line: u64, column: usize, text: &str, problem: &str) -> Error {
        let name = self
            .columns
            .get(column)
            .map_or_else(String::new, |name| format!(" ({name})"));
        let error = Error::refused(self.path, format!("`{}` is {problem}", shown(text)))
            .at(format!("line {line}, column {}{name}", column + 1));
        if self.classes.labels.is_empty() && self.columns.is_empty() && self.class_count.is_none() {
            error.help("if this line is a header, give every column a name that is not a number")
        } else {
            error
        }
    }

    fn finish(mut self, heading: &Header, first: &CsvRow) -> Result<CsvTable> {
        let answers = (self.targets.as_ref()).map_or(1, |targets| targets.columns.len());
        let features = self.width.saturating_sub(answers);
        // Feature columns may be called 0, 1, 2, …: then only the label's name marks a header.
        if heading.is_data() && self.classes.only_first_is_text() {
            self.classes.remove_first();
            self.cells.remove_first(features);
            self.columns = first.names();
        }
        let rows = self.classes.labels.len();
        if rows == 0 {
            return Err(Error::refused(self.path, "a header, but no rows")
                .at(format!("line {}", first.line)));
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::refused(
                self.path,
                format!("{rows} rows; at most {} are allowed", u32::MAX),
            ));
        }
        match heading {
            Header::Counts {
                rows: announced, ..
            } if *announced != rows => {
                return Err(Error::refused(
                    self.path,
                    format!(
                        "line {} announces {announced} rows, but the file has {rows}",
                        first.line
                    ),
                )
                .at(format!("line {}", first.line)));
            }
            Header::Counts { names, .. } => {
                self.classes.first_lines = vec![first.line; names.len()];
                self.classes.names.clone_from(names);
            }
            _ if self.targets.is_none() => self.classes.sort(),
            // The numbers of a regression are no classes.
            _ => {}
        }
        let is_feature = |column: usize| match &self.targets {
            Some(targets) => !targets.columns.contains(&column),
            None => column != self.label,
        };
        let names = self.columns.into_iter().enumerate();
        let feature_names: Vec<String> = names
            .filter(|(column, _)| is_feature(*column))
            .map(|(_, name)| name)
            .collect();
        Ok(CsvTable {
            features: self.cells.into_features((rows, features)),
            feature_names: Some(feature_names).filter(|names| !names.is_empty()),
            classes: self.classes,
            targets: self.targets.map(|targets| targets.into_targets(rows)),
        })
    }
}

/// Prepares text from a file for a message: escapes control characters, keeps at most 40
/// characters.
pub(crate) fn shown(text: &str) -> String {
    let mut escaped: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 {
        escaped.push('…');
    }
    escaped
}
