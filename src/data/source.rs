//! The `[data]` settings of a config: the source of the rows, their split and their scaling.

use std::path::PathBuf;

use super::schema::{Missing, Unknown};

/// The source of the rows.
#[derive(Clone, Debug, PartialEq)]
pub enum DataSource {
    /// A named dataset of the catalog.
    Catalog(String),
    /// The user's own files.
    Files {
        /// Training files: one CSV, or an images file and a labels file.
        train: Vec<PathBuf>,
        /// Test files in the same form; empty if there are none.
        test: Vec<PathBuf>,
        /// The label column of a CSV: its header, or its number from 0. `None`: the last column.
        label: Option<String>,
        /// What else a config says of a CSV's columns.
        options: TableOptions,
    },
}

/// What a network predicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// The class of a row.
    Classification,
    /// Numbers.
    Regression {
        /// The columns of a CSV that hold them, by header or by number from 0; none for the label
        /// column.
        targets: Vec<String>,
    },
}

impl Task {
    /// Returns the name in configs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Classification => "classification",
            Self::Regression { .. } => "regression",
        }
    }
}

/// What a config says of a table's columns, apart from the label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableOptions {
    /// The columns that are no features: headers, or numbers from 0.
    pub ignore: Vec<String>,
    /// What becomes of rows with missing values.
    pub missing: Missing,
    /// What becomes of categories that no training row has.
    pub unknown: Unknown,
    /// The character between columns; `None`: found out.
    pub separator: Option<u8>,
}

/// A number of rows, or a fraction of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// A number of rows.
    Rows(usize),
    /// A fraction above 0 and below 1.
    Fraction(f64),
}

/// The kind of scaling of the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// No scaling.
    None,
    /// Division by the dataset's constant, or min–max scaling over the training rows.
    Unit,
    /// Scaling to mean 0 and standard deviation 1 over the training rows.
    Standard,
}

impl Normalize {
    /// Returns the name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unit => "unit",
            Self::Standard => "standard",
        }
    }
}

/// The named datasets that have numbers to predict instead of classes.
pub const REGRESSIONS: [&str; 1] = ["diabetes"];

/// The settings of `[data]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// The source of the rows.
    pub source: DataSource,
    /// What is predicted; `None`: what a named dataset is for, or the classes of a file.
    pub task: Option<Task>,
    /// Rows set aside for validation.
    pub validation: Option<Share>,
    /// Rows set aside for the test, if the data has no test part.
    pub test: Option<Share>,
    /// Number of stratified folds of a cross-validation.
    pub folds: Option<usize>,
    /// Number of training rows to use, from the first (after the split).
    pub limit: Option<usize>,
    /// The kind of scaling.
    pub normalize: Normalize,
}

impl DataConfig {
    /// Returns whether numbers are predicted: the config says so, or the named dataset has them.
    pub fn is_regression(&self) -> bool {
        match (&self.task, &self.source) {
            (Some(task), _) => matches!(task, Task::Regression { .. }),
            (None, DataSource::Catalog(name)) => REGRESSIONS.contains(&name.as_str()),
            (None, DataSource::Files { .. }) => false,
        }
    }
}
