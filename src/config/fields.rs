//! Typed access to the keys of one section.
//!
//! A getter always returns a value of its type. If the file holds something else, the getter
//! records a fault and returns a placeholder, so that reading goes on and finds the other faults. A
//! config with faults is never returned, so no placeholder leaves the config's reader.

use std::ops::RangeInclusive;

use toml_edit::{Item, TableLike, Value};

use super::diagnostic::{Diagnostic, Location};
use super::keys::{self, Form, Key, Presence};
use super::messages::{describe, describe_value, nearest, spell_range};
use super::reader::Reader;

/// A section being read.
pub(super) struct SectionReader<'r, 'a> {
    reader: &'r Reader<'a>,
    schema: &'static keys::SectionKeys,
    table: Option<&'a dyn TableLike>,
}

/// The value of a key, and its place.
pub(super) struct FieldValue {
    pub(super) key: &'static Key,
    pub(super) item: Item,
    pub(super) place: Location,
}

impl<'r, 'a> SectionReader<'r, 'a> {
    /// Creates a reader of the section that `schema` describes; `table` is its content in the file.
    pub(super) fn new(
        reader: &'r Reader<'a>,
        schema: &'static keys::SectionKeys,
        table: Option<&'a dyn TableLike>,
    ) -> Self {
        Self {
            reader,
            schema,
            table,
        }
    }

    /// Returns the key's value from the file, or else its default if it always applies; `None` if
    /// there is neither. Records a fault if the key is always required and absent.
    pub(super) fn field(&self, name: &'static str) -> Option<FieldValue> {
        let key = self.key(name);
        if let Some(item) = self.table.and_then(|table| table.get(name)) {
            let path = [self.schema.name, name];
            let path = if path[0].is_empty() {
                &path[1..]
            } else {
                &path
            };
            return Some(FieldValue {
                key,
                item: item.clone(),
                place: self.reader.value_place(path, item.span()),
            });
        }
        if key.presence == Presence::Required && key.when.is_empty() {
            self.refuse_missing(name);
        }
        let text = key.unconditional_default()?;
        Some(self.default_value(key, text))
    }

    /// Returns whether the config has the key.
    pub(super) fn is_given(&self, name: &'static str) -> bool {
        let table = self.table.as_ref();
        table.is_some_and(|table| table.get(name).is_some())
    }

    /// Returns the value of a key that applies here: from the file, or else its default.
    fn applicable_field(&self, name: &'static str) -> Option<FieldValue> {
        self.field(name).or_else(|| match self.key(name).presence {
            Presence::Default(text) => Some(self.default_value(self.key(name), text)),
            Presence::Required | Presence::Optional | Presence::DefaultBy(..) => None,
        })
    }

    fn default_value(&self, key: &'static Key, text: &str) -> FieldValue {
        FieldValue {
            key,
            item: Item::Value(text.parse().expect("a test parses every default")),
            place: self.reader.end(),
        }
    }

