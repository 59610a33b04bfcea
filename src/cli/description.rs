//! What is in the user's own files: `data describe FILE`.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::classes::{MOST_CLASSES, list};
use crate::data::csv::{self, ReadOptions};
use crate::data::loading::{are_measurements, is_array_file};
use crate::data::{
    DataConfig, DataSource, Dataset, Features, Missing, Normalize, SearchPaths, TableOptions, Task,
    load, suggestions,
};
use crate::error::{Error, Result};
use crate::study::table::{Table, list as entries};
use crate::text::plain_line;

/// Classes above which only their number is shown.
const MANY_CLASSES: usize = 50;

/// The content of a file.
#[derive(Debug, Serialize)]
pub struct Description {
    file: String,
    pub(super) rows: usize,
    /// The number of features of data that is no table, or its shape.
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<String>,
    /// The columns of a table, the label included.
    pub(super) columns: Vec<ColumnDescription>,
    /// The name or the number of the label column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<String>,
    /// `classification`, or `regression` if the label is a number to predict.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) task: Option<&'static str>,
    /// The classes and the number of rows of each; none of a regression.
    pub(super) classes: Vec<(String, usize)>,
    notes: Vec<String>,
}

/// A column of a table.
#[derive(Debug, Serialize)]
pub(super) struct ColumnDescription {
    /// The number in the file, from 0.
    pub(super) number: usize,
    #[serde(skip)]
    rows: usize,
    name: Option<String>,
    /// `numbers`, `integers` or `text`.
    pub(super) kind: &'static str,
    pub(super) missing: usize,
    pub(super) distinct: usize,
    minimum: Option<f64>,
    mean: Option<f64>,
    maximum: Option<f64>,
    /// The most frequent texts and how often they occur.
    most_frequent: Vec<(String, usize)>,
    /// What to think of it: `constant`, `all different`.
    remark: Option<&'static str>,
}

impl Description {
    /// Describes a CSV, a folder of pictures, an NPY or NPZ, or IDX or NPY features with their labels.
    ///
    /// # Errors
    /// Files that are missing or invalid; a label column that does not exist.
    pub fn of(path: &Path, labels: Option<&Path>, label: Option<&str>) -> Result<Self> {
        if path.is_dir() || labels.is_some() || is_array_file(path)? {
            let files = [Some(path), labels].into_iter().flatten();
            return Self::of_arrays(files.map(Path::to_path_buf).collect(), label);
        }
        let options = ReadOptions {
            label,
            missing: Missing::Mean,
            describes: true,
            ..ReadOptions::default()
        };
        let read = csv::read(path, &options, None)?;
        let (cells, table) = (&read.features, &read.table);
        let columns: Vec<ColumnDescription> = (0..table.schema.columns.len())
            .map(|index| ColumnDescription::of(cells, index, &table.schema.columns[index]))
            .collect();
        let at = label_of(&columns, label, path)?;
        let is_regression = columns[at].is_measurement();
        let mut notes = table.notes.clone();
        let classes = if is_regression {
            notes.push(format!(
                "the label {} has {} different numbers: train with task = \"regression\" to predict them",
                plain_line(&columns[at].title()),
                columns[at].distinct
            ));
            Vec::new()
        } else {
            classes(cells, at, table.schema.columns[at].categories.as_deref())
        };
        if !is_regression && classes.len() < 2 {
            notes.push("the label has one class only".to_owned());
        }
        Ok(Self {
            file: path.display().to_string(),
            rows: cells.dim().0,
            features: None,
            label: Some(columns[at].title()),
            task: Some(if is_regression {
                "regression"
            } else {
                "classification"
            }),
            columns,
            classes,
            notes,
        })
    }

