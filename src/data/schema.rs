//! What a model knows of the columns that it was trained on: their names, order and kinds, the
//! label, what was ignored, and how values are filled in.
//!
//! A schema is learned from training rows alone (`table.rs`), stored with the model, and
//! finds the columns of further tables by name.

use serde::{Deserialize, Serialize};

/// The columns of a table, and what becomes of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Schema {
    /// The feature columns in the order of the network's inputs. Empty: numbers without names.
    pub columns: Vec<Column>,
    /// The label column, if the table has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<ColumnPlace>,
    /// The columns that are no features.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ignored: Vec<ColumnPlace>,
    /// What becomes of rows with missing values.
    pub missing: Missing,
    /// What becomes of a category that no training row has.
    pub unknown: Unknown,
    /// `(height, width)`, if a row is an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<(usize, usize)>,
    /// The columns of the numbers that a regression predicts, in the order of the outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<ColumnPlace>,
}

/// A feature column.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Column {
    /// The name in the header, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The categories of a text column, each of which has an input of its own, 1 or 0; `None` for a
    /// column of numbers, which is one input.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<String>>,
    /// The value that replaces a missing one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fill: Option<Fill>,
}

/// The value that replaces a missing one, learned from the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fill {
    /// The mean of a column of numbers.
    Mean(f64),
    /// The most frequent category of a text column, the first of equally frequent ones.
    Category(String),
}

/// A column that is no feature: its name, if it has one, and its number in the file, from 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnPlace {
    /// The name in the header, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The number in the training file, from 0.
    pub at: usize,
}

/// What becomes of rows with missing values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// They are refused.
    #[default]
    Refuse,
    /// A number becomes the mean of its column over the training rows, a text the most frequent
    /// category.
    Mean,
    /// The rows are left out.
    Drop,
}

impl Missing {
    /// All choices, with their names in configs.
    pub const ALL: [(&'static str, Self); 3] = [
        ("refuse", Self::Refuse),
        ("mean", Self::Mean),
        ("drop", Self::Drop),
    ];

    /// Returns the name in configs.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

/// What becomes of a category that no training row has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unknown {
    /// The row is refused.
    #[default]
    Refuse,
    /// All inputs of the column are 0.
    Zero,
}

impl Unknown {
    /// All choices, with their names in configs.
    pub const ALL: [(&'static str, Self); 2] = [("refuse", Self::Refuse), ("zero", Self::Zero)];

    /// Returns the name in configs.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }
}

impl Schema {
    /// Returns whether nothing is known but that the features are numbers.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// Returns whether the feature columns have names.
    pub fn has_names(&self) -> bool {
        !self.columns.is_empty() && self.columns.iter().all(|column| column.name.is_some())
    }

    /// Returns the names of the feature columns, in the order of the inputs.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns
            .iter()
            .filter_map(|column| column.name.as_deref())
    }

    /// Returns the number of network inputs that the columns make.
    pub fn inputs(&self) -> usize {
        self.columns.iter().map(Column::inputs).sum()
    }

    /// Returns the name of each network input: that of its column, with the category of a text
    /// column behind `=`. `None` without names.
    pub fn input_names(&self) -> Option<Vec<String>> {
        if !self.has_names() {
            return None;
        }
        let mut names = Vec::with_capacity(self.inputs());
        for column in &self.columns {
            let name = column.name.as_deref()?;
            match &column.categories {
                None => names.push(name.to_owned()),
                Some(categories) => {
                    names.extend(
                        categories
                            .iter()
                            .map(|category| format!("{name}={category}")),
                    );
                }
            }
        }
        Some(names)
    }

    /// Describes what is wrong with a schema from a file for a network of so many inputs; `None` if
    /// nothing is.
    pub fn fault(&self, inputs: usize) -> Option<String> {
        if !self.columns.is_empty() && self.inputs() != inputs {
            return Some(format!(
                "columns that make {} inputs, but the network has {inputs}",
                self.inputs()
            ));
        }
        let named = self.names().count();
        if named != 0 && named != self.columns.len() {
            return Some("some columns have a name and others have none".to_owned());
        }
        let mut names: Vec<&str> = self.names().collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Some(format!("two columns are called `{}`", twice[0]));
        }
        let features = if self.columns.is_empty() {
            inputs
        } else {
            self.columns.len()
        };
        let others = self.label.iter().chain(&self.targets).chain(&self.ignored);
        let mut places: Vec<usize> = others.map(|place| place.at).collect();
        let width = features + places.len();
        places.sort_unstable();
        if places.windows(2).any(|pair| pair[0] == pair[1])
            || places.last().is_some_and(|&last| last >= width)
        {
            return Some(
                "a label, a target or an ignored column at no place of its own".to_owned(),
            );
        }
        let image = self
            .image
            .is_some_and(|(height, width)| height.checked_mul(width) != Some(inputs));
        if image {
            return Some(format!("an image that does not have {inputs} pixels"));
        }
        let wrong_fill = |column: &&Column| match (&column.fill, &column.categories) {
            (Some(Fill::Mean(mean)), None) => !mean.is_finite(),
            (Some(Fill::Category(fill)), Some(categories)) => !categories.contains(fill),
            (Some(_), _) => true,
            (None, _) => false,
        };
        let column = self.columns.iter().find(wrong_fill)?;
        let name = column.name.as_deref().unwrap_or("without a name");
        Some(format!(
            "a fill value of column {name} that is not one of its values"
        ))
    }
}

impl Column {
    /// Returns a column of numbers.
    pub fn numbers(name: Option<String>) -> Self {
        Self {
            name,
            ..Self::default()
        }
    }

    /// Returns the number of network inputs: one, or one for each category.
    pub fn inputs(&self) -> usize {
        self.categories.as_ref().map_or(1, Vec::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_names_its_inputs_and_survives_json() {
        let schema = Schema {
            columns: vec![
                Column::numbers(Some("size".to_owned())),
                Column {
                    name: Some("color".to_owned()),
                    categories: Some(vec!["blue".to_owned(), "red".to_owned()]),
                    fill: Some(Fill::Category("red".to_owned())),
                },
            ],
            missing: Missing::Mean,
            ..Schema::default()
        };
        let names = schema.input_names().unwrap();
        assert_eq!(names, ["size", "color=blue", "color=red"]);
        let text = serde_json::to_string(&schema).unwrap();
        assert_eq!(serde_json::from_str::<Schema>(&text).unwrap(), schema);
        assert_eq!(schema.fault(3), None);
        assert!(schema.fault(2).unwrap().contains("make 3 inputs"));
        assert!(Schema::default().is_plain() && Schema::default().fault(7).is_none());
    }

    #[test]
    fn names_of_choices_are_those_of_their_values() {
        for (name, choice) in Missing::ALL {
            assert_eq!(choice.name(), name);
        }
        for (name, choice) in Unknown::ALL {
            assert_eq!(choice.name(), name);
        }
    }
}
