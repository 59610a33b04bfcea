//! Reads tables in CSV files, gzipped or not: feature columns of numbers or text, and a label.
//!
//! - Commas, semicolons, tabs, bars or blanks separate columns: found out, unless the config says.
//!   Quotes are those of RFC 4180.
//! - A header is recognized by its content, or by the names that a config or a model looks for.
//! - The label column is given by its header or its number from 0; the default is the last. The
//!   columns of the numbers of a regression are given in the same way.
//! - A column whose first values are mostly words is text: its values are categories.
//! - A first line `rows,features,class names…`, as in scikit-learn's datasets, is recognized;
//!   labels are then indices into the class names, from 0, and the number of rows must match.
//! - If all features are integers 0…255, they stay bytes, an eighth of the memory.
//!
//! Refused, with line and column: more than 65,536 columns or 4 MiB in a record, words among numbers, infinities, missing values unless they are
//! filled in, rows of different lengths, missing labels, more than 1000 distinct labels or
//! categories, files without rows.

use std::io::Read;
use std::path::Path;

use ndarray::Array2;

pub(crate) use self::layout::ExpectedColumns;
use self::records::{CsvRecords, CsvRow, Source};
use self::rows::RowBuffer;
use self::separator::name as separator_name;
use super::classes::Classes;
pub(crate) use super::classes::shown;
use super::dataset::Features;
use super::input::DataFile;
use super::loading::ExpectedData;
use super::schema::{Missing, Schema, Unknown};
use super::table::{DataTable, Encoder};
use super::targets::RegressionTargets;
use crate::error::{Error, Result};

mod cells;
mod header;
mod layout;
mod records;
mod rows;
mod separator;

/// Rows that are looked at before the columns are decided on, and their bytes in memory, at which
/// fewer rows are enough.
const SAMPLE: usize = 100;
const SAMPLE_BYTES: usize = 1 << 23;

/// What a config says of a table.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReadOptions<'a> {
    /// The label column: its header, or its number from 0. `None`: the last.
    pub label: Option<&'a str>,
    /// The columns that are no features, in the same way.
    pub ignore: &'a [String],
    /// What becomes of rows with missing values.
    pub missing: Missing,
    /// What becomes of categories that no training row has.
    pub unknown: Unknown,
    /// The character between columns; `None`: found out.
    pub separator: Option<u8>,
    /// The columns of the numbers that a regression predicts, in the same way; without any the label
    /// column. `None`: the labels are classes.
    pub targets: Option<&'a [String]>,
    /// Whether labels are classes even if they look like measurements.
    pub has_classes: bool,
    /// Whether the table is only described: its label is a column like others, which may have any
    /// number of categories.
    pub describes: bool,
}

/// The content of a CSV file.
#[derive(Debug)]
pub struct CsvTable {
    /// Shape `(rows, columns)`: the cells of all feature columns, in the file's order; numbers, or
    /// codes of categories.
    pub features: Features,
    /// The columns.
    pub table: DataTable,
    pub(crate) classes: Classes,
    /// The numbers to predict, if the file was read for them.
    pub(crate) targets: Option<RegressionTargets>,
}

/// Reads a CSV file of training rows. If a checksum (SHA-256, hexadecimal) is given, the file must
/// have it.
///
/// # Errors
/// Any violation of the format, with its line and column; a wrong checksum; a failed read.
pub fn read(path: &Path, options: &ReadOptions, sha256: Option<&str>) -> Result<CsvTable> {
    let source = Source::File(DataFile::open(path, sha256)?);
    let mut records = CsvRecords::new(source, path, options.separator)?;
    let sample = sample(&mut records)?;
    let separator = records.separator();
    let mut layout = header::discover(&sample, options, separator, path)?;
    if options.separator.is_none() && separator != b',' {
        let name = separator_name(separator);
        layout.notes.push(format!(
            "{}: the columns are separated by {name}",
            path.display()
        ));
    }
    let data = &sample[usize::from(layout.has_header)..];
    let mut rows = RowBuffer::discovered(path, layout, options, data);
    read_rows(&mut records, data, &mut rows)?;
    rows.finish()
}

