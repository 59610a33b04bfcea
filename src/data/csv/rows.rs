//! The rows of a CSV as they are read, checked cell by cell.

use std::path::Path;

use ndarray::Array2;

use super::cells::{CellColumn, Cells, MOST_CATEGORIES, has_decimal_comma, is_missing};
use super::layout::{CsvLayout, ExpectedColumns};
use super::records::CsvRow;
use super::{CsvTable, ReadOptions, shown};
use crate::data::classes::{Classes, MOST_CLASSES, integer};
use crate::data::schema::{Column, ColumnPlace, Missing, Schema, Unknown};
use crate::data::table::{DataTable, missing_value};
use crate::data::targets::RegressionTargets;
use crate::error::{Error, Result};

/// The rows read so far.
pub(super) struct RowBuffer<'a> {
    path: &'a Path,
    layout: CsvLayout,
    columns: Vec<CellColumn>,
    missing: Missing,
    unknown: Unknown,
    /// The image and so on of the schema that is expected.
    expected: Option<&'a Schema>,
    most_categories: usize,
    cells: Cells,
    classes: Classes,
    /// The numbers to predict, row by row.
    numbers: Vec<f64>,
    lines: Vec<u32>,
    has_missing: bool,
    /// The number of categories of a stream's last table.
    categories: usize,
}

impl<'a> RowBuffer<'a> {
    /// Creates a buffer for the rows of a training file, which begin with `sample`.
    pub(super) fn discovered(
        path: &'a Path,
        layout: CsvLayout,
        options: &ReadOptions,
        sample: &[CsvRow],
    ) -> Self {
        let columns = layout.features.iter();
        let columns =
            columns.map(|(source, name)| CellColumn::found(*source, name.clone(), sample));
        let rows = Self::new(
            path,
            columns.collect(),
            layout,
            (options.missing, options.unknown, None),
        );
        Self {
            most_categories: if options.describes {
                usize::MAX
            } else {
                MOST_CATEGORIES
            },
            ..rows
        }
    }

    /// Creates a buffer for rows with the columns of a schema.
    pub(super) fn expected(
        path: &'a Path,
        mut layout: CsvLayout,
        expected: &ExpectedColumns<'a>,
    ) -> Self {
        let schema = expected.schema;
        let mut missing = schema.missing;
        if !expected.needs_label {
            layout.label = None;
            layout.targets.clear();
            // Each row needs an answer.
            missing = if missing == Missing::Drop {
                Missing::Refuse
            } else {
                missing
            };
        }
        let plain = Column::default();
        let known = schema.columns.iter().chain(std::iter::repeat(&plain));
        let columns = layout.features.iter().zip(known);
        let columns = columns.map(|((source, _), column)| CellColumn::expected(*source, column));
        Self::new(
            path,
            columns.collect(),
            layout,
            (missing, schema.unknown, Some(schema)),
        )
    }