    /// Returns the key's description.
    pub(super) fn key(&self, name: &'static str) -> &'static Key {
        let key = self.schema.key(name);
        key.expect("the table lists every key that is read")
    }

    /// Returns whether the section needs one of several keys and none of them is given.
    pub(super) fn lacks_all_alternatives(&self) -> bool {
        let mut alternatives = self.schema.any_of.iter();
        alternatives.all(|name| self.field(name).is_none())
    }

    /// Records that a required key is absent.
    pub(super) fn refuse_missing(&self, name: &'static str) {
        let (section, about) = (self.schema.name, self.key(name).about);
        self.reader.refuse_missing(
            section,
            format!("missing key `{name}` in [{section}]"),
            &format!("add `{name} = …` under [{section}]"),
            format!("`{name}`: {about}"),
        );
        self.mark_faulty(name);
    }

    /// Reads an integer that has a default.
    pub(super) fn integer(&self, name: &'static str) -> i64 {
        let field = self.applicable_field(name);
        field.and_then(|field| self.to_integer(&field)).unwrap_or(1)
    }

    /// Reads an integer, if the key is present.
    pub(super) fn optional_integer(&self, name: &'static str) -> Option<i64> {
        self.to_integer(&self.field(name)?)
    }

    fn to_integer(&self, field: &FieldValue) -> Option<i64> {
        let allowed = field.key.allowed();
        match field.item.as_integer() {
            Some(number) if field.key.allows_integer(number) => Some(number),
            Some(_) => self.out_of_range(field, &allowed),
            None => self.wrong_type(field, "an integer", &allowed),
        }
    }

    /// Reads a number that has a default.
    pub(super) fn number(&self, name: &'static str) -> f64 {
        let field = self.applicable_field(name);
        let number = field.and_then(|field| self.to_number(&field, &field.key.allowed()));
        number.unwrap_or(f64::NAN)
    }

    /// Reads a number, if the key is present.
    pub(super) fn optional_number(&self, name: &'static str) -> Option<f64> {
        let field = self.field(name)?;
        self.to_number(&field, &field.key.allowed())
    }

    /// Returns the value of a key whose default depends on another key, here with the value `value`.
    /// Records a fault if the key is absent and has no default with that value.
    fn field_by(&self, name: &'static str, value: &str) -> Option<FieldValue> {
        let field = self.applicable_field(name);
        field.or_else(|| match self.key(name).presence {
            Presence::DefaultBy(_, defaults) => {
                let default = defaults.iter().find(|(with, _)| *with == value);
                if default.is_none() {
                    self.refuse_missing(name);
                }
                default.map(|(_, text)| self.default_value(self.key(name), text))
            }
            Presence::Default(_) | Presence::Required | Presence::Optional => None,
        })
    }

    /// Reads a number that has a default with the value `value` of another key, or is required.
    pub(super) fn number_by(&self, name: &'static str, value: &str) -> f64 {
        let field = self.field_by(name, value);
        let number = field.and_then(|field| self.to_number(&field, &field.key.allowed()));
        number.unwrap_or(f64::NAN)
    }

    /// Reads a word that has a default with the value `value` of another key, as
    /// [`SectionReader::word`] does.
    pub(super) fn word_by<T: Copy>(
        &self,
        name: &'static str,
        value: &str,
        words: &[(&str, T)],
    ) -> T {
        let field = self.field_by(name, value);
        let value = field.and_then(|field| self.to_word(&field, words));
        value.unwrap_or(words[0].1)
    }

    /// Converts a value to a number; `allowed` is what messages say.
    pub(super) fn to_number(&self, field: &FieldValue, allowed: &str) -> Option<f64> {
        let value = match &field.item {
            Item::Value(Value::Integer(value)) => *value.value() as f64,
            Item::Value(Value::Float(value)) => *value.value(),
            _ => return self.wrong_type(field, "a number", allowed),
        };
        if !value.is_finite() {
            return self.wrong_type(field, "a finite number", allowed);
        }
        if !field.key.allows_number(value) {
            return self.out_of_range(field, allowed);
        }
        Some(value)
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&self, name: &'static str) -> bool {
        let Some(field) = self.applicable_field(name) else {
            return false;
        };
        match &field.item {
            Item::Value(Value::Boolean(value)) => *value.value(),
            _ => self
                .wrong_type(&field, "a boolean", &field.key.allowed())
                .unwrap_or(false),
        }
    }

    /// Reads text, if the key is present.
    pub(super) fn optional_text(&self, name: &'static str) -> Option<(String, Location)> {
        let field = self.field(name)?;
        match field.item.as_str() {
            Some(text) => Some((text.to_owned(), field.place)),
            None => self.wrong_type(&field, "text", "text in quotes"),
        }
    }

    /// Reads one of the key's words, which has a default, as the value beside it in `words`; a word
    /// that is refused has the first value as its placeholder.
    pub(super) fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> T {
        self.known_word(name, words).unwrap_or(words[0].1)
    }

    /// Reads one of the words of a key without a default, if it is present and not refused.
    pub(super) fn optional_word<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        self.to_word(&self.field(name)?, words)
    }

    /// Reads one of the key's words, which has a default; `None` if it is refused.
    pub(super) fn known_word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> Option<T> {
        self.to_word(&self.applicable_field(name)?, words)
    }

    /// Converts a word of the key to the value beside it in `words`, which has the key's words in
    /// their order.
    fn to_word<T: Copy>(&self, field: &FieldValue, words: &[(&str, T)]) -> Option<T> {
        let (name, allowed) = (field.key.name, field.key.allowed());
        debug_assert!(
            words.iter().map(|(word, _)| word).eq(field.key.words()),
            "`{name}` has other words in the table of keys"
        );
        let Some(found) = field.item.as_str() else {
            return self.wrong_type(field, "text", &allowed);
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return Some(*value);
        }
        let near = nearest(found, field.key.words().iter().copied());
        self.refuse(
            field,
            Diagnostic::new(
                format!("unknown {name} {}", describe_value(&field.item)),
                field.place.clone(),
                format!("allowed: {allowed}"),
            )
            .help(near.map(|near| format!("did you mean \"{near}\"?"))),
        )
    }

