//! The formats of answers: CSV, JSON Lines, NPY, or one JSON document.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::answers::{Answers, Columns};
use crate::data::classes::integer;
use crate::error::{Error, Result};
use crate::format::npy;
use crate::run::json;

/// A format of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A header, then a line per row.
    Csv,
    /// An object per row, one per line.
    JsonLines,
    /// An array in NumPy's format.
    Npy,
    /// One JSON document.
    Json,
}

impl Format {
    /// Returns the format that the extension of `output` says; on standard output CSV, or JSON.
    ///
    /// # Errors
    /// An extension of no format.
    pub(super) fn of(output: Option<&Path>, json: bool) -> Result<Self> {
        let Some(output) = output else {
            return Ok(if json { Self::Json } else { Self::Csv });
        };
        let extension = output.extension().unwrap_or_default().to_string_lossy();
        match extension.to_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "npy" => Ok(Self::Npy),
            other => Err(Error::refused(
                output,
                if other.is_empty() {
                    "no extension, which says the format".to_owned()
                } else {
                    format!("no format has the extension `.{other}`")
                },
            )
            .help("end the name with .csv, .jsonl or .npy")),
        }
    }
}

/// Collects answers in a format.
pub(super) struct Writer<'a> {
    format: Format,
    columns: &'a Columns,
    /// The name of a column of row names, if there is one.
    row_names: Option<&'static str>,
    has_header: bool,
    text: String,
    names: Vec<String>,
    classes: Vec<u16>,
    numbers: Vec<f64>,
    rows: usize,
    /// The classes as fields of a CSV.
    fields: Vec<String>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(format: Format, columns: &'a Columns) -> Self {
        let classes = columns.class.iter().flat_map(|(_, classes)| classes);
        Self {
            format,
            columns,
            row_names: None,
            has_header: format == Format::Csv,
            text: String::new(),
            names: Vec::new(),
            classes: Vec::new(),
            numbers: Vec::new(),
            rows: 0,
            fields: classes.map(|class| field(class)).collect(),
        }
    }

    /// Begins each row with a name, in a column called `name`.
    pub(super) fn name_rows(&mut self, name: &'static str) {
        self.row_names = Some(name);
    }

    /// Writes no header.
    pub(super) fn leave_out_header(&mut self) {
        self.has_header = false;
    }

    /// Returns the number of rows so far.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Appends answers, and the names of their rows if these have any.
    pub(super) fn append(&mut self, answers: &Answers, names: Option<&[String]>) {
        self.rows += answers.rows();
        if self.format != Format::Csv {
            self.names.extend(names.unwrap_or_default().iter().cloned());
            self.classes.extend_from_slice(&answers.classes);
            self.numbers.extend_from_slice(&answers.numbers);
            return;
        }
        self.write_header();
        let width = self.columns.numbers.len();
        for row in 0..answers.rows() {
            let mut separator = "";
            if let Some(names) = names {
                self.text.push_str(&field(&names[row]));
                separator = ",";
            }
            if let Some(class) = answers.classes.get(row) {
                self.text.push_str(separator);
                self.text.push_str(&self.fields[usize::from(*class)]);
                separator = ",";
            }
            for number in &answers.numbers[row * width..(row + 1) * width] {
                let _ = write!(self.text, "{separator}{number}");
                separator = ",";
            }
            self.text.push('\n');
        }
    }

    fn write_header(&mut self) {
        if !std::mem::take(&mut self.has_header) {
            return;
        }
        let names = self.row_names.into_iter().chain(self.columns.names());
        let fields: Vec<String> = names.map(field).collect();
        self.text.push_str(&fields.join(","));
        self.text.push('\n');
    }

    /// Returns the text so far, and forgets it.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text).into_bytes()
    }

    /// Returns the whole file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        match self.format {
            Format::Csv => self.take(),
            Format::JsonLines => {
                let mut lines = String::new();
                for row in 0..self.rows {
                    lines.push_str(&self.object(row).to_string());
                    lines.push('\n');
                }
                lines.into_bytes()
            }
            Format::Json => {
                let names: Vec<&str> = self
                    .row_names
                    .into_iter()
                    .chain(self.columns.names())
                    .collect();
                let objects: Vec<Value> = (0..self.rows).map(|row| self.object(row)).collect();
                let document =
                    json!({ "rows": self.rows, "columns": names, "predictions": objects });
                json::document(&document).into_bytes()
            }
            Format::Npy => self.array(),
        }
    }

    /// Returns a row as a JSON object.
    fn object(&self, row: usize) -> Value {
        let mut object = Map::new();
        if let (Some(column), Some(name)) = (self.row_names, self.names.get(row)) {
            object.insert(column.to_owned(), json!(name));
        }
        if let Some((name, classes)) = &self.columns.class {
            let class = usize::from(self.classes[row]);
            object.insert(name.clone(), json!(classes[class]));
        }
        let width = self.columns.numbers.len();
        let numbers = &self.numbers[row * width..(row + 1) * width];
        for (name, number) in self.columns.numbers.iter().zip(numbers) {
            object.insert(name.clone(), json!(number));
        }
        Value::Object(object)
    }

    /// Returns the numbers, if there are any, or else the classes: as integers, if all their names
    /// are, or as text.
    fn array(&self) -> Vec<u8> {
        let width = self.columns.numbers.len();
        let Some((_, classes)) = self.columns.class.as_ref().filter(|_| width == 0) else {
            return npy::of_numbers(&self.numbers, &[self.rows, width]);
        };
        let numbers: Option<Vec<i64>> = classes.iter().map(|class| integer(class)).collect();
        let of_row = |class: &u16| usize::from(*class);
        match numbers {
            Some(numbers) => {
                let rows: Vec<i64> = self.classes.iter().map(|c| numbers[of_row(c)]).collect();
                npy::of_integers(&rows)
            }
            None => {
                let rows = self
                    .classes
                    .iter()
                    .map(|class| classes[of_row(class)].as_str());
                npy::of_texts(rows)
            }
        }
    }
}

/// Returns text as a field of a CSV, in quotes if it needs them.
fn field(text: &str) -> String {
    let needs_quotes = text.contains([',', '"', '\n', '\r']) || text.trim() != text;
    if needs_quotes || text.is_empty() {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
