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
//! missing label, fewer than 2 classes or more than 1000, a file without rows.

use std::io::{Chain, Read};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, Terminator, Trim};
use ndarray::Array2;

use super::classes::{Classes, MOST_CLASSES, integer, list};
use super::dataset::Features;
use super::input::Input;
use super::spelling;
use crate::error::{Error, Result};

/// What a CSV file holds.
#[derive(Debug)]
pub struct Table {
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
pub fn read(path: &Path, label: Option<&str>, sha256: Option<&str>) -> Result<Table> {
    let mut records = Records::open(path, sha256)?;
    let Some(first) = records.next()? else {
        return Err(Error::refused(path, "empty file").help("a CSV has one row a line"));
    };
    let second = records.next()?;
    let heading = Heading::of(&first, second.as_ref(), label, path)?;
    let mut rows = Rows::new(path, &heading, &first);
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

/// One line, cut into its fields.
struct Row {
    line: u64,
    fields: ByteRecord,
}

/// The lines of a file that are not blank.
struct Records<'a> {
    path: &'a Path,
    // A line end is appended, so that the last line ends like every other: see `next`.
    reader: csv::Reader<Chain<Input, &'static [u8]>>,
}

impl<'a> Records<'a> {
    fn open(path: &'a Path, sha256: Option<&str>) -> Result<Self> {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(Input::open(path, sha256)?.chain(&b"\n"[..]));
        Ok(Self { path, reader })
    }

    fn next(&mut self) -> Result<Option<Row>> {
        let mut fields = ByteRecord::new();
        loop {
            match self.reader.read_byte_record(&mut fields) {
                Ok(false) => return Ok(None),
                Ok(true) => {
                    let inside = fields.as_slice().iter().filter(|&&b| b == b'\n').count();
                    // Counted back from the record's end: the reader's own position of a record
                    // is that of the blank lines before it.
                    let line = self.reader.position().line() - 1 - inside as u64;
                    // A carriage return alone is a blank line too.
                    if fields.len() > 1 || !fields[0].is_empty() {
                        return Ok(Some(Row { line, fields }));
                    }
                }
                Err(error) => return Err(self.failure(error)),
            }
        }
    }

    fn failure(&self, error: csv::Error) -> Error {
        let line = self.reader.position().line();
        match error.into_kind() {
            csv::ErrorKind::Io(source) => self.reader.get_ref().get_ref().0.failure(0, source),
            other => Error::refused(self.path, format!("not a CSV file: {other:?}")),
        }
        .at(format!("line {line}"))
    }
}

/// What the first line is, and which column holds the labels.
enum Heading {
    /// A row like the others.
    Data { label: usize },
    /// The columns' names.
    Names { label: usize },
    /// `rows,features,class names…`.
    Counts { rows: usize, names: Vec<String> },
}

impl Heading {
    fn of(first: &Row, second: Option<&Row>, label: Option<&str>, path: &Path) -> Result<Self> {
        if first.fields.as_slice().starts_with(&[0, 0]) {
            return Err(Error::refused(path, "a binary file, not a CSV")
                .at("byte 0")
                .help("IDX needs two files: train = [\"images\", \"labels\"]"));
        }
        let fields = texts(first, path)?;
        let width = fields.len();
        if let Some(counts) = Self::counts(&fields, second, label) {
            return Ok(counts);
        }
        if width < 2 {
            let separators = [(';', "semicolons"), ('\t', "tabs"), (' ', "spaces")];
            let separator = separators
                .iter()
                .find(|(sign, _)| fields[0].contains(*sign));
            return Err(Error::refused(
                path,
                "1 column; a dataset has at least one feature and a label",
            )
            .at(format!("line {}", first.line))
            .help(separator.map_or_else(
                || "separate the columns with commas".to_owned(),
                |(_, name)| format!("separate the columns with commas, not with {name}"),
            )));
        }
        let named = label.filter(|label| label.parse::<usize>().is_err());
        if let Some(name) = named
            && fields.contains(&name)
        {
            let mut places = (0..width).filter(|&column| fields[column] == name);
            return match (places.next(), places.next()) {
                (Some(label), None) => Ok(Self::Names { label }),
                _ => Err(
                    Error::refused(path, format!("two columns are called `{name}`"))
                        .at(format!("line {}", first.line))
                        .help("give the label column by its number from 0"),
                ),
            };
        }
        let label_column = match label.and_then(|label| label.parse().ok()) {
            Some(column) if column < width => column,
            Some(column) => {
                return Err(Error::refused(
                    path,
                    format!("no label column {column}: the columns are 0…{}", width - 1),
                )
                .at(format!("line {}", first.line)));
            }
            None => width - 1,
        };
        let words = (0..width)
            .filter(|&column| column != label_column && fields[column].parse::<f64>().is_err())
            .count();
        // One word among numbers is a fault in a row of data: it must not pass for a header.
        let is_header = 2 * words > width - 1;
        match named {
            None if is_header => Ok(Self::Names {
                label: label_column,
            }),
            None => Ok(Self::Data {
                label: label_column,
            }),
            Some(name) => Err(Self::missing(name, &fields, is_header, first, path)),
        }
    }

