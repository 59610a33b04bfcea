//! The cells of a table, as they are read: numbers, NaN for missing ones, codes of categories.

use std::collections::HashMap;
use std::path::Path;

use ndarray::Array2;

use super::records::CsvRow;
use crate::data::dataset::Features;
use crate::data::schema::Column;
use crate::error::Result;
use crate::memory;

/// The largest number of categories of a text column.
pub(super) const MOST_CATEGORIES: usize = 1000;

/// Values that mark a missing one, apart from nothing at all; in any letter case.
const MISSING: [&str; 6] = ["NA", "N/A", "#N/A", "NaN", "null", "?"];

/// Returns whether a field marks a missing value.
pub(super) fn is_missing(text: &str) -> bool {
    text.is_empty()
        || (text.len() <= 4 && MISSING.iter().any(|mark| text.eq_ignore_ascii_case(mark)))
}

/// Returns whether a field is a word: neither a number nor missing.
pub(super) fn is_word(text: &str) -> bool {
    !is_missing(text) && text.parse::<f64>().is_err()
}

/// Returns whether a word would be a number with a point for its comma.
pub(super) fn has_decimal_comma(text: &str) -> bool {
    text.contains(',') && text.replacen(',', ".", 1).parse::<f64>().is_ok()
}

/// A feature column while it is read.
pub(super) struct CellColumn {
    /// Its number in the file, from 0.
    pub(super) source: usize,
    pub(super) name: Option<String>,
    /// The categories of a text column, in the order in which they appear.
    pub(super) text: Option<Categories>,
}

/// The categories of a text column and their codes.
#[derive(Default)]
pub(super) struct Categories {
    pub(super) names: Vec<String>,
    codes: HashMap<String, usize>,
    /// The number of those that were known before.
    pub(super) known: usize,
}

impl Categories {
    /// Creates categories that are known before.
    pub(super) fn known(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
            codes: names.iter().cloned().zip(0..).collect(),
            known: names.len(),
        }
    }

    /// Returns the code of a category, if it is known.
    pub(super) fn code(&self, text: &str) -> Option<usize> {
        self.codes.get(text).copied()
    }

    /// Adds a category and returns its code; `None` if there are `most` already, besides known ones.
    pub(super) fn add(&mut self, text: &str, most: usize) -> Option<usize> {
        let code = self.names.len();
        if code >= self.known.saturating_add(most) {
            return None;
        }
        self.names.push(text.to_owned());
        self.codes.insert(text.to_owned(), code);
        Some(code)
    }
}

impl CellColumn {
    /// Creates a column whose kind follows from the values in the first rows: text if most of them
    /// are words.
    pub(super) fn found(source: usize, name: Option<String>, rows: &[CsvRow]) -> Self {
        let (mut words, mut commas, mut values) = (0usize, 0usize, 0usize);
        for row in rows {
            let field = row.fields.get(source).unwrap_or_default().trim_ascii();
            let text = String::from_utf8_lossy(field);
            values += usize::from(!is_missing(&text));
            words += usize::from(is_word(&text));
            commas += usize::from(is_word(&text) && has_decimal_comma(&text));
        }
        Self {
            source,
            name,
            // Numbers with commas are no categories; they are refused.
            text: (2 * words > values && 2 * commas <= words).then(Categories::default),
        }
    }

    /// Creates the column that a schema expects.
    pub(super) fn expected(source: usize, column: &Column) -> Self {
        Self {
            source,
            name: column.name.clone(),
            text: column.categories.as_deref().map(Categories::known),
        }
    }
}

/// Doubles a buffer of cells that is full.
#[inline]
fn grow<T>(cells: &mut Vec<T>, path: &Path) -> Result<()> {
    if cells.len() < cells.capacity() {
        return Ok(());
    }
    reserve(cells, cells.len().max(64), path)
}

#[cold]
fn reserve<T>(cells: &mut Vec<T>, count: usize, path: &Path) -> Result<()> {
    let work = format!("{}: its rows need at least", path.display());
    memory::reserve(cells, count, &work, "give a file with fewer rows")
}

/// The cells read so far, row by row: bytes until a value does not fit in one.
pub(super) enum Cells {
    Bytes(Vec<u8>),
    Reals(Vec<f64>),
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Reals(reals) => reals.len(),
        }
    }

    /// Appends a cell of the file `path`.
    ///
    /// # Errors
    /// [`Error::Resources`](crate::error::Error::Resources) if there is not enough memory.
    #[inline]
    pub(super) fn push(&mut self, value: f64, path: &Path) -> Result<()> {
        match self {
            Self::Bytes(bytes) if f64::from(value as u8) == value => {
                grow(bytes, path)?;
                bytes.push(value as u8);
            }
            Self::Bytes(bytes) => {
                let mut reals: Vec<f64> = Vec::new();
                reserve(&mut reals, bytes.len() + 1, path)?;
                reals.extend(bytes.iter().map(|&byte| f64::from(byte)));
                reals.push(value);
                *self = Self::Reals(reals);
            }
            Self::Reals(reals) => {
                grow(reals, path)?;
                reals.push(value);
            }
        }
        Ok(())
    }

    /// Removes the cells from `length` on.
    pub(super) fn truncate(&mut self, length: usize) {
        match self {
            Self::Bytes(bytes) => bytes.truncate(length),
            Self::Reals(reals) => reals.truncate(length),
        }
    }

    pub(super) fn into_features(self, shape: (usize, usize)) -> Features {
        let whole = "every row has the same number of cells";
        match self {
            Self::Bytes(mut bytes) => {
                bytes.shrink_to_fit();
                Features::Bytes(Array2::from_shape_vec(shape, bytes).expect(whole))
            }
            Self::Reals(mut reals) => {
                reals.shrink_to_fit();
                Features::Reals(Array2::from_shape_vec(shape, reals).expect(whole))
            }
        }
    }
}
