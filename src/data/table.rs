//! The columns of a dataset that comes from a table, and the encoding of their cells as network
//! inputs.
//!
//! A table is read as cells: numbers, NaN for a missing one, and for text the index of its category
//! in the order of the file. [`DataTable::learn`] takes categories and fill values from training rows
//! alone; [`encode`] makes the inputs: a number, or one input for each category, 1 or 0.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use ndarray::Array2;

use super::dataset::{Dataset, Features};
use super::schema::{Column, Fill, Missing, Schema, Unknown};
use crate::error::{Error, Result};
use crate::text::plain_line;

/// Where the rows of a dataset come from, and what their columns are.
#[derive(Clone, Debug, PartialEq)]
pub struct DataTable {
    /// The file.
    pub path: PathBuf,
    /// The columns. Of cells as read, a text column has all categories of the file, in the order in
    /// which they appear.
    pub schema: Schema,
    /// The number of each column in the file, from 0.
    pub places: Vec<usize>,
    /// The line of each row in the file.
    pub lines: Vec<u32>,
    /// Whether the features are cells as read, which [`encode`] makes inputs of.
    pub is_raw: bool,
    /// What was found out about the file, a sentence each.
    pub notes: Vec<String>,
}

impl DataTable {
    /// Learns categories and fill values from these rows of `cells`: the categories that occur in
    /// them, sorted; the mean of numbers and the most frequent category, if missing values are to be
    /// filled in. Sums run in the order of `rows`.
    ///
    /// # Errors
    /// A column without any value in these rows.
    pub fn learn(&self, cells: &Features, rows: &[u32]) -> Result<Schema> {
        let mut schema = self.schema.clone();
        for (index, column) in schema.columns.iter_mut().enumerate() {
            let values = rows
                .iter()
                .map(|&row| cells.value(row as usize, index))
                .filter(|value| !value.is_nan());
            match &mut column.categories {
                Some(categories) => {
                    let mut counts = vec![0usize; categories.len()];
                    values.for_each(|code| counts[code as usize] += 1);
                    let mut known: Vec<(String, usize)> = categories
                        .drain(..)
                        .zip(counts)
                        .filter(|(_, count)| *count > 0)
                        .collect();
                    known.sort();
                    // The first of the most frequent ones.
                    let fill = known.iter().rev().max_by_key(|(_, count)| *count);
                    let fill = fill.map(|(name, _)| Fill::Category(name.clone()));
                    column.fill = fill.filter(|_| self.schema.missing == Missing::Mean);
                    *categories = known.into_iter().map(|(name, _)| name).collect();
                    if categories.is_empty() {
                        return Err(self.empty(index));
                    }
                }
                None if self.schema.missing == Missing::Mean => {
                    let (mut sum, mut count) = (0.0, 0usize);
                    for value in values {
                        sum += value;
                        count += 1;
                    }
                    if count == 0 {
                        return Err(self.empty(index));
                    }
                    column.fill = Some(Fill::Mean(sum / count as f64));
                }
                None => {}
            }
        }
        Ok(schema)
    }

    fn empty(&self, column: usize) -> Error {
        let name = self.name_of(column);
        Error::refused(
            &self.path,
            format!("{name} has no value in any training row"),
        )
        .help("leave the column out: ignore = [\"its header, or its number from 0\"]")
    }

    /// Spells a column: `column 3 (color)`.
    pub fn name_of(&self, column: usize) -> String {
        let number = self.places.get(column).copied().unwrap_or(column) + 1;
        match self
            .schema
            .columns
            .get(column)
            .and_then(|c| c.name.as_ref())
        {
            Some(name) => format!("column {number} ({})", plain_line(name)),
            None => format!("column {number}"),
        }
    }
}

/// Makes the network's inputs of the cells of `data`, a table as read, by what `schema` has
/// learned. The rows stay the same; those `left_out`, which no part uses, become zeros. A dataset
/// without a table is returned as it is.
///
/// # Errors
/// A missing value without a fill value; a category that `schema` does not know, unless unknown ones
/// become zeros; each with its line and column.
pub fn encode(data: &Arc<Dataset>, schema: &Schema, left_out: &[u32]) -> Result<Arc<Dataset>> {
    let Some(table) = data.table.as_ref().filter(|table| table.is_raw) else {
        return Ok(Arc::clone(data));
    };
    let cells = &data.features;
    let encoder = Encoder::new(table, schema);
    let rows = cells.dim().0;
    let mut values = Vec::with_capacity(rows * schema.inputs());
    let left_out: HashSet<u32> = left_out.iter().copied().collect();
    for row in 0..rows {
        if left_out.contains(&(row as u32)) {
            values.resize(values.len() + schema.inputs(), 0.0);
            continue;
        }
        encoder.row(|column| cells.value(row, column), row, &mut values)?;
    }
    let features = Array2::from_shape_vec((rows, schema.inputs()), values)
        .expect("every row has one number per input");
    Ok(Arc::new(Dataset {
        name: data.name.clone(),
        features: Features::Reals(features),
        labels: data.labels.clone(),
        class_names: data.class_names.clone(),
        image: data.image,
        unit_divisor: data.unit_divisor,
        targets: data.targets.clone(),
        table: Some(Arc::new(DataTable {
            schema: schema.clone(),
            is_raw: false,
            ..DataTable::clone(table)
        })),
    }))
}

/// Makes inputs of cells, row by row.
pub(crate) struct Encoder<'a> {
    table: &'a DataTable,
    schema: &'a Schema,
    /// For each text column, the input of each category of the table, if the schema has it.
    inputs: Vec<Vec<Option<usize>>>,
}

