//! The columns of a CSV that a schema expects: found by name where there is a header, else by their
//! number.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::cells::is_word;
use super::header::{find_name, no_column, repeated};
use super::records::CsvRow;
use crate::data::classes::list;
use crate::data::schema::{ColumnPlace, Schema};
use crate::error::{Error, Result};

/// What each column of a CSV is.
pub(super) struct CsvLayout {
    /// Whether the first line is no row of data.
    pub(super) has_header: bool,
    /// What the first line of a dataset of scikit-learn says.
    pub(super) counts: Option<CountsLine>,
    /// The number of columns.
    pub(super) width: usize,
    /// The line that has so many.
    pub(super) width_line: u64,
    /// The number and the name of each feature column, in the order of the features.
    pub(super) features: Vec<(usize, Option<String>)>,
    pub(super) label: Option<usize>,
    /// The number and the name of each column that a regression predicts.
    pub(super) targets: Vec<(usize, String)>,
    pub(super) ignored: Vec<ColumnPlace>,
    /// The names of all columns; empty without a header.
    pub(super) names: Vec<String>,
    /// What was found out, a sentence each.
    pub(super) notes: Vec<String>,
}

/// `rows,features,class names…`.
pub(super) struct CountsLine {
    pub(super) rows: usize,
    pub(super) names: Vec<String>,
}

/// The columns that a table must have.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpectedColumns<'a> {
    /// The model or the training file, for messages.
    pub(crate) path: &'a Path,
    /// The columns.
    pub(crate) schema: &'a Schema,
    /// The number of feature columns.
    pub(crate) features: usize,
    /// The names of the numbers that a regression predicts, instead of a label.
    pub(crate) targets: Option<&'a [String]>,
    /// Whether there must be a label, or the numbers of a regression.
    pub(crate) needs_label: bool,
}

