//! The keys of one section, by type and range.
//!
//! A getter gives a value of the type asked for, whatever the file holds: where it holds something
//! else, the fault is noted and a stand-in is returned, so that reading goes on and finds the other
//! faults. A config with faults is never handed out, so a stand-in never leaves this module's
//! callers.

use std::ops::RangeInclusive;

use toml_edit::{Item, TableLike, Value};

use super::diagnostic::{Diagnostic, Location};
use super::keys::{self, Presence};
use super::messages::{describe, describe_value, nearest, spell_range};
use super::reader::Reader;

/// One section being read.
pub(super) struct SectionReader<'r, 'a> {
    reader: &'r Reader<'a>,
    schema: &'static keys::SectionKeys,
    table: Option<&'a dyn TableLike>,
}

/// What a key holds, and where.
pub(super) struct FieldValue {
    name: &'static str,
    pub(super) item: Item,
    pub(super) place: Location,
}

impl<'r, 'a> SectionReader<'r, 'a> {
    /// The section that `schema` describes; `table` is what the file has of it.
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

    /// The key's value: the file's, or its default; `None` where there is neither. A key that is
    /// required and absent is a fault.
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
                self.lack(name);
                None
            }
        }
    }

    /// Notes that a key is absent and needed.
    pub(super) fn lack(&self, name: &'static str) {
        let (section, key) = (self.schema.name, self.schema.key(name));
        let about = key.map_or("", |key| key.about);
        self.reader.missing(
            section,
            format!("[{section}] lacks `{name}`"),
            &format!("add `{name} = …` under [{section}]"),
            format!("`{name}`: {about}"),
        );
        self.fault(name);
    }

    /// A whole number in a range.
    pub(super) fn integer(&self, name: &'static str, range: RangeInclusive<i64>) -> i64 {
        let low = *range.start();
        self.optional_integer(name, range).unwrap_or(low)
    }

    /// A whole number in a range, if the key is there.
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

    /// A finite number that `accept` accepts.
    pub(super) fn number(
        &self,
        name: &'static str,
        accept: impl Fn(f64) -> bool,
        allowed: &str,
    ) -> f64 {
        self.optional_number(name, accept, allowed)
            .unwrap_or(f64::NAN)
    }

    /// A finite number that `accept` accepts, if the key is there.
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

    /// `true` or `false`.
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

    /// Text.
    pub(super) fn optional_text(&self, name: &'static str) -> Option<(String, Location)> {
        let field = self.field(name)?;
        match field.item.as_str() {
            Some(text) => Some((text.to_owned(), field.place)),
            None => self.wrong_type(&field, "text", "text in quotes"),
        }
    }

    /// One of some words.
    pub(super) fn word<T: Copy>(&self, name: &'static str, words: &[(&str, T)]) -> T {
        self.optional_word(name, words).unwrap_or(words[0].1)
    }

    /// One of some words, if the key is there.
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

    /// Whole numbers in a range, at most `most` of them.
    pub(super) fn integers(
        &self,
        name: &'static str,
        range: RangeInclusive<i64>,
        most: usize,
    ) -> Vec<i64> {
        let Some(field) = self.field(name) else {
            return Vec::new();
        };
        let each = spell_range(&range);
        let allowed = format!("a list of at most {most}, each {each}");
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
                        out_of_range(&format!("{name}[{index}]"), &entry, &each),
                    );
                }
                _ => {
                    let name = format!("{name}[{index}]");
                    self.refuse::<()>(&entry, wrong_type(&name, &entry, "an integer", &each));
                }
            }
        }
        integers
    }

    /// The place of a list's entry: its own, or that of the argument that set the list.
    pub(super) fn entry_place(&self, list: &FieldValue, entry: &Value) -> Location {
        match (&list.place, entry.span()) {
            (Location::File(_), Some(span)) => Location::File(span),
            _ => list.place.clone(),
        }
    }

    /// Notes that a value is of the wrong type.
    pub(super) fn wrong_type<T>(
        &self,
        field: &FieldValue,
        expected: &str,
        allowed: &str,
    ) -> Option<T> {
        self.refuse(field, wrong_type(field.name, field, expected, allowed))
    }

    /// Notes that a value is out of range.
    pub(super) fn out_of_range<T>(&self, field: &FieldValue, allowed: &str) -> Option<T> {
        self.refuse(field, out_of_range(field.name, field, allowed))
    }

    /// Notes a fault of a value.
    pub(super) fn refuse<T>(&self, field: &FieldValue, diagnostic: Diagnostic) -> Option<T> {
        self.fault(field.name);
        self.reader.refuse(diagnostic);
        None
    }

    fn fault(&self, name: &'static str) {
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