impl<'a> Encoder<'a> {
    /// Matches the categories of `table` with those of `schema`, whose columns must be the same.
    pub(crate) fn new(table: &'a DataTable, schema: &'a Schema) -> Self {
        let columns = table.schema.columns.iter().zip(&schema.columns);
        let inputs = columns
            .map(|(raw, known)| match (&raw.categories, &known.categories) {
                (Some(raw), Some(known)) => raw
                    .iter()
                    .map(|name| known.iter().position(|known| known == name))
                    .collect(),
                _ => Vec::new(),
            })
            .collect();
        Self {
            table,
            schema,
            inputs,
        }
    }

    /// Appends the inputs of a row whose cells are `cell(column)`.
    pub(crate) fn row(
        &self,
        cell: impl Fn(usize) -> f64,
        row: usize,
        values: &mut Vec<f64>,
    ) -> Result<()> {
        for (index, column) in self.schema.columns.iter().enumerate() {
            let value = cell(index);
            let Some(categories) = &column.categories else {
                values.push(match &column.fill {
                    _ if !value.is_nan() => value,
                    Some(Fill::Mean(mean)) => *mean,
                    _ => return Err(self.missing(row, index)),
                });
                continue;
            };
            let input = if value.is_nan() {
                let Some(Fill::Category(fill)) = &column.fill else {
                    return Err(self.missing(row, index));
                };
                categories.iter().position(|category| category == fill)
            } else {
                self.inputs[index][value as usize]
            };
            if input.is_none() && self.schema.unknown == Unknown::Refuse {
                return Err(self.unknown(row, index, value as usize, column));
            }
            let start = values.len();
            values.resize(start + categories.len(), 0.0);
            if let Some(input) = input {
                values[start + input] = 1.0;
            }
        }
        Ok(())
    }

    fn place(&self, row: usize, column: usize) -> String {
        let line = self.table.lines.get(row).copied().unwrap_or(0);
        format!("line {line}, {}", self.table.name_of(column))
    }

    fn missing(&self, row: usize, column: usize) -> Error {
        missing_value(&self.table.path, self.place(row, column), "")
    }

    fn unknown(&self, row: usize, column: usize, code: usize, known: &Column) -> Error {
        let raw = &self.table.schema.columns[column].categories;
        let name = raw
            .as_ref()
            .and_then(|names| names.get(code))
            .map_or("", |name| name.as_str());
        let categories = known.categories.as_deref().unwrap_or(&[]);
        Error::refused(
            &self.table.path,
            format!(
                "category `{}` is in no training row; the categories are {}",
                super::classes::shown(name),
                super::classes::list(categories)
            ),
        )
        .at(self.place(row, column))
        .help("set unknown = \"zero\" under [data] and train again, which lets all inputs of the column be 0; or correct the value")
    }
}

/// Describes a missing value, spelled `text` in the file.
pub(crate) fn missing_value(path: &std::path::Path, place: String, text: &str) -> Error {
    let spelled = if text.is_empty() {
        String::new()
    } else {
        format!(" (`{}`)", super::classes::shown(text))
    };
    Error::refused(path, format!("a missing value{spelled}"))
        .at(place)
        .help("train with missing = \"mean\" under [data] to fill in values, or missing = \"drop\" to leave out such rows; or ignore the column: ignore = [\"its header, or its number from 0\"]")
}

/// Returns `data` with the columns of `schema` in its order, as the network's inputs, if both know
/// the names of their columns; a table as read without names keeps its order. Other data is returned
/// as it is.
///
/// # Errors
/// A column that is missing, or holds text where the schema has numbers or the other way round; what
/// [`encode`] refuses.
pub fn with_columns<'d>(data: &'d Dataset, schema: &Schema) -> Result<Cow<'d, Dataset>> {
    let Some(table) = &data.table else {
        return Ok(Cow::Borrowed(data));
    };
    let names: Vec<&str> = table.schema.names().collect();
    let by_name = table.is_raw || table.schema.columns.iter().all(|c| c.categories.is_none());
    if !by_name || schema.columns.is_empty() || (table.schema == *schema && !table.is_raw) {
        return Ok(Cow::Borrowed(data));
    }
    let mut order = Vec::with_capacity(schema.columns.len());
    for (index, column) in schema.columns.iter().enumerate() {
        let found = match &column.name {
            Some(name) if !names.is_empty() => names.iter().position(|other| other == name),
            _ => Some(index).filter(|&index| index < table.schema.columns.len()),
        };
        let name = column.name.as_deref().unwrap_or("without a name");
        let found = found.ok_or_else(|| {
            let help = format!("the columns are {}", super::classes::list(&names));
            Error::refused(&table.path, format!("no column `{name}`")).help(help)
        })?;
        let text = table.schema.columns[found].categories.is_some();
        if text != column.categories.is_some() {
            let (has, had) = if text {
                ("text", "numbers")
            } else {
                ("numbers", "text")
            };
            let problem = format!("{} holds {has}; the model has {had}", table.name_of(found));
            return Err(Error::refused(&table.path, problem));
        }
        order.push(found);
    }
    let rows = data.features.dim().0;
    let cells = Array2::from_shape_fn((rows, order.len()), |(row, column)| {
        data.features.value(row, order[column])
    });
    let columns = order.iter().map(|&at| table.schema.columns[at].clone());
    let ordered = DataTable {
        schema: Schema {
            columns: columns.collect(),
            ..table.schema.clone()
        },
        places: order.iter().map(|&at| table.places[at]).collect(),
        is_raw: true,
        ..DataTable::clone(table)
    };
    let ordered = Dataset {
        features: Features::Reals(cells),
        table: Some(Arc::new(ordered)),
        ..data.clone()
    };
    let encoded = encode(&Arc::new(ordered), schema, &[])?;
    Ok(Cow::Owned(Arc::unwrap_or_clone(encoded)))
}
