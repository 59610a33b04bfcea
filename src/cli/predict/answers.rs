//! The answers of a model: named columns, of text or of numbers.

use ndarray::Array2;

use crate::api::Predictor;
use crate::format::Model;

/// The columns of the answers.
pub(super) struct Columns {
    /// The name of the column of classes, and the classes; `None` if the outputs are numbers.
    pub(super) class: Option<(String, Vec<String>)>,
    /// The names of the columns of numbers.
    pub(super) numbers: Vec<String>,
}

/// The answers about some rows.
pub(super) struct Answers {
    /// The index of each row's class; empty if there are none.
    pub(super) classes: Vec<u16>,
    /// The numbers of each row, row by row.
    pub(super) numbers: Vec<f64>,
    rows: usize,
}

impl Answers {
    /// Returns the number of rows.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }
}

impl Columns {
    /// Describes the answers of `model`: the class under the label's name, and with probabilities
    /// one column for each class; of a regression a column for each target, under its name.
    pub(super) fn new(model: &Model, probabilities: bool) -> Self {
        if let Some(targets) = &model.scaling.targets {
            return Self {
                class: None,
                numbers: targets.names.clone(),
            };
        }
        let label = model.schema.label.as_ref();
        let label = label.and_then(|label| label.name.clone());
        let label = label.unwrap_or_else(|| "class".to_owned());
        let probability = |class: &String| format!("p_{class}");
        let numbers = model.class_names.iter().map(probability);
        Self {
            class: Some((label, model.class_names.clone())),
            numbers: if probabilities {
                numbers.collect()
            } else {
                Vec::new()
            },
        }
    }

    /// Makes answers of the pre-activations of some rows.
    pub(super) fn answers(&self, predictor: &Predictor, outputs: &Array2<f64>) -> Answers {
        let rows = outputs.nrows();
        let mut classes = Vec::with_capacity(rows);
        let mut numbers = Vec::with_capacity(rows * self.numbers.len());
        let mut row_of = Vec::new();
        for z in outputs.rows() {
            if self.class.is_none() {
                predictor.numbers(z, &mut row_of);
                numbers.extend_from_slice(&row_of);
                continue;
            }
            classes.push(predictor.class(z) as u16);
            if !self.numbers.is_empty() {
                predictor.probabilities(z, &mut row_of);
                numbers.extend_from_slice(&row_of);
            }
        }
        Answers {
            classes,
            numbers,
            rows,
        }
    }

    /// Returns the names of all columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let class = self.class.iter().map(|(name, _)| name.as_str());
        class.chain(self.numbers.iter().map(String::as_str))
    }
}