    /// Reads a list of integers.
    pub(super) fn integers(&self, name: &'static str) -> Vec<i64> {
        let Some(field) = self.field(name) else {
            return Vec::new();
        };
        let forms = field.key.forms.iter();
        let (range, entries) = forms
            .filter_map(|form| match form {
                Form::Integers {
                    least,
                    most,
                    entries,
                } => Some((*least..=*most, *entries)),
                _ => None,
            })
            .next()
            .unwrap_or((0..=i64::MAX, usize::MAX));
        let allowed = field.key.allowed();
        let Some(list) = field.item.as_array() else {
            return self
                .wrong_type(&field, "a list of integers", &allowed)
                .unwrap_or_default();
        };
        if list.len() > entries {
            let found = format!("`{name}` has too many entries: found {}", list.len());
            let fault = Diagnostic::new(found, field.place.clone(), format!("allowed: {allowed}"));
            return self.refuse(&field, fault).unwrap_or_default();
        }
        let indexed = list.iter().enumerate();
        indexed
            .filter_map(|(index, value)| self.entry(&field, index, value, &range))
            .collect()
    }

    /// Reads an entry of a list of integers.
    fn entry(
        &self,
        list: &FieldValue,
        index: usize,
        value: &Value,
        range: &RangeInclusive<i64>,
    ) -> Option<i64> {
        let entry = FieldValue {
            key: list.key,
            item: Item::Value(value.clone()),
            place: self.entry_place(list, value),
        };
        let name = format!("{}[{index}]", list.key.name);
        let allowed = spell_range(range);
        let fault = match value.as_integer() {
            Some(number) if range.contains(&number) => return Some(number),
            Some(_) => out_of_range(&name, &entry, &allowed),
            None => wrong_type(&name, &entry, "an integer", &allowed),
        };
        self.refuse(&entry, fault)
    }

    /// Returns the place of a list's entry, or of the argument that set the list.
    pub(super) fn entry_place(&self, list: &FieldValue, entry: &Value) -> Location {
        match (&list.place, entry.span()) {
            (Location::File(_), Some(span)) => Location::File(span),
            _ => list.place.clone(),
        }
    }

    /// Records a value of the wrong type.
    pub(super) fn wrong_type<T>(
        &self,
        field: &FieldValue,
        expected: &str,
        allowed: &str,
    ) -> Option<T> {
        self.refuse(field, wrong_type(field.key.name, field, expected, allowed))
    }

    /// Records a value out of range.
    pub(super) fn out_of_range<T>(&self, field: &FieldValue, allowed: &str) -> Option<T> {
        self.refuse(field, out_of_range(field.key.name, field, allowed))
    }

    /// Records a fault of a value.
    pub(super) fn refuse<T>(&self, field: &FieldValue, diagnostic: Diagnostic) -> Option<T> {
        self.mark_faulty(field.key.name);
        self.reader.refuse(diagnostic);
        None
    }

    /// Remembers that a key has a fault, so that conflicts with it are not reported as well.
    fn mark_faulty(&self, name: &'static str) {
        self.reader
            .faulty
            .borrow_mut()
            .push((self.schema.name, name));
    }
}

fn wrong_type(name: &str, field: &FieldValue, expected: &str, allowed: &str) -> Diagnostic {
    let found = describe(&field.item);
    let number = expected != "text"
        && field
            .item
            .as_str()
            .is_some_and(|text| text.parse::<f64>().is_ok());
    let help = if number {
        Some("leave out the quotes".to_owned())
    } else if expected == "text" && field.item.is_value() {
        Some("put text in quotes: \"…\"".to_owned())
    } else {
        None
    };
    let message = format!("`{name}` must be {expected}, found {found}");
    Diagnostic::new(message, field.place.clone(), format!("allowed: {allowed}")).help(help)
}

fn out_of_range(name: &str, field: &FieldValue, allowed: &str) -> Diagnostic {
    let message = format!(
        "`{name}` is out of range: found {}",
        describe_value(&field.item)
    );
    Diagnostic::new(message, field.place.clone(), format!("allowed: {allowed}"))
}