    /// scikit-learn's first line, if it is one.
    fn counts(fields: &[&str], second: Option<&Row>, label: Option<&str>) -> Option<Self> {
        let [rows, features, names @ ..] = fields else {
            return None;
        };
        let (rows, features): (usize, usize) = (rows.parse().ok()?, features.parse().ok()?);
        let fits = names.len() >= 2
            && names.iter().all(|name| name.parse::<f64>().is_err())
            && second?.fields.len() == features.checked_add(1)?
            && label.is_none_or(|label| label.parse() == Ok(features));
        fits.then(|| Self::Counts {
            rows,
            names: names.iter().map(ToString::to_string).collect(),
        })
    }

    fn missing(name: &str, fields: &[&str], is_header: bool, first: &Row, path: &Path) -> Error {
        let (problem, help) = if is_header {
            let nearest = spelling::nearest(name, fields.iter().copied());
            (
                format!(
                    "no column is called `{name}`{}",
                    spelling::question(nearest)
                ),
                format!("the columns are {}", list(fields)),
            )
        } else {
            (
                format!("no label column `{name}`: the file has no header"),
                format!(
                    "give the label column by its number, 0…{}",
                    fields.len() - 1
                ),
            )
        };
        Error::refused(path, problem)
            .at(format!("line {}", first.line))
            .help(help)
    }

    fn is_data(&self) -> bool {
        matches!(self, Self::Data { .. })
    }
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
struct Rows<'a> {
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

impl<'a> Rows<'a> {
    fn new(path: &'a Path, heading: &Heading, first: &Row) -> Self {
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
            Heading::Data { label } => rows.label = *label,
            Heading::Names { label } => {
                rows.label = *label;
                rows.columns = names(first);
            }
            Heading::Counts { names, .. } => {
                // The next row sets the width.
                rows.width = 0;
                rows.named = Some(names.len());
            }
        }
        rows
    }

    fn push(&mut self, row: &Row) -> Result<()> {
        let fields = texts(row, self.path)?;
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

    fn finish(mut self, heading: &Heading, first: &Row) -> Result<Table> {
        let features = self.width.saturating_sub(1);
        // Columns may be called 0, 1, 2, …: then only the label's name tells a header.
        if heading.is_data() && self.classes.first_alone_is_text() {
            self.classes.remove_first();
            self.cells.remove_first(features);
            self.columns = names(first);
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
            Heading::Counts { rows: promised, .. } if *promised != rows => {
                return Err(Error::refused(
                    self.path,
                    format!(
                        "line {} counts {promised} rows, the file has {rows}",
                        first.line
                    ),
                )
                .at(format!("line {}", first.line)));
            }
            Heading::Counts { names, .. } => {
                self.classes.first_lines = vec![first.line; names.len()];
                self.classes.names.clone_from(names);
            }
            _ => self.classes.sort(),
        }
        if let [only] = &self.classes.names[..] {
            return Err(Error::refused(
                self.path,
                format!(
                    "every label in column {} is `{}`; a dataset has at least 2 classes",
                    self.label + 1,
                    shown(only)
                ),
            )
            .help("choose the label column: label = \"its header, or its number from 0\""));
        }
        let mut feature_names = self.columns;
        if !feature_names.is_empty() {
            feature_names.remove(self.label);
        }
        Ok(Table {
            features: self.cells.shaped((rows, features)),
            feature_names: Some(feature_names).filter(|names| !names.is_empty()),
            classes: self.classes,
        })
    }
}

/// A row's fields as texts.
fn texts<'a>(row: &'a Row, path: &Path) -> Result<Vec<&'a str>> {
    row.fields
        .iter()
        .enumerate()
        .map(|(column, bytes)| {
            std::str::from_utf8(bytes).map_err(|_| {
                Error::refused(path, "not text (UTF-8); a CSV is text").at(format!(
                    "line {}, column {}",
                    row.line,
                    column + 1
                ))
            })
        })
        .collect()
}

fn names(row: &Row) -> Vec<String> {
    row.fields
        .iter()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
        .collect()
}

/// A text from a file, fit for a message: control characters escaped, at most 40 characters.
fn shown(text: &str) -> String {
    let mut escaped: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 {
        escaped.push('…');
    }
    escaped
}