    /// Describes data that is no table: of classes, or if its labels are none, of a regression.
    fn of_arrays(files: Vec<PathBuf>, label: Option<&str>) -> Result<Self> {
        let file = files[0].display().to_string();
        let load_as = |task| {
            let config = DataConfig {
                source: DataSource::Files {
                    train: files.clone(),
                    test: Vec::new(),
                    label: label.map(str::to_owned),
                    options: TableOptions::default(),
                },
                task,
                validation: None,
                test: None,
                folds: None,
                limit: None,
                normalize: Normalize::None,
            };
            load(&config, &SearchPaths::new(None), Path::new(""))
        };
        let numbers = Task::Regression {
            targets: Vec::new(),
        };
        let loaded = load_as(None).or_else(|refusal| load_as(Some(numbers)).map_err(|_| refusal));
        let data = loaded?.train;
        let targets = data.targets.as_ref();
        let task = targets.map_or("classification", |_| "regression");
        let note = targets.map(|targets| {
            let names = list(&targets.names);
            format!(
                "the labels are numbers ({names}): train with task = \"regression\" to predict them"
            )
        });
        let shape = data
            .image
            .map(|(height, width)| format!(" ({height} × {width})"));
        let (least, most) = range(&data);
        Ok(Self {
            file,
            rows: data.rows(),
            features: Some(format!(
                "{}{}, values {least}…{most}",
                data.feature_count(),
                shape.unwrap_or_default()
            )),
            columns: Vec::new(),
            label: None,
            task: Some(task),
            classes: (0..data.class_count())
                .map(|class| {
                    let rows = data
                        .labels
                        .iter()
                        .filter(|&&label| usize::from(label) == class);
                    (data.class_names[class].clone(), rows.count())
                })
                .collect(),
            notes: note.into_iter().collect(),
        })
    }

    fn missing(&self) -> usize {
        self.columns.iter().map(|column| column.missing).sum()
    }
}

fn range(data: &Dataset) -> (f64, f64) {
    let start = (f64::INFINITY, f64::NEG_INFINITY);
    let wider = |(least, most): (f64, f64), value: f64| (least.min(value), most.max(value));
    match &data.features {
        Features::Bytes(values) => values
            .iter()
            .map(|&byte| f64::from(byte))
            .fold(start, wider),
        Features::Reals(values) => values.iter().copied().fold(start, wider),
    }
}

/// Returns the index of the label column.
fn label_of(columns: &[ColumnDescription], label: Option<&str>, path: &Path) -> Result<usize> {
    let Some(label) = label else {
        return Ok(columns.len() - 1);
    };
    let by_name = columns
        .iter()
        .position(|column| column.name.as_deref() == Some(label));
    let by_number = || label.parse().ok().filter(|&at: &usize| at < columns.len());
    by_name.or_else(by_number).ok_or_else(|| {
        let names: Vec<&str> = columns.iter().filter_map(|c| c.name.as_deref()).collect();
        let nearest = suggestions::nearest(label, names.iter().copied());
        let question = suggestions::question(nearest);
        Error::refused(path, format!("no column is called `{label}`{question}"))
            .help(format!("the columns are {}", list(&names)))
    })
}

/// Counts the values of the label column, by number or by text.
fn classes(cells: &Features, label: usize, categories: Option<&[String]>) -> Vec<(String, usize)> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for row in 0..cells.dim().0 {
        let value = cells.value(row, label);
        if !value.is_nan() {
            *counts.entry(value.to_bits()).or_default() += 1;
        }
    }
    let name = |bits: u64| {
        let value = f64::from_bits(bits);
        match categories {
            Some(names) => names[value as usize].clone(),
            None => value.to_string(),
        }
    };
    let mut classes: Vec<(String, usize)> = counts
        .into_iter()
        .map(|(bits, count)| (name(bits), count))
        .collect();
    let number = |name: &str| name.parse::<f64>().unwrap_or(f64::INFINITY);
    classes.sort_by(|a, b| {
        number(&a.0)
            .total_cmp(&number(&b.0))
            .then_with(|| a.0.cmp(&b.0))
    });
    classes
}

impl ColumnDescription {
    fn of(cells: &Features, index: usize, column: &crate::data::schema::Column) -> Self {
        let rows = cells.dim().0;
        let values = (0..rows).map(|row| cells.value(row, index));
        let values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
        let mut counts: HashMap<u64, usize> = HashMap::new();
        for value in &values {
            *counts.entry(value.to_bits()).or_default() += 1;
        }
        let distinct = counts.len();
        let (mut kind, mut most_frequent) = ("numbers", Vec::new());
        if let Some(names) = &column.categories {
            kind = "text";
            let name = |(bits, count)| (names[f64::from_bits(bits) as usize].clone(), count);
            most_frequent = counts
                .into_iter()
                .map(name)
                .collect::<Vec<(String, usize)>>();
            most_frequent.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            most_frequent.truncate(5);
        } else if values.iter().all(|value| value.fract() == 0.0) {
            kind = "integers";
        }
        let is_number = kind != "text" && !values.is_empty();
        let number = |value: f64| Some(value).filter(|_| is_number);
        let mean = values.iter().fold(0.0, |sum, value| sum + value) / values.len() as f64;
        let all_different = distinct == rows && rows > 2 && kind != "numbers";
        let remark = match distinct {
            0 => Some("empty"),
            1 => Some("constant"),
            _ if all_different => Some("all different"),
            _ if kind == "text" && distinct > MOST_CLASSES => Some("too many texts"),
            _ => None,
        };
        Self {
            number: index,
            rows,
            name: column.name.clone(),
            kind,
            missing: rows - values.len(),
            distinct,
            minimum: number(values.iter().copied().fold(f64::INFINITY, f64::min)),
            mean: number(mean),
            maximum: number(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            most_frequent,
            remark,
        }
    }

    /// Returns the name, or the number.
    pub(super) fn title(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.number.to_string())
    }

