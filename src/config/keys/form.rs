//! The forms of a value: its TOML type and its range.

use std::ops::{Bound, RangeBounds};

use crate::config::messages::spell_range;

/// A form that a value may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Text that is not empty; with a pattern, text that this regular expression matches.
    Text {
        /// The regular expression.
        pattern: Option<&'static str>,
    },
    /// An integer in a range.
    Integer {
        /// The least value.
        least: i64,
        /// The largest value.
        most: i64,
    },
    /// A finite number in an interval.
    Number(Interval),
    /// A list of integers, each in a range.
    Integers {
        /// The least value of an entry.
        least: i64,
        /// The largest value of an entry.
        most: i64,
        /// The largest number of entries.
        entries: usize,
    },
    /// A list of numbers.
    Numbers {
        /// The interval of each entry.
        interval: Interval,
        /// The least number of entries.
        least: usize,
        /// The largest number of entries.
        most: usize,
    },
    /// A list of texts.
    Texts {
        /// The least number of entries.
        least: usize,
        /// The largest number of entries.
        most: usize,
    },
}

/// An interval of numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The lower end.
    pub lower: Bound<f64>,
    /// The upper end.
    pub upper: Bound<f64>,
}

impl Interval {
    /// Returns whether `number` is in the interval.
    pub fn contains(&self, number: f64) -> bool {
        (self.lower, self.upper).contains(&number)
    }

    /// Spells the interval: `a number above 0 and at most 1e9`.
    fn spell(&self) -> String {
        let (lower, upper) = (self.lower, self.upper);
        match (lower, upper) {
            (Bound::Unbounded, Bound::Unbounded) => "a number".to_owned(),
            (Bound::Included(least), Bound::Unbounded) => format!("a number, {least} or above"),
            (Bound::Excluded(least), Bound::Unbounded) => format!("a number above {least}"),
            (Bound::Unbounded, Bound::Included(most)) => {
                format!("a number, at most {}", short(most))
            }
            (Bound::Unbounded, Bound::Excluded(most)) => format!("a number below {}", short(most)),
            (Bound::Included(least), Bound::Included(most)) => {
                format!("a number from {least} to {}", short(most))
            }
            (Bound::Included(least), Bound::Excluded(most)) => {
                format!("a number from {least} to below {}", short(most))
            }
            (Bound::Excluded(least), Bound::Included(most)) => {
                format!("a number above {least} and at most {}", short(most))
            }
            (Bound::Excluded(least), Bound::Excluded(most)) => {
                format!("a fraction between {least} and {}", short(most))
            }
        }
    }
}

/// Spells large numbers as powers of ten: `1e9`.
fn short(number: f64) -> String {
    if number >= 1e6 {
        format!("{number:e}")
    } else {
        number.to_string()
    }
}

/// Spells all forms of a key: `"auto", or a number above 0`.
pub(super) fn spell(forms: &[Form]) -> String {
    let spelled: Vec<String> = forms.iter().map(spell_one).collect();
    spelled.join(", or ")
}

fn spell_one(form: &Form) -> String {
    match form {
        Form::Boolean => "true or false".to_owned(),
        Form::Word(words) => {
            let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
            quoted.join(", ")
        }
        Form::Text { .. } => "text in quotes".to_owned(),
        Form::Integer { least, most } => spell_range(&(*least..=*most)),
        Form::Number(interval) => interval.spell(),
        Form::Integers {
            least,
            most,
            entries,
        } => {
            let entry = spell_range(&(*least..=*most));
            format!("a list of at most {entries}, each {entry}")
        }
        Form::Texts { least, most } => format!("a list of {least} to {most} texts"),
        Form::Numbers {
            interval,
            least,
            most,
        } => format!(
            "a list of {least} to {most} numbers, each {}",
            interval.spell()
        ),
    }
}
