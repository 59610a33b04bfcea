//! Typed access to the keys of one section.
//!
//! A getter always returns a value of its type. If the file holds something else, the getter
//! records a fault and returns a placeholder, so that reading goes on and finds the other faults. A
//! config with faults is never returned, so no placeholder leaves the config's reader.

use std::ops::RangeInclusive;

use toml_edit::{Item, TableLike, Value};

use super::diagnostic::{Diagnostic, Location};
use super::keys::{self, Presence};
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
    name: &'static str,
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

    /// Returns the key's value from the file, or else its default; `None` if there is neither.
    /// Records a fault if the key is required and absent.
    pub(super) fn field(&self, name: &'static str) -> Option<FieldValue> {
        let key = self
            .schema
            .key(name)
            .expect("the schema lists every key that is read");
        if let Some(item) = self.table.and_then(|table| table.get(name)) {
            let path = [self.schema.name, name];
            let path = if path[0].is_empty() {
                &path[1..]
            } else {
                &path
            };
            return Some(FieldValue {
                name,
                item: item.clone(),
                place: self.reader.value_place(path, item.span()),
            });
        }
        match key.presence {
            Presence::Optional => None,
            Presence::Default(text) => Some(FieldValue {
                name,
                item: Item::Value(text.parse().expect("a test parses every default")),
                place: self.reader.end(),
            }),
            Presence::Required => {
                self.refuse_missing(name);
                None
            }
        }
    }

    /// Records that a required key is absent.
    pub(super) fn refuse_missing(&self, name: &'static str) {
        let (section, key) = (self.schema.name, self.schema.key(name));
        let about = key.map_or("", |key| key.about);
        self.reader.refuse_missing(
            section,
            format!("missing key `{name}` in [{section}]"),
            &format!("add `{name} = …` under [{section}]"),
            format!("`{name}`: {about}"),
        );
        self.mark_faulty(name);
    }

    /// Reads an integer in a range.
    pub(super) fn integer(&self, name: &'static str, range: RangeInclusive<i64>) -> i64 {
        let low = *range.start();
        self.optional_integer(name, range).unwrap_or(low)
    }

    /// Reads an integer in a range, if the key is present.
    pub(super) fn optional_integer(
        &self,
        name: &'static str,
        range: RangeInclusive<i64>,
    ) -> Option<i64> {
        let field = self.field(name)?;
        let allowed = spell_range(&range);
        match &field.item {
            Item::Value(Value::Integer(value)) if range.contains(value.value()) => {
                Some(*value.value())
            }
            Item::Value(Value::Integer(_)) => self.out_of_range(&field, &allowed),
            _ => self.wrong_type(&field, "an integer", &allowed),
        }
    }

    /// Reads a finite number that `accept` accepts.
    pub(super) fn number(
        &self,
        name: &'static str,
        accept: impl Fn(f64) -> bool,
        allowed: &str,
    ) -> f64 {
        self.optional_number(name, accept, allowed)
            .unwrap_or(f64::NAN)
    }

    /// Reads a finite number that `accept` accepts, if the key is present.
    pub(super) fn optional_number(
        &self,
        name: &'static str,
        accept: impl Fn(f64) -> bool,
        allowed: &str,
    ) -> Option<f64> {
        let field = self.field(name)?;
        let value = match &field.item {
            Item::Value(Value::Integer(value)) => *value.value() as f64,
            Item::Value(Value::Float(value)) => *value.value(),
            _ => return self.wrong_type(&field, "a number", allowed),
        };
        if !value.is_finite() {
            return self.wrong_type(&field, "a finite number", allowed);
        }
        if !accept(value) {
            return self.out_of_range(&field, allowed);
        }
        Some(value)
    }

    /// Reads `true` or `false`.
    pub(super) fn boolean(&self, name: &'static str) -> bool {
        let Some(field) = self.field(name) else {
            return false;
        };
        match &field.item {
            Item::Value(Value::Boolean(value)) => *value.value(),
            _ => self
                .wrong_type(&field, "a boolean", "true or false")
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

    /// Reads one of `words`.
    pub(super) fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> T {
        self.optional_word(name, words).unwrap_or(words[0].1)
    }

    /// Reads one of `words`, if the key is present.
    pub(super) fn optional_word<T: Copy>(
        &self,
        name: &'static str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let field = self.field(name)?;
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
        let allowed = quoted.join(", ");
        let Some(found) = field.item.as_str() else {
            return self.wrong_type(&field, "text", &allowed);
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return Some(*value);
        }
        let near = nearest(found, words.iter().map(|(word, _)| *word));
        self.refuse(
            &field,
            Diagnostic::new(
                format!("unknown {name} {}", describe_value(&field.item)),
                field.place.clone(),
                format!("allowed: {allowed}"),
            )
            .help(near.map(|near| format!("did you mean \"{near}\"?"))),
        )
    }

    /// Reads a list of at most `most` integers in a range.
    pub(super) fn integers(
        &self,
        name: &'static str,
        range: RangeInclusive<i64>,
        most: usize,
    ) -> Vec<i64> {
        let Some(field) = self.field(name) else {
            return Vec::new();
        };
        let allowed_entry = spell_range(&range);
        let allowed = format!("a list of at most {most}, each {allowed_entry}");
        let Some(list) = field.item.as_array() else {
            return self
                .wrong_type(&field, "a list of integers", &allowed)
                .unwrap_or_default();
        };
        if list.len() > most {
            let found = format!("`{name}` has too many entries: found {}", list.len());
            let fault = Diagnostic::new(found, field.place.clone(), format!("allowed: {allowed}"));
            return self.refuse(&field, fault).unwrap_or_default();
        }
        let mut integers = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let entry = FieldValue {
                name,
                item: Item::Value(value.clone()),
                place: self.entry_place(&field, value),
            };
            match value {
                Value::Integer(value) if range.contains(value.value()) => {
                    integers.push(*value.value());
                }
                Value::Integer(_) => {
                    self.refuse::<()>(
                        &entry,
                        out_of_range(&format!("{name}[{index}]"), &entry, &allowed_entry),
                    );
                }
                _ => {
                    let name = format!("{name}[{index}]");
                    let fault = wrong_type(&name, &entry, "an integer", &allowed_entry);
                    self.refuse::<()>(&entry, fault);
                }
            }
        }
        integers
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
        self.refuse(field, wrong_type(field.name, field, expected, allowed))
    }

    /// Records a value out of range.
    pub(super) fn out_of_range<T>(&self, field: &FieldValue, allowed: &str) -> Option<T> {
        self.refuse(field, out_of_range(field.name, field, allowed))
    }

    /// Records a fault of a value.
    pub(super) fn refuse<T>(&self, field: &FieldValue, diagnostic: Diagnostic) -> Option<T> {
        self.mark_faulty(field.name);
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