impl ExpectedColumns<'_> {
    /// Finds the columns in a table with this first line.
    ///
    /// # Errors
    /// A column that is missing or has the name of another; another number of columns.
    pub(super) fn find(&self, first: &CsvRow, path: &Path) -> Result<CsvLayout> {
        let fields = first.texts(path)?;
        if let Some(counts) = self.counts(&fields) {
            let width = vec![""; self.features + 1];
            let mut layout = self.by_number(&width, first, path)?;
            layout.has_header = true;
            layout.notes.clear();
            layout.counts = Some(counts);
            return Ok(layout);
        }
        if self.is_header(&fields) {
            if self.schema.has_names() {
                return self.by_name(&fields, first, path);
            }
            let mut layout = self.by_number(&fields, first, path)?;
            layout.has_header = true;
            layout.names = fields.iter().map(ToString::to_string).collect();
            layout.notes.push(format!(
                "{} knows no column names: the columns of {} are taken in their order",
                self.path.display(),
                path.display()
            ));
            return Ok(layout);
        }
        self.by_number(&fields, first, path)
    }

    /// Returns the counts and class names, if this is the first line of a dataset of scikit-learn
    /// with so many features.
    fn counts(&self, fields: &[&str]) -> Option<CountsLine> {
        let [rows, features, names @ ..] = fields else {
            return None;
        };
        let (rows, features): (usize, usize) = (rows.parse().ok()?, features.parse().ok()?);
        let fits = features == self.features
            && self.schema.ignored.is_empty()
            && names.len() >= 2
            && names.iter().all(|name| is_word(name));
        fits.then(|| CountsLine {
            rows,
            names: names.iter().map(ToString::to_string).collect(),
        })
    }

    /// Returns whether the first line is a header: it has one of the names, or more words than a
    /// row can have.
    fn is_header(&self, fields: &[&str]) -> bool {
        let schema = self.schema;
        let others = schema
            .label
            .iter()
            .chain(&schema.targets)
            .chain(&schema.ignored);
        let others = others.filter_map(|place| place.name.as_deref());
        let found: HashSet<&str> = fields.iter().copied().collect();
        let is_name = |name: &str| found.contains(name);
        if schema.has_names() {
            let mut names = schema.names().chain(others);
            if names.any(|name| is_word(name) && is_name(name)) || schema.names().all(is_name) {
                return true;
            }
        }
        let texts = schema
            .columns
            .iter()
            .filter(|column| column.categories.is_some());
        let texts = texts.count() + schema.ignored.len();
        let words = fields.iter().filter(|field| is_word(field)).count();
        let has_numbers = schema
            .columns
            .iter()
            .any(|column| column.categories.is_none());
        // A label may be a word, too. The targets of a model without columns are found by name.
        if schema.columns.is_empty() && self.named_targets(fields).is_some() {
            return true;
        }
        words > texts + 1 || ((has_numbers || schema.columns.is_empty()) && words == fields.len())
    }

    /// Returns the columns with the names of the targets; `None` if one is missing.
    fn named_targets(&self, fields: &[&str]) -> Option<Vec<usize>> {
        let column = |name: &String| fields.iter().position(|field| field == name);
        self.targets?.iter().map(column).collect()
    }

    /// Returns the columns of what is predicted in a file that has so many and the order of the
    /// training file.
    fn answers(&self, fields: &[&str]) -> Vec<usize> {
        let first = self.features + self.schema.ignored.len();
        let Some(targets) = self.targets else {
            return vec![self.schema.label.as_ref().map_or(first, |label| label.at)];
        };
        if !self.schema.targets.is_empty() {
            return self.schema.targets.iter().map(|place| place.at).collect();
        }
        if let Some(named) = self.named_targets(fields) {
            return named;
        }
        // Targets without a name are called by their column.
        let number = |name: &String| name.strip_prefix("column ")?.parse().ok();
        let numbers: Option<Vec<usize>> = targets.iter().map(number).collect();
        numbers
            .filter(|numbers| numbers.iter().all(|&at| at < first + targets.len()))
            .unwrap_or_else(|| (first..first + targets.len()).collect())
    }

    fn by_name(&self, fields: &[&str], first: &CsvRow, path: &Path) -> Result<CsvLayout> {
        let schema = self.schema;
        let names: Vec<String> = fields.iter().map(ToString::to_string).collect();
        let place = format!("line {}", first.line);
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, name) in names.iter().enumerate() {
            places.entry(name).or_default().push(at);
        }
        let mut features = Vec::with_capacity(schema.columns.len());
        let mut absent = Vec::new();
        for name in schema.names() {
            match places.get(name).map(Vec::as_slice) {
                Some([source]) => features.push((*source, Some(name.to_owned()))),
                Some(_) => return Err(repeated(name, path).at(place)),
                None => absent.push(name),
            }
        }
        if !absent.is_empty() {
            return Err(self.without(&absent, &names, path).at(place));
        }
        let is_feature = |column: &usize| features.iter().any(|(source, _)| source == column);
        let others: Vec<usize> = (0..names.len()).filter(|at| !is_feature(at)).collect();
        let label = self.named_label(&names, &others, path, &place)?;
        let mut targets = Vec::new();
        for target in self.targets.unwrap_or(&[]) {
            match find_name(target, &names, path, &place)? {
                Some(at) => targets.push((at, target.clone())),
                None if self.needs_label => {
                    return Err(no_column(target, &names, path).at(place).help(format!(
                        "the model predicts it, and an evaluation needs it; `nplus1 predict` does without. The columns are {}",
                        list(&names)
                    )));
                }
                None => {}
            }
        }
        let ignored = schema.ignored.iter();
        let ignored: HashSet<&str> = ignored.filter_map(|place| place.name.as_deref()).collect();
        let is_ignored = |name: &str| ignored.contains(name);
        let sources = features.iter().map(|(source, _)| *source);
        let answers = targets.iter().map(|(at, _)| *at).chain(label);
        let used: HashSet<usize> = sources.chain(answers).collect();
        let used = |column: usize| used.contains(&column);
        let extra: Vec<&str> = (0..names.len())
            .filter(|&column| !used(column) && !is_ignored(&names[column]))
            .map(|column| names[column].as_str())
            .collect();
        let notes = if extra.is_empty() {
            Vec::new()
        } else {
            vec![format!(
                "{}: ignored {}, with which the model was not trained",
                path.display(),
                list(&extra)
            )]
        };
        Ok(CsvLayout {
            has_header: true,
            counts: None,
            width: names.len(),
            width_line: first.line,
            features,
            label,
            targets,
            ignored: Vec::new(),
            names,
            notes,
        })
    }

    /// Describes a table without the feature columns `absent`.
    fn without(&self, absent: &[&str], names: &[String], path: &Path) -> Error {
        let (first, more) = (absent[0], &absent[1..]);
        let from = self.path.display();
        let too = match more.is_empty() {
            true => String::new(),
            false => format!(", and with {}, which are missing too", list(more)),
        };
        let rest = match absent.len() == self.schema.columns.len() {
            true => "; without its header, the columns would be taken in the order of training",
            false => "",
        };
        no_column(first, names, path).help(format!(
            "{from} was trained with it{too}; the file has {}{rest}",
            list(names)
        ))
    }

    /// Finds the label by its name. If the model does not know its name and needs one, it is the only
    /// one of the columns `others`, which are no features.
    fn named_label(
        &self,
        names: &[String],
        others: &[usize],
        path: &Path,
        place: &str,
    ) -> Result<Option<usize>> {
        let label = self.schema.label.as_ref();
        let name = label.and_then(|label| label.name.as_deref());
        let label = match (name, others) {
            (Some(name), _) => find_name(name, names, path, place)?,
            (None, [only]) if self.needs_label => Some(*only),
            (None, _) => None,
        };
        if self.needs_label && label.is_none() && self.targets.is_none() {
            return Err(no_column(name.unwrap_or("label"), names, path).at(place).help(format!(
                "it is the label, which an evaluation needs; `nplus1 predict` does without. The columns are {}",
                list(names)
            )));
        }
        Ok(label)
    }

    /// Takes the columns in the order of the training file, with or without label and ignored ones.
    fn by_number(&self, fields: &[&str], first: &CsvRow, path: &Path) -> Result<CsvLayout> {
        let (schema, width, features) = (self.schema, fields.len(), self.features);
        let ignored: Vec<usize> = schema.ignored.iter().map(|place| place.at).collect();
        let answers = self.answers(fields);
        let all = features + ignored.len() + answers.len();
        let (answers, left_out) = if width == all {
            (answers, ignored)
        } else if !self.needs_label && width == all - answers.len() {
            let before = |at: usize| at - answers.iter().filter(|&&answer| answer < at).count();
            (Vec::new(), ignored.into_iter().map(before).collect())
        } else if !self.needs_label && width == features {
            (Vec::new(), Vec::new())
        } else {
            return Err(self.wrong_width(width, first.line, path));
        };
        let is_feature = |column: &usize| !answers.contains(column) && !left_out.contains(column);
        let sources = (0..width).filter(is_feature);
        let names = schema.columns.iter().map(|column| column.name.clone());
        let sources = sources.zip(names.chain(std::iter::repeat(None)));
        let sources: Vec<(usize, Option<String>)> = sources.collect();
        let mut notes = Vec::new();
        let is_guess = schema.label.is_none() && schema.targets.is_empty();
        if !answers.is_empty() && is_guess && !self.needs_label {
            let what = match self.targets {
                None => "the last column is taken for the label",
                Some([_]) => "one column is taken for the target",
                Some(_) => "some columns are taken for the targets",
            };
            notes.push(format!(
                "{}: {what} and ignored, since the network has {features} inputs",
                path.display()
            ));
        }
        let (label, targets) = match self.targets {
            None => (answers.first().copied(), Vec::new()),
            Some(names) => (
                None,
                answers.into_iter().zip(names.iter().cloned()).collect(),
            ),
        };
        Ok(CsvLayout {
            has_header: false,
            counts: None,
            width,
            width_line: first.line,
            features: sources,
            label,
            targets,
            ignored: Vec::new(),
            names: Vec::new(),
            notes,
        })
    }

    fn wrong_width(&self, width: usize, line: u64, path: &Path) -> Error {
        let known = self.features;
        let extra = self.schema.ignored.len();
        let answers = self.targets.map_or(1, <[String]>::len);
        let found = if self.needs_label {
            width.saturating_sub(answers + extra)
        } else {
            width
        };
        let answers = match self.targets {
            None => "a label".to_owned(),
            Some([_]) => "the target".to_owned(),
            Some(names) => format!("the {} targets", names.len()),
        };
        let with = if self.needs_label {
            format!("and {answers}")
        } else {
            format!("with or without {answers}")
        };
        let ignored = match extra {
            0 => String::new(),
            1 => ", 1 column that is ignored".to_owned(),
            count => format!(", {count} columns that are ignored"),
        };
        Error::refused(
            path,
            format!(
                "{found} features per row, but {} has {known}",
                self.path.display()
            ),
        )
        .at(format!("line {line}"))
        .help(format!(
            "a file without the header of the training file needs its columns in their order: {known} features{ignored} {with}"
        ))
    }
}
