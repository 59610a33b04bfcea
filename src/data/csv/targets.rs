//! The columns of a CSV that hold the numbers of a regression.

use std::path::Path;

use ndarray::Array2;

use super::header::Header;
use super::records::CsvRow;
use crate::data::classes::list;
use crate::data::suggestions;
use crate::data::targets::RegressionTargets;
use crate::error::{Error, Result};

/// The columns to predict, and their numbers so far.
pub(super) struct TargetColumns {
    /// The number of each column, in the order of the targets.
    pub(super) columns: Vec<usize>,
    /// The numbers of the row being read, each with its column.
    pub(super) row: Vec<(usize, f64)>,
    names: Vec<String>,
    values: Vec<f64>,
}

impl TargetColumns {
    /// Finds the columns `targets`, or the last column if there are none.
    ///
    /// # Errors
    /// A column that does not exist, or is named twice; no column left for a feature.
    pub(super) fn find(
        path: &Path,
        heading: &Header,
        first: &CsvRow,
        targets: &[String],
    ) -> Result<Self> {
        let fields = first.texts(path)?;
        let width = fields.len();
        let refused = |problem: String, help: String| {
            let error = Error::refused(path, problem).at(format!("line {}", first.line));
            Err(error.help(help))
        };
        let has_names = matches!(heading, Header::Names { .. });
        let mut columns: Vec<usize> = Vec::new();
        for target in targets {
            let named = fields.iter().position(|field| has_names && field == target);
            let number = target.parse().ok().filter(|&column: &usize| column < width);
            let Some(column) = named.or(number) else {
                let near = suggestions::nearest(target, fields.iter().copied());
                return refused(
                    format!(
                        "no column `{target}` to predict{}",
                        suggestions::question(near.filter(|_| has_names))
                    ),
                    if has_names {
                        format!("the columns are {}", list(&fields))
                    } else {
                        format!(
                            "the file has no header: give columns by number, 0…{}",
                            width - 1
                        )
                    },
                );
            };
            if columns.contains(&column) {
                return refused(
                    format!("`targets` names column {column} twice"),
                    "name each column once".to_owned(),
                );
            }
            columns.push(column);
        }
        if columns.is_empty() {
            columns.push(width - 1);
        }
        if columns.len() == width {
            return refused(
                "every column is a target; none is left as a feature".to_owned(),
                "leave the columns out of `targets` from which it is predicted".to_owned(),
            );
        }
        let name = |&column: &usize| match has_names {
            true => fields[column].to_owned(),
            false => format!("column {column}"),
        };
        Ok(Self {
            names: columns.iter().map(name).collect(),
            columns,
            row: Vec::new(),
            values: Vec::new(),
        })
    }

    /// Appends the numbers of the row that was read, in the order of the targets.
    pub(super) fn finish_row(&mut self) {
        for column in &self.columns {
            let of_column = self.row.iter().find(|(other, _)| other == column);
            self.values.extend(of_column.map(|(_, value)| value));
        }
        self.row.clear();
    }

    /// Returns the targets of all `rows` rows.
    pub(super) fn into_targets(self, rows: usize) -> RegressionTargets {
        let shape = (rows, self.names.len());
        RegressionTargets {
            names: self.names,
            values: Array2::from_shape_vec(shape, self.values)
                .expect("every row has a number for each target"),
        }
    }
}