    fn new(
        path: &'a Path,
        columns: Vec<CellColumn>,
        layout: CsvLayout,
        (missing, unknown, expected): (Missing, Unknown, Option<&'a Schema>),
    ) -> Self {
        Self {
            path,
            layout,
            columns,
            missing,
            unknown,
            expected,
            most_categories: MOST_CATEGORIES,
            cells: Cells::Bytes(Vec::new()),
            classes: Classes::default(),
            numbers: Vec::new(),
            lines: Vec::new(),
            has_missing: false,
            categories: 0,
        }
    }

    /// Returns what was found out.
    pub(super) fn notes(&self) -> &[String] {
        &self.layout.notes
    }

    /// Appends a row.
    ///
    /// # Errors
    /// A row of another length, and each cell that its column does not allow.
    pub(super) fn push(&mut self, row: &CsvRow) -> Result<()> {
        self.check_width(row)?;
        let start = self.cells.len();
        for index in 0..self.columns.len() {
            let column = &self.columns[index];
            let text = row.text(column.source, self.path)?;
            let value = if is_missing(text) {
                if self.missing == Missing::Refuse {
                    return Err(self.missing_value(row.line, column.source, text));
                }
                if self.missing == Missing::Drop {
                    self.cells.truncate(start);
                    return Ok(());
                }
                self.has_missing = true;
                f64::NAN
            } else if column.text.is_some() {
                self.category(index, text, row.line)?
            } else {
                match text.parse::<f64>() {
                    Ok(value) if value.is_finite() => value,
                    Ok(_) => return Err(self.fault(row.line, column.source, text, "not finite")),
                    Err(_) => return Err(self.no_number(row.line, column.source, text)),
                }
            };
            self.cells.push(value, self.path)?;
        }
        if let Some(label) = self.layout.label {
            let text = row.text(label, self.path)?;
            if self.missing == Missing::Drop && is_missing(text) {
                self.cells.truncate(start);
                return Ok(());
            }
            self.push_label(label, text, row.line)?;
        }
        if !self.push_targets(row)? {
            self.cells.truncate(start);
            return Ok(());
        }
        self.lines.push(u32::try_from(row.line).unwrap_or(u32::MAX));
        Ok(())
    }

    fn check_width(&self, row: &CsvRow) -> Result<()> {
        let (found, width) = (row.fields.len(), self.layout.width);
        if found == width {
            return Ok(());
        }
        Err(Error::refused(
            self.path,
            format!(
                "{found} columns, but line {} has {width}",
                self.layout.width_line
            ),
        )
        .at(format!(
            "line {}, column {}",
            row.line,
            found.min(width) + 1
        )))
    }

    /// Returns the code of a category.
    fn category(&mut self, index: usize, text: &str, line: u64) -> Result<f64> {
        let column = &mut self.columns[index];
        let source = column.source;
        let Some(categories) = &mut column.text else {
            return Ok(f64::NAN);
        };
        let most = self.most_categories;
        let code = categories.code(text).or_else(|| categories.add(text, most));
        // Further unknown categories of a stream count as the last one: all are zeros.
        let last = categories.names.len() - 1;
        let endless = self.unknown == Unknown::Zero && categories.known > 0;
        match code.or(endless.then_some(last)) {
            Some(code) => Ok(code as f64),
            None => {
                let problem = format!(
                    "category number {}; at most {MOST_CATEGORIES} are allowed",
                    MOST_CATEGORIES + 1
                );
                Err(self.fault(line, source, text, &problem).help(
                    "leave a column of free text out: ignore = [\"its header, or its number from 0\"]",
                ))
            }
        }
    }

    fn push_label(&mut self, label: usize, text: &str, line: u64) -> Result<()> {
        if text.is_empty() || text.eq_ignore_ascii_case("nan") {
            return Err(self.fault(line, label, text, "not a label"));
        }
        if let Some(counts) = &self.layout.counts {
            let classes = counts.names.len();
            let class = integer(text)
                .and_then(|number| usize::try_from(number).ok())
                .filter(|&class| class < classes)
                .and_then(|class| u16::try_from(class).ok())
                .ok_or_else(|| {
                    let allowed = format!("not a label; allowed are 0…{}", classes - 1);
                    self.fault(line, label, text, &allowed)
                })?;
            self.classes.labels.push(class);
            return Ok(());
        }
        self.classes.push(text, line).ok_or_else(|| {
            let problem = format!(
                "distinct label number {}; at most {MOST_CLASSES} are allowed",
                MOST_CLASSES + 1
            );
            self.fault(line, label, text, &problem)
                .help("choose the label column: label = \"its header, or its number from 0\"; or predict the number with task = \"regression\"")
        })
    }

    /// Appends the numbers to predict; returns false for a row that is left out since one is missing.
    fn push_targets(&mut self, row: &CsvRow) -> Result<bool> {
        let start = self.numbers.len();
        for (column, _) in &self.layout.targets {
            let text = row.text(*column, self.path)?;
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => self.numbers.push(value),
                _ if is_missing(text) && self.missing == Missing::Drop => {
                    self.numbers.truncate(start);
                    return Ok(false);
                }
                _ if is_missing(text) => {
                    let problem = "missing, but it is a number to predict";
                    return Err(self
                        .fault(row.line, *column, text, problem)
                        .help("leave out such rows with missing = \"drop\" under [data]"));
                }
                Ok(_) => return Err(self.fault(row.line, *column, text, "not finite")),
                Err(_) => return Err(self.no_number(row.line, *column, text)),
            }
        }
        Ok(true)
    }

    fn place(&self, line: u64, column: usize) -> String {
        let name = self.layout.names.get(column);
        let name = name.map_or_else(String::new, |name| format!(" ({})", shown(name)));
        format!("line {line}, column {}{name}", column + 1)
    }

    fn fault(&self, line: u64, column: usize, text: &str, problem: &str) -> Error {
        let error = Error::refused(self.path, format!("`{}` is {problem}", shown(text)))
            .at(self.place(line, column));
        let is_first = self.lines.is_empty() && !self.layout.has_header;
        if is_first && self.expected.is_none() {
            error.help("if this line is a header, give every column a name that is not a number")
        } else {
            error
        }
    }

