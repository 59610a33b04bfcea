//! The table of all config keys: of each its values, its default, when it applies, its meaning, and
//! its line in the starter file.
//!
//! It is the one place that knows these things. The reader takes ranges, words and defaults from it,
//! the writer what applies, [`super::schema()`] and [`super::starter()`] everything. What the table
//! does not list is refused. Combinations of values that conflict are in `validation.rs`.

mod data;
mod form;
mod gradient;
mod training;

pub use data::{DATA, LOSS, MODEL, MOST_IGNORED, MOST_TARGETS, TOP};
pub use form::{Form, Interval};
pub use gradient::GRADIENT;
pub use training::{OPTIMIZER, RUN, TRAIN};

pub(super) use gradient::METHOD;
pub(super) use training::{KIND, SCHEDULE};

/// The effect of an absent key, where the key applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// The config is refused.
    Required,
    /// No fault: the feature is off, or another key or section decides.
    Optional,
    /// This TOML value is used.
    Default(&'static str),
    /// The TOML value beside the value of another key is used; if it has none, the config is
    /// refused.
    DefaultBy(Selector, &'static [(&'static str, &'static str)]),
}

/// The section and the name of a key whose value decides about other keys.
pub type Selector = (&'static str, &'static str);

/// The values of another key with which a key applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// The other key.
    pub selector: Selector,
    /// Its values.
    pub values: &'static [&'static str],
}

/// A key's line in the starter file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Example {
    /// The TOML value.
    pub value: &'static str,
    /// Whether the starter sets the key; otherwise the line is a comment.
    pub is_set: bool,
    /// The comment behind the value, which may have several lines, or be empty.
    pub note: &'static str,
    /// A comment on a line of its own before the key, or nothing.
    pub before: &'static str,
}

/// A key of a section.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The name in configs.
    pub name: &'static str,
    /// The forms that a value may have.
    pub forms: &'static [Form],
    /// The effect of its absence.
    pub presence: Presence,
    /// The conditions that all must hold for the key to apply; none: it always applies.
    pub when: &'static [Condition],
    /// The meaning, in one line.
    pub about: &'static str,
    /// The line in the starter file; without one, the note of another key mentions it.
    pub example: Option<Example>,
}

/// A `[section]`; the keys before the first header form a section with an empty name.
#[derive(Clone, Copy, Debug)]
pub struct SectionKeys {
    /// The name in configs.
    pub name: &'static str,
    /// Keys of which at least one must be given; if there are none, no key is asked for.
    pub any_of: &'static [&'static str],
    /// The keys, in the order in which a resolved config lists them.
    pub keys: &'static [Key],
}

/// Every section, in the order in which a resolved config lists them.
pub static SECTIONS: [&SectionKeys; 7] =
    [&DATA, &MODEL, &LOSS, &GRADIENT, &OPTIMIZER, &TRAIN, &RUN];

impl SectionKeys {
    /// Returns the key of this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Key {
    /// Starts the description of a key that is optional and always applies.
    const fn new(name: &'static str, forms: &'static [Form], about: &'static str) -> Self {
        Self {
            name,
            forms,
            presence: Presence::Optional,
            when: &[],
            about,
            example: None,
        }
    }

    const fn required(mut self) -> Self {
        self.presence = Presence::Required;
        self
    }

    const fn default(mut self, text: &'static str) -> Self {
        self.presence = Presence::Default(text);
        self
    }

    const fn default_by(
        mut self,
        selector: Selector,
        defaults: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.presence = Presence::DefaultBy(selector, defaults);
        self
    }

    const fn when(mut self, conditions: &'static [Condition]) -> Self {
        self.when = conditions;
        self
    }

    /// Sets the key in the starter file.
    const fn set(mut self, value: &'static str, note: &'static str) -> Self {
        self.example = Some(Example {
            value,
            is_set: true,
            note,
            before: "",
        });
        self
    }

    /// Shows the key in the starter file as a comment.
    const fn shown(mut self, value: &'static str, note: &'static str) -> Self {
        self.example = Some(Example {
            value,
            is_set: false,
            note,
            before: "",
        });
        self
    }

    /// Writes a comment before the key's line in the starter file.
    const fn after_comment(mut self, comment: &'static str) -> Self {
        if let Some(example) = &mut self.example {
            example.before = comment;
        }
        self
    }