/// Reads a CSV file whose columns are those that `expected` names. The cells are in their order;
/// categories have their codes, and new ones follow.
///
/// # Errors
/// As [`read`]; a column that is missing.
pub(crate) fn read_as(
    path: &Path,
    expected: &ExpectedColumns,
    separator: Option<u8>,
) -> Result<CsvTable> {
    let source = Source::File(DataFile::open(path, None)?);
    let mut records = CsvRecords::new(source, path, separator)?;
    let mut first = CsvRow::default();
    if !records.next(&mut first)? {
        return Err(Error::refused(path, "empty file").help("a CSV has one row per line"));
    }
    let layout = expected.find(&first, path)?;
    let has_header = layout.has_header;
    let mut rows = RowBuffer::expected(path, layout, expected);
    let data = if has_header { &[] } else { &[first][..] };
    read_rows(&mut records, data, &mut rows)?;
    rows.finish()
}

fn sample(records: &mut CsvRecords) -> Result<Vec<CsvRow>> {
    let mut sample = Vec::new();
    let mut row = CsvRow::default();
    let mut bytes = 0;
    while sample.len() < SAMPLE && bytes < SAMPLE_BYTES && records.next(&mut row)? {
        bytes += row.fields.as_slice().len() + row.fields.len() * size_of::<usize>();
        sample.push(row.clone());
    }
    Ok(sample)
}

/// Appends the rows of `sample` and all further ones to `rows`.
fn read_rows(records: &mut CsvRecords, sample: &[CsvRow], rows: &mut RowBuffer) -> Result<()> {
    for row in sample {
        rows.push(row)?;
    }
    let mut row = CsvRow::default();
    while records.next(&mut row)? {
        rows.push(&row)?;
    }
    Ok(())
}

/// A table that is read row by row, for a model: each row becomes the network's inputs as soon as
/// its line has ended.
pub struct RowStream<'a> {
    records: CsvRecords,
    rows: RowBuffer<'a>,
    schema: &'a Schema,
    inputs: usize,
    has_header: bool,
    /// The first line, if it is a row of data.
    first: Option<CsvRow>,
    row: CsvRow,
    cells: Vec<f64>,
    table: Option<DataTable>,
}

impl<'a> RowStream<'a> {
    /// Begins to read `input`, named `path` in messages, for the model that `expected` describes;
    /// waits for the first line.
    ///
    /// # Errors
    /// An empty input; a column that is missing.
    pub fn new(input: Box<dyn Read>, path: &'a Path, expected: &ExpectedData<'a>) -> Result<Self> {
        let columns = expected.columns(false);
        let mut records = CsvRecords::new(Source::Stream(input), path, None)?;
        let mut first = CsvRow::default();
        if !records.next(&mut first)? {
            return Err(Error::refused(path, "empty input").help("send one row per line"));
        }
        let layout = columns.find(&first, path)?;
        let has_header = layout.has_header;
        Ok(Self {
            records,
            rows: RowBuffer::expected(path, layout, &columns),
            schema: expected.schema,
            inputs: expected.inputs,
            has_header,
            first: Some(first).filter(|_| !has_header),
            row: CsvRow::default(),
            cells: Vec::new(),
            table: None,
        })
    }

    /// Returns whether the first line is a header.
    pub fn has_header(&self) -> bool {
        self.has_header
    }

    /// Returns what was found out about the columns.
    pub fn notes(&self) -> &[String] {
        self.rows.notes()
    }

    /// Returns the inputs of the next row, `(1, inputs)`; `None` at the end.
    ///
    /// # Errors
    /// As [`read`]; a missing value without a fill value, a category that is unknown.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end at an error"
    )]
    pub fn next(&mut self) -> Result<Option<Features>> {
        match self.first.take() {
            Some(first) => self.row = first,
            None if !self.records.next(&mut self.row)? => return Ok(None),
            None => {}
        }
        self.rows.push(&self.row)?;
        self.rows.take_row(&mut self.cells, &mut self.table);
        let cells = &self.cells;
        let mut values = Vec::with_capacity(self.inputs);
        match &self.table {
            Some(table) if table.is_raw => {
                Encoder::new(table, self.schema).row(|column| cells[column], 0, &mut values)?;
            }
            _ => values.extend_from_slice(cells),
        }
        let row = Array2::from_shape_vec((1, values.len()), values);
        Ok(Some(Features::Reals(row.expect("one row"))))
    }
}
