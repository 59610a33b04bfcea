//! The first line of a CSV file: a row of data, column names, or scikit-learn's counts.

use std::path::Path;

use super::records::CsvRow;
use crate::data::classes::list;
use crate::data::suggestions;
use crate::error::{Error, Result};

/// The kind of the first line, and the column that holds the labels.
pub(super) enum Header {
    /// A row of data.
    Data { label: usize },
    /// Column names.
    Names { label: usize },
    /// `rows,features,class names…`.
    Counts { rows: usize, names: Vec<String> },
}

impl Header {
    /// Recognizes the first line by its content and finds the label column.
    ///
    /// # Errors
    /// A binary file, a single column, or a label column that does not exist or is ambiguous.
    pub(super) fn of(
        first: &CsvRow,
        second: Option<&CsvRow>,
        label: Option<&str>,
        path: &Path,
    ) -> Result<Self> {
        if first.fields.as_slice().starts_with(&[0, 0]) {
            return Err(Error::refused(path, "a binary file, not a CSV")
                .at("byte 0")
                .help("IDX needs two files: train = [\"images\", \"labels\"]"));
        }
        let fields = first.texts(path)?;
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
            let mut matches = (0..width).filter(|&column| fields[column] == name);
            return match (matches.next(), matches.next()) {
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
        // In a row of data, a word is a fault: only a majority of words makes a header.
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

    /// Returns the counts, if this is the first line of a dataset of scikit-learn.
    fn counts(fields: &[&str], second: Option<&CsvRow>, label: Option<&str>) -> Option<Self> {
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

    /// Describes a label column that does not exist.
    fn missing(name: &str, fields: &[&str], is_header: bool, first: &CsvRow, path: &Path) -> Error {
        let (problem, help) = if is_header {
            let nearest = suggestions::nearest(name, fields.iter().copied());
            (
                format!(
                    "no column is called `{name}`{}",
                    suggestions::question(nearest)
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

    /// Returns whether the first line is a row of data.
    pub(super) fn is_data(&self) -> bool {
        matches!(self, Self::Data { .. })
    }
}
