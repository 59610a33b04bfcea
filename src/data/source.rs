//! Where a run's rows come from, as its config says.

use std::path::PathBuf;

/// Where the rows come from.
#[derive(Clone, Debug, PartialEq)]
pub enum DataSource {
    /// A name of the catalog.
    Catalog(String),
    /// The user's own files.
    Files {
        /// One CSV, or an images file and a labels file.
        train: Vec<PathBuf>,
        /// The same; empty if there is none.
        test: Vec<PathBuf>,
        /// The label column of a CSV: its header, or its number from 0. `None`: the last column.
        label: Option<String>,
    },
}

/// A number of rows, or a fraction of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Share {
    /// So many rows.
    Rows(usize),
    /// This fraction, above 0 and below 1.
    Fraction(f64),
}

/// How features are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normalize {
    /// Not at all.
    None,
    /// Divided by the catalog's constant, or to the training rows' min–max.
    Unit,
    /// To mean 0 and standard deviation 1 over the training rows.
    Standard,
}

impl Normalize {
    /// As configs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unit => "unit",
            Self::Standard => "standard",
        }
    }
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DataConfig {
    /// Where the rows come from.
    pub source: DataSource,
    /// Rows set aside for validation.
    pub validation: Option<Share>,
    /// Rows set aside for the test, where a set has no test part.
    pub test: Option<Share>,
    /// Cross-validation: number of stratified folds.
    pub folds: Option<usize>,
    /// Only the first so many training rows (after the split).
    pub limit: Option<usize>,
    /// How features are scaled.
    pub normalize: Normalize,
}
