//! The user's own CSV, gzipped or not: numbers in every column but one, which names the class.
//!
//! - Comma-separated, one row a line, blank lines skipped. A header is told by its content: its
//!   feature columns are no numbers.
//! - The label column is named by its header or its number from 0; otherwise it is the last.
//! - A first line `rows,features,class names…`, as scikit-learn ships its datasets, is recognized;
//!   the labels then count the names from 0, and the row count is held to it.
//! - Integers 0…255 throughout stay bytes, one eighth of the memory.
//!
//! Refused, each with line and column: what is not a finite number, rows of different length, a
//! missing label, more than 1000 different ones, a file without rows.

use std::path::Path;

use ndarray::Array2;

use self::header::Header;
use self::records::{CsvRecords, CsvRow};
use super::classes::{Classes, MOST_CLASSES, integer};
use super::dataset::Features;
use crate::error::{Error, Result};

mod header;
mod records;

/// What a CSV file holds.
#[derive(Debug)]
pub struct CsvTable {
    /// Shape `(rows, features)`: all columns but the label's, in the file's order.
    pub features: Features,
    /// The header's names of them, if there is a header.
    pub feature_names: Option<Vec<String>>,
    pub(crate) classes: Classes,
}

/// Reads one CSV file; `label` is the label column's header or its number from 0, `None` the last
/// column; with a checksum (SHA-256, hexadecimal), only if it fits.
///
/// # Errors
/// Every departure from the format, with line and column.
pub fn read(path: &Path, label: Option<&str>, sha256: Option<&str>) -> Result<CsvTable> {
    let mut records = CsvRecords::open(path, sha256)?;
    let Some(first) = records.next()? else {
        return Err(Error::refused(path, "empty file").help("a CSV has one row a line"));
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

/// Values so far: bytes as long as all of them are.
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

    fn shaped(self, shape: (usize, usize)) -> Features {
        match self {
            Self::Bytes(mut bytes) => {
                bytes.shrink_to_fit();
                Features::Bytes(
                    Array2::from_shape_vec(shape, bytes).expect("every row has its features"),
                )
            }
            Self::Reals(mut reals) => {
                reals.shrink_to_fit();
                Features::Reals(
                    Array2::from_shape_vec(shape, reals).expect("every row has its features"),
                )
            }
        }
    }
}

/// The rows of data so far.
struct RowBuffer<'a> {
    path: &'a Path,
    width: usize,
    width_line: u64,
    label: usize,
    cells: Cells,
    classes: Classes,
    /// The number of classes that the first line names, if it does.
    named: Option<usize>,
    /// The columns' names, for messages.
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
            named: None,
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
                rows.named = Some(names.len());
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
            if column == self.label {
                self.push_label(text, row.line)?;
                continue;
            }
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => self.cells.push(value),
                Ok(_) => return Err(self.fault(row.line, column, text, "not finite")),
                Err(_) => return Err(self.fault(row.line, column, text, "not a number")),
            }
        }
        Ok(())
    }

    fn push_label(&mut self, text: &str, line: u64) -> Result<()> {
        if text.is_empty() || text.eq_ignore_ascii_case("nan") {
            return Err(self.fault(line, self.label, text, "no label"));
        }
        if let Some(classes) = self.named {
            let class = integer(text)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|&class| class < classes)
                .and_then(|class| u16::try_from(class).ok())
                .ok_or_else(|| {
                    let allowed = format!("no label: allowed are 0…{}", classes - 1);
                    self.fault(line, self.label, text, &allowed)
                })?;
            self.classes.labels.push(class);
            return Ok(());
        }
        self.classes.push(text, line).ok_or_else(|| {
            let many =
                format!("more than {MOST_CLASSES} different labels: a measurement, no class");
            self.fault(line, self.label, text, &many)
                .help("choose the label column: label = \"its header, or its number from 0\"")
        })
    }

    fn fault(&self, line: u64, column: usize, text: &str, problem: &str) -> Error {
        let name = self
            .columns
            .get(column)
            .map_or_else(String::new, |name| format!(" ({name})"));
        let error = Error::refused(self.path, format!("`{}` is {problem}", shown(text)))
            .at(format!("line {line}, column {}{name}", column + 1));
        if self.classes.labels.is_empty() && self.columns.is_empty() && self.named.is_none() {
            error.help("if this line is a header: a header has a name, no number, in every column")
        } else {
            error
        }
    }

    fn finish(mut self, heading: &Header, first: &CsvRow) -> Result<CsvTable> {
        let features = self.width.saturating_sub(1);
        // Columns may be called 0, 1, 2, …: then only the label's name tells a header.
        if heading.is_data() && self.classes.first_alone_is_text() {
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
                format!("{rows} rows; at most {} are read", u32::MAX),
            ));
        }
        match heading {
            Header::Counts { rows: promised, .. } if *promised != rows => {
                return Err(Error::refused(
                    self.path,
                    format!(
                        "line {} counts {promised} rows, the file has {rows}",
                        first.line
                    ),
                )
                .at(format!("line {}", first.line)));
            }
            Header::Counts { names, .. } => {
                self.classes.first_lines = vec![first.line; names.len()];
                self.classes.names.clone_from(names);
            }
            _ => self.classes.sort(),
        }
        let mut feature_names = self.columns;
        if !feature_names.is_empty() {
            feature_names.remove(self.label);
        }
        Ok(CsvTable {
            features: self.cells.shaped((rows, features)),
            feature_names: Some(feature_names).filter(|names| !names.is_empty()),
            classes: self.classes,
        })
    }
}

/// A text from a file, fit for a message: control characters escaped, at most 40 characters.
pub(crate) fn shown(text: &str) -> String {
    let mut escaped: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 {
        escaped.push('…');
    }
    escaped
}