    fn no_number(&self, line: u64, column: usize, text: &str) -> Error {
        let error = self.fault(line, column, text, "not a number");
        if has_decimal_comma(text) {
            return error.help("write a decimal point instead of the comma");
        }
        if !self.lines.is_empty() && self.expected.is_none() {
            return error.help("correct the value, or leave the column out with `ignore`; a column counts as text if most of its first 100 values are words");
        }
        error
    }

    fn missing_value(&self, line: u64, column: usize, text: &str) -> Error {
        missing_value(self.path, self.place(line, column), text)
    }

    /// Describes the columns read so far; a text column has all categories, in the order in which
    /// they appear.
    fn schema(&self) -> Schema {
        let column = |column: &CellColumn| Column {
            name: column.name.clone(),
            categories: column.text.as_ref().map(|text| text.names.clone()),
            fill: None,
        };
        let place = |at: usize| ColumnPlace {
            name: self.layout.names.get(at).cloned(),
            at,
        };
        Schema {
            columns: self.columns.iter().map(column).collect(),
            label: self.layout.label.map(place),
            targets: self
                .layout
                .targets
                .iter()
                .map(|(at, _)| place(*at))
                .collect(),
            ignored: self.layout.ignored.clone(),
            missing: self.missing,
            unknown: self.unknown,
            ..Schema::default()
        }
    }

    /// Moves the only row's cells to `cells` and describes it in `table`.
    pub(super) fn take_row(&mut self, cells: &mut Vec<f64>, table: &mut Option<DataTable>) {
        cells.clear();
        match &mut self.cells {
            Cells::Bytes(bytes) => cells.extend(bytes.drain(..).map(f64::from)),
            Cells::Reals(reals) => cells.append(reals),
        }
        let categories = self
            .columns
            .iter()
            .filter_map(|column| column.text.as_ref());
        let categories = categories.map(|text| text.names.len()).sum();
        if table.is_none() || categories != self.categories {
            self.categories = categories;
            *table = Some(self.table(Vec::new()));
        }
        if let Some(table) = table {
            std::mem::swap(&mut table.lines, &mut self.lines);
            self.lines.clear();
        }
    }

    fn table(&self, lines: Vec<u32>) -> DataTable {
        let is_text = self.columns.iter().any(|column| column.text.is_some());
        DataTable {
            path: self.path.to_path_buf(),
            schema: self.schema(),
            places: self.columns.iter().map(|column| column.source).collect(),
            lines,
            is_raw: is_text || self.has_missing || self.missing == Missing::Mean,
            notes: self.layout.notes.clone(),
        }
    }

    /// Returns the table.
    ///
    /// # Errors
    /// No rows, too many, or another number than the first line says.
    pub(super) fn finish(mut self) -> Result<CsvTable> {
        let rows = self.lines.len();
        let first = self.layout.width_line;
        let at = |error: Error| error.at(format!("line {first}"));
        if rows == 0 && self.missing == Missing::Drop {
            return Err(Error::refused(self.path, "no row without a missing value")
                .help("fill in values instead: missing = \"mean\""));
        }
        if rows == 0 {
            return Err(at(Error::refused(self.path, "a header, but no rows")));
        }
        if u32::try_from(rows).is_err() {
            return Err(Error::refused(
                self.path,
                format!("{rows} rows; at most {} are allowed", u32::MAX),
            ));
        }
        match &self.layout.counts {
            Some(counts) if counts.rows != rows => {
                let announced = counts.rows;
                return Err(Error::refused(
                    self.path,
                    format!("line 1 announces {announced} rows, but the file has {rows}"),
                )
                .at("line 1"));
            }
            Some(counts) => {
                self.classes.first_lines = vec![1; counts.names.len()];
                self.classes.names.clone_from(&counts.names);
            }
            None => self.classes.sort(),
        }
        let lines = std::mem::take(&mut self.lines);
        let table = self.table(lines);
        let names: Vec<String> = self
            .layout
            .targets
            .into_iter()
            .map(|(_, name)| name)
            .collect();
        let shape = (rows, names.len());
        if !names.is_empty() {
            self.classes.labels = vec![0; rows];
        }
        Ok(CsvTable {
            features: self.cells.into_features((rows, self.columns.len())),
            table,
            targets: (!names.is_empty()).then(|| RegressionTargets {
                names,
                values: Array2::from_shape_vec(shape, self.numbers)
                    .expect("every row has a number for each target"),
            }),
            classes: self.classes,
        })
    }
}