    /// Returns the words that the key allows; none if a word is not among its forms.
    pub fn words(&self) -> &'static [&'static str] {
        let words = self.forms.iter().find_map(|form| match form {
            Form::Word(words) => Some(*words),
            _ => None,
        });
        words.unwrap_or(&[])
    }

    /// Returns whether the key allows this integer.
    pub fn allows_integer(&self, number: i64) -> bool {
        self.forms.iter().any(|form| match form {
            Form::Integer { least, most } => (*least..=*most).contains(&number),
            _ => false,
        })
    }

    /// Returns whether the key allows this number.
    pub fn allows_number(&self, number: f64) -> bool {
        self.forms.iter().any(|form| match form {
            Form::Number(interval) => interval.contains(number),
            _ => false,
        })
    }

    /// Returns whether the key allows this list of numbers.
    pub fn allows_numbers(&self, numbers: &[f64]) -> bool {
        self.forms.iter().any(|form| match form {
            Form::Numbers {
                interval,
                least,
                most,
            } => {
                (*least..=*most).contains(&numbers.len())
                    && numbers.iter().all(|&number| interval.contains(number))
            }
            _ => false,
        })
    }

    /// Returns the values that the key allows, as messages spell them.
    pub fn allowed(&self) -> String {
        form::spell(self.forms)
    }

    /// Returns whether the key applies with this value of the key at `selector`, as far as that one
    /// decides.
    pub fn applies_with(&self, selector: Selector, value: &str) -> bool {
        let mut conditions = self.when.iter();
        conditions
            .all(|condition| condition.selector != selector || condition.values.contains(&value))
    }

    /// Returns the values of the key at `selector` with which this key applies; `None` if that one
    /// does not decide.
    pub fn applicable(&self, selector: Selector) -> Option<&'static [&'static str]> {
        let condition = self.when.iter().find(|when| when.selector == selector);
        condition.map(|condition| condition.values)
    }

    /// Returns the default where the key always applies.
    pub fn unconditional_default(&self) -> Option<&'static str> {
        match self.presence {
            Presence::Default(text) if self.when.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// Returns the key at `selector`.
pub fn find((section, name): (&str, &str)) -> Option<&'static Key> {
    let mut sections = SECTIONS.into_iter().chain([&TOP]);
    sections.find(|known| known.name == section)?.key(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = (&'static SectionKeys, &'static Key)> {
        let sections = SECTIONS.into_iter().chain([&TOP]);
        sections.flat_map(|section| section.keys.iter().map(move |key| (section, key)))
    }

    /// Returns whether a TOML value has this form.
    fn has_form(value: &toml_edit::Value, form: &Form) -> bool {
        match form {
            Form::Boolean => value.is_bool(),
            Form::Word(words) => value.as_str().is_some_and(|word| words.contains(&word)),
            Form::Text { .. } => value.as_str().is_some_and(|text| !text.is_empty()),
            Form::Integer { least, most } => value
                .as_integer()
                .is_some_and(|number| (*least..=*most).contains(&number)),
            Form::Number(interval) => {
                let integer = value.as_integer().map(|number| number as f64);
                let number = value.as_float().or(integer);
                number.is_some_and(|number| interval.contains(number))
            }
            Form::Integers { .. } | Form::Texts { .. } | Form::Numbers { .. } => value.is_array(),
        }
    }

    fn assert_fits(key: &Key, text: &str) {
        let value: toml_edit::Value = text.parse().unwrap();
        let fits = key.forms.iter().any(|form| has_form(&value, form));
        assert!(fits, "{} = {text}", key.name);
    }

    #[test]
    fn every_default_and_example_is_a_value_that_the_key_allows() {
        for (_, key) in all() {
            match key.presence {
                Presence::Default(text) => assert_fits(key, text),
                Presence::DefaultBy(_, defaults) => {
                    defaults.iter().for_each(|(_, text)| assert_fits(key, text));
                }
                Presence::Required | Presence::Optional => {}
            }
            if let Some(example) = key.example {
                assert_fits(key, example.value);
            }
        }
    }

    #[test]
    fn a_section_lists_each_key_once() {
        for section in SECTIONS.into_iter().chain([&TOP]) {
            for (index, key) in section.keys.iter().enumerate() {
                let before = &section.keys[..index];
                assert!(
                    before.iter().all(|other| other.name != key.name),
                    "{}",
                    key.name
                );
            }
            assert!(
                section
                    .any_of
                    .iter()
                    .all(|name| section.key(name).is_some())
            );
        }
    }

    #[test]
    fn conditions_and_defaults_name_words_of_other_keys() {
        for (_, key) in all() {
            for condition in key.when {
                let words = find(condition.selector).unwrap().words();
                let known = |value: &&str| words.contains(value);
                assert!(condition.values.iter().all(known), "{}", key.name);
            }
            if let Presence::DefaultBy(selector, defaults) = key.presence {
                let words = find(selector).unwrap().words();
                let known = |(value, _): &(&str, &str)| words.contains(value);
                assert!(defaults.iter().all(known), "{}", key.name);
            }
        }
    }
}
