//! The JSON Schema of configs (draft 2020-12), from the table of keys.
//!
//! It knows types, words, ranges, defaults, required keys, and with which values of other keys a
//! key applies. Other combinations that conflict (`validation.rs`) are accepted by the schema and
//! refused by the reader.

use std::ops::Bound;

use serde_json::{Map, Value, json};

use super::keys::{self, Form, Interval, Key, Presence, SectionKeys, Selector};

/// Returns the schema.
pub fn schema() -> Value {
    let mut properties = members(&keys::TOP);
    for section in keys::SECTIONS {
        properties.insert(section.name.to_owned(), of_section(section));
    }
    let required: Vec<&str> = keys::SECTIONS
        .into_iter()
        .filter(|section| !section.any_of.is_empty() || !required(section).is_empty())
        .map(|section| section.name)
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Config of nplus1",
        "description": "Settings of a run: `nplus1 train CONFIG`",
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
        "allOf": conditions(),
    })
}

/// Returns the schema of a section.
fn of_section(section: &SectionKeys) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": members(section),
        "additionalProperties": false,
    });
    let required = required(section);
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    if !section.any_of.is_empty() {
        let alternatives = section.any_of.iter();
        schema["anyOf"] = alternatives
            .map(|name| json!({ "required": [name] }))
            .collect();
    }
    schema
}

/// Returns the keys that are always required.
fn required(section: &SectionKeys) -> Vec<&'static str> {
    let keys = section.keys.iter();
    keys.filter(|key| key.presence == Presence::Required && key.when.is_empty())
        .map(|key| key.name)
        .collect()
}

/// Returns the schema of each key of a section.
fn members(section: &SectionKeys) -> Map<String, Value> {
    let keys = section.keys.iter();
    keys.map(|key| (key.name.to_owned(), of_key(key))).collect()
}

fn of_key(key: &Key) -> Value {
    let mut schema = json!({ "description": key.about });
    let forms: Vec<Value> = key.forms.iter().map(of_form).collect();
    match &forms[..] {
        [Value::Object(form)] => {
            for (keyword, value) in form {
                schema[keyword] = value.clone();
            }
        }
        _ => schema["anyOf"] = forms.into(),
    }
    if let Presence::Default(text) = key.presence {
        schema["default"] = value(text);
    }
    schema
}

fn of_form(form: &Form) -> Value {
    match form {
        Form::Boolean => json!({ "type": "boolean" }),
        Form::Word(words) => json!({ "type": "string", "enum": words }),
        Form::Text { pattern: None } => json!({ "type": "string", "minLength": 1 }),
        Form::Text {
            pattern: Some(pattern),
        } => json!({ "type": "string", "pattern": pattern }),
        Form::Integer { least, most } => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Form::Number(interval) => of_interval(interval),
        Form::Integers {
            least,
            most,
            entries,
        } => json!({
            "type": "array",
            "items": { "type": "integer", "minimum": least, "maximum": most },
            "maxItems": entries,
        }),
        Form::Numbers {
            interval,
            least,
            most,
        } => json!({
            "type": "array",
            "items": of_interval(interval),
            "minItems": least,
            "maxItems": most,
        }),
        Form::Texts { least, most } => json!({
            "type": "array",
            "items": { "type": "string", "minLength": 1 },
            "minItems": least,
            "maxItems": most,
        }),
    }
}

fn of_interval(interval: &Interval) -> Value {
    let mut schema = json!({ "type": "number" });
    match interval.lower {
        Bound::Included(least) => schema["minimum"] = json!(least),
        Bound::Excluded(least) => schema["exclusiveMinimum"] = json!(least),
        Bound::Unbounded => {}
    }
    match interval.upper {
        Bound::Included(most) => schema["maximum"] = json!(most),
        Bound::Excluded(most) => schema["exclusiveMaximum"] = json!(most),
        Bound::Unbounded => {}
    }
    schema
}

/// Returns what each word of a key that decides about others says about them.
fn conditions() -> Vec<Value> {
    let mut rules = Vec::new();
    for section in [&keys::TOP].into_iter().chain(keys::SECTIONS) {
        for key in section.keys {
            let selector = (section.name, key.name);
            for word in key.words() {
                if let Some(consequence) = consequence(selector, word) {
                    rules.push(json!({ "if": is(selector, key, word), "then": consequence }));
                }
            }
        }
    }
    rules
}

/// Returns a schema of configs in which the key at `selector` has this word, also by default.
fn is((section, name): Selector, key: &Key, word: &str) -> Value {
    let known = json!({ "properties": { name: { "const": word } } });
    let mut schema = json!({ "properties": { section: known } });
    let by_default = matches!(key.presence, Presence::Default(text) if value(text) == word);
    if !by_default {
        schema["required"] = json!([section]);
        schema["properties"][section]["required"] = json!([name]);
    }
    schema
}

/// Returns what follows for other keys if the key at `selector` has this word: which of them do not
/// apply, which are required, and the defaults that depend on it. `None` if nothing follows.
fn consequence(selector: Selector, word: &str) -> Option<Value> {
    let mut sections = Map::new();
    let mut needed = Vec::new();
    for section in keys::SECTIONS {
        let mut properties = Map::new();
        let mut required = Vec::new();
        for key in section.keys {
            if !key.applies_with(selector, word) {
                properties.insert(key.name.to_owned(), json!(false));
                continue;
            }
            match key.presence {
                Presence::DefaultBy(by, defaults) if by == selector => {
                    match defaults.iter().find(|(with, _)| *with == word) {
                        Some((_, text)) => {
                            properties
                                .insert(key.name.to_owned(), json!({ "default": value(text) }));
                        }
                        None => required.push(key.name),
                    }
                }
                Presence::Required => {
                    let decides = key.when.last().map(|condition| condition.selector);
                    if decides == Some(selector) {
                        required.push(key.name);
                    }
                }
                Presence::Optional | Presence::Default(_) | Presence::DefaultBy(..) => {}
            }
        }
        let mut schema = Map::new();
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), properties.into());
        }
        if !required.is_empty() {
            schema.insert("required".to_owned(), json!(required));
            needed.push(section.name);
        }
        if !schema.is_empty() {
            sections.insert(section.name.to_owned(), schema.into());
        }
    }
    if sections.is_empty() {
        return None;
    }
    let mut schema = json!({ "properties": sections });
    if !needed.is_empty() {
        schema["required"] = json!(needed);
    }
    Some(schema)
}

/// Converts a TOML value of the table to JSON.
fn value(text: &str) -> Value {
    let value: toml_edit::Value = text.parse().expect("a test parses every default");
    match value {
        toml_edit::Value::String(text) => json!(text.value()),
        toml_edit::Value::Integer(number) => json!(number.value()),
        toml_edit::Value::Float(number) => json!(number.value()),
        toml_edit::Value::Boolean(flag) => json!(flag.value()),
        other => json!(other.to_string()),
    }
}