    /// Returns whether its values are numbers to predict rather than classes.
    fn is_measurement(&self) -> bool {
        let rows = self.rows - self.missing;
        let has_fractions = self.kind == "numbers" && self.distinct > 1;
        has_fractions || (self.kind == "integers" && are_measurements(self.distinct, rows, false))
    }

    /// Returns whether it helps no network: the same everywhere, nowhere, or a name of the row.
    pub(super) fn is_useless(&self) -> bool {
        let known = ["id", "index", "row", "nr", "no", "key", ""];
        let name = self.name.as_deref().unwrap_or("x").to_lowercase();
        let counts_rows = self.kind == "integers"
            && self
                .minimum
                .zip(self.maximum)
                .is_some_and(|(least, most)| most - least + 1.0 == self.distinct as f64);
        match self.remark {
            Some("all different") => {
                self.kind == "text" || counts_rows || known.contains(&name.as_str())
            }
            Some(_) => true,
            None => false,
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![("file", self.file.clone()), ("rows", self.rows.to_string())];
        if let Some(features) = &self.features {
            lines.push(("features", features.clone()));
        } else {
            lines.push(("columns", self.columns.len().to_string()));
            lines.push(("missing values", self.missing().to_string()));
        }
        if let Some(label) = &self.label {
            lines.push(("label", plain_line(label).into_owned()));
        }
        match self.task {
            Some("regression") => lines.push(("task", "regression".to_owned())),
            _ => lines.push(("classes", self.classes.len().to_string())),
        }
        formatter.write_str(&entries(&lines))?;
        if !self.columns.is_empty() {
            let header = ["column", "kind", "missing", "distinct", "values", "remark"];
            let mut table = Table::new(header);
            for column in &self.columns {
                table.row([
                    plain_line(&column.title()).into_owned(),
                    column.kind.to_owned(),
                    column.missing.to_string(),
                    column.distinct.to_string(),
                    column.values(),
                    column.remark.unwrap_or("").to_owned(),
                ]);
            }
            write!(formatter, "\n{table}")?;
        }
        if (1..=MANY_CLASSES).contains(&self.classes.len()) {
            let mut table = Table::new(["class", "rows", "share"]);
            for (name, rows) in &self.classes {
                let share = 100.0 * *rows as f64 / self.rows as f64;
                table.row([
                    plain_line(name).into_owned(),
                    rows.to_string(),
                    format!("{share:.1} %"),
                ]);
            }
            write!(formatter, "\n{table}")?;
        }
        for note in &self.notes {
            write!(formatter, "\n{note}")?;
        }
        if !self.notes.is_empty() {
            formatter.write_char('\n')?;
        }
        Ok(())
    }
}

impl ColumnDescription {
    fn values(&self) -> String {
        if let (Some(least), Some(mean), Some(most)) = (self.minimum, self.mean, self.maximum) {
            return format!("{}…{}, mean {}", short(least), short(most), short(mean));
        }
        let texts = self.most_frequent.iter();
        let texts: Vec<String> = texts
            .map(|(text, count)| {
                let start: String = text.chars().take(16).collect();
                format!("{} ({count})", plain_line(&start))
            })
            .take(3)
            .collect();
        let more = if self.distinct > texts.len() {
            ", …"
        } else {
            ""
        };
        texts.join(", ") + more
    }
}

/// Spells a number with four digits.
fn short(number: f64) -> String {
    let exact = number.to_string();
    if exact.len() <= 7 {
        return exact;
    }
    let digits = 3 - number.abs().log10().floor() as i32;
    if (0..=9).contains(&digits) {
        format!("{number:.*}", digits as usize)
    } else {
        format!("{number:.3e}")
    }
}
