//! The classes of a label column, collected in the order of the rows, then sorted and numbered.
//!
//! `1`, `01`, `+1` and `1.0` are the same class, `1`. Classes are sorted by number if all are
//! integers, otherwise by text, so that their numbers depend only on the set of labels, not on the
//! order of the rows.

use std::collections::HashMap;
use std::path::Path;

use crate::error::{Error, Result};

/// The largest number of classes: a column with more distinct labels holds measurements.
pub const MOST_CLASSES: usize = 1000;

/// 2⁵³: smaller integers are exact in double precision.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The labels of a file's rows.
#[derive(Debug, Default)]
pub(crate) struct Classes {
    /// The name of each class.
    pub(crate) names: Vec<String>,
    /// The line on which each class first appears.
    pub(crate) first_lines: Vec<u64>,
    /// The class of each row.
    pub(crate) labels: Vec<u16>,
    index: HashMap<String, u16>,
}

// Some methods are for classes in files.
#[cfg_attr(not(feature = "files"), allow(dead_code))]
impl Classes {
    /// Adds the label of the next row; returns `None` if there are too many classes.
    pub(crate) fn push(&mut self, label: &str, line: u64) -> Option<()> {
        let name = integer(label).map_or_else(|| label.to_owned(), |number| number.to_string());
        let class = match self.index.get(&name) {
            Some(&class) => class,
            None if self.names.len() == MOST_CLASSES => return None,
            None => {
                let class = u16::try_from(self.names.len()).ok()?;
                self.names.push(name.clone());
                self.first_lines.push(line);
                self.index.insert(name, class);
                class
            }
        };
        self.labels.push(class);
        Some(())
    }

    /// Sorts the classes: by number if all are integers, otherwise by text.
    pub(crate) fn sort(&mut self) {
        let numbers: Option<Vec<i64>> = self.names.iter().map(|name| integer(name)).collect();
        let mut order: Vec<usize> = (0..self.names.len()).collect();
        match numbers {
            Some(numbers) => order.sort_by_key(|&class| numbers[class]),
            None => order.sort_by_key(|&class| &self.names[class]),
        }
        self.reorder(&order);
    }

    /// Renumbers the classes in the order of `names`, the classes of the file `known_path`.
    ///
    /// # Errors
    /// A label that is not in `names`, with its line.
    pub(crate) fn renumber(
        &mut self,
        names: &[String],
        path: &Path,
        known_path: &Path,
    ) -> Result<()> {
        let numbers: Vec<u16> = self
            .names
            .iter()
            .zip(&self.first_lines)
            .map(|(name, line)| {
                names
                    .iter()
                    .position(|known| known == name)
                    .and_then(|class| u16::try_from(class).ok())
                    .ok_or_else(|| {
                        Error::refused(
                            path,
                            format!(
                                "class `{name}` does not occur in {}; its classes are {}",
                                known_path.display(),
                                list(names)
                            ),
                        )
                        .at(format!("line {line}"))
                    })
            })
            .collect::<Result<_>>()?;
        for label in &mut self.labels {
            *label = numbers[usize::from(*label)];
        }
        self.names = names.to_vec();
        Ok(())
    }

    fn reorder(&mut self, order: &[usize]) {
        let mut numbers = vec![0; order.len()];
        for (number, &class) in (0u16..).zip(order) {
            numbers[class] = number;
        }
        for label in &mut self.labels {
            *label = numbers[usize::from(*label)];
        }
        self.names = order.iter().map(|&at| self.names[at].clone()).collect();
        self.first_lines = order.iter().map(|&at| self.first_lines[at]).collect();
    }
}

/// Parses an integer, also when written as `1.0` or `1e3`.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let value: f64 = text.parse().ok()?;
    (value.fract() == 0.0 && value.abs() < EXACT).then_some(value as i64)
}

/// Joins names: `a, b, c`, or the first ten and the number of the others.
pub(crate) fn list<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(10).map(AsRef::as_ref).collect();
    let more = names.len() - shown.len();
    let more = if more > 0 {
        format!(", … ({more} more)")
    } else {
        String::new()
    };
    shown.join(", ") + &more
}

/// Prepares text from a file for a message: escapes control characters, keeps at most 40
/// characters.
pub(crate) fn shown(text: &str) -> String {
    let mut escaped: String = text.chars().take(40).flat_map(char::escape_debug).collect();
    if text.chars().count() > 40 {
        escaped.push('…');
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(labels: &[&str]) -> Classes {
        let mut classes = Classes::default();
        for (line, label) in (1..).zip(labels) {
            classes.push(label, line).expect("few classes");
        }
        classes.sort();
        classes
    }

    #[test]
    fn integers_are_sorted_by_number_and_texts_alphabetically() {
        let numbers = classes(&["10", "9", "-1", "9.0", "+10"]);
        assert_eq!(numbers.names, ["-1", "9", "10"]);
        assert_eq!(numbers.labels, [2, 1, 0, 1, 2]);
        assert_eq!(numbers.first_lines, [3, 2, 1]);
        let texts = classes(&["10", "9", "a"]);
        assert_eq!(texts.names, ["10", "9", "a"]);
    }

    #[test]
    fn renumbering_takes_over_known_names_and_refuses_new_ones() {
        let known = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        let mut some = classes(&["c", "b"]);
        some.renumber(&known, Path::new("test.csv"), Path::new("train.csv"))
            .expect("both are known");
        assert_eq!(some.labels, [2, 1]);
        let error = classes(&["c", "d"])
            .renumber(&known, Path::new("test.csv"), Path::new("train.csv"))
            .expect_err("d is new");
        assert_eq!(
            error.to_string(),
            "test.csv, line 2: class `d` does not occur in train.csv; its classes are a, b, c"
        );
    }
}
