//! The JSON Schema of configs: the committed file is current, every config of the repository
//! satisfies it, and it refuses what the reader refuses. The reference names every key.

use std::collections::BTreeSet;
use std::path::Path;

use nplus1::config::keys::{Condition, Form, Key, Presence, SECTIONS, SectionKeys, TOP};
use nplus1::config::{Config, Overrides, schema, starter};
use serde_json::{Map, Value, json};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Converts a TOML document to JSON.
fn document(text: &str) -> Value {
    let document: toml_edit::DocumentMut = text.parse().unwrap();
    table(document.as_table())
}

fn table(members: &dyn toml_edit::TableLike) -> Value {
    let members = members.iter().map(|(key, item)| {
        let member = match item {
            toml_edit::Item::Value(value) => json_of(value),
            item => table(item.as_table_like().unwrap()),
        };
        (key.to_owned(), member)
    });
    members.collect::<Map<_, _>>().into()
}

fn json_of(value: &toml_edit::Value) -> Value {
    match value {
        toml_edit::Value::String(text) => json!(text.value()),
        toml_edit::Value::Integer(number) => json!(number.value()),
        toml_edit::Value::Float(number) => json!(number.value()),
        toml_edit::Value::Boolean(flag) => json!(flag.value()),
        toml_edit::Value::Array(list) => list.iter().map(json_of).collect(),
        toml_edit::Value::InlineTable(members) => table(members),
        toml_edit::Value::Datetime(date) => panic!("{date}: JSON has no dates"),
    }
}

/// Returns whether `value` satisfies `schema`, of which only the keywords are known that the schema
/// of configs has.
fn satisfies(value: &Value, schema: &Value) -> bool {
    let Value::Object(keywords) = schema else {
        return schema.as_bool().unwrap();
    };
    let number = value.as_f64();
    let length = value.as_array().map(Vec::len);
    let at_most = |bound: &Value, length: Option<usize>| {
        length.is_none_or(|length| length <= bound.as_u64().unwrap() as usize)
    };
    keywords
        .iter()
        .all(|(keyword, rule)| match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => has_type(value, rule.as_str().unwrap()),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "minimum" => number.is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => number.is_none_or(|number| number <= rule.as_f64().unwrap()),
            "exclusiveMinimum" => number.is_none_or(|number| number > rule.as_f64().unwrap()),
            "exclusiveMaximum" => number.is_none_or(|number| number < rule.as_f64().unwrap()),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() >= rule.as_u64().unwrap() as usize),
            "pattern" => value.as_str().is_none_or(|text| is_name(text, rule)),
            "items" => {
                let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
                items.iter().all(|item| satisfies(item, rule))
            }
            "minItems" => length.is_none_or(|length| length >= rule.as_u64().unwrap() as usize),
            "maxItems" => at_most(rule, length),
            "properties" => rule.as_object().unwrap().iter().all(|(name, schema)| {
                let member = value.get(name);
                member.is_none_or(|member| satisfies(member, schema))
            }),
            "required" => {
                let mut names = rule.as_array().unwrap().iter();
                !value.is_object() || names.all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "additionalProperties" => {
                assert_eq!(rule, &json!(false));
                let known = keywords["properties"].as_object().unwrap();
                let members = value.as_object();
                members.is_none_or(|members| members.keys().all(|name| known.contains_key(name)))
            }
            "anyOf" => rule
                .as_array()
                .unwrap()
                .iter()
                .any(|schema| satisfies(value, schema)),
            "allOf" => rule
                .as_array()
                .unwrap()
                .iter()
                .all(|schema| satisfies(value, schema)),
            "if" => !satisfies(value, rule) || satisfies(value, &keywords["then"]),
            "then" => keywords.contains_key("if"),
            other => panic!("the keyword {other} is not known here"),
        })
}

fn has_type(value: &Value, name: &str) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        other => panic!("the type {other} is not known here"),
    }
}

/// Matches the patterns of the schema: that of names, and that of separators.
fn is_name(text: &str, pattern: &Value) -> bool {
    if pattern == "^[\\t !#-/:-@\\[-`{-~]$" {
        let sign = |letter: char| letter.is_ascii_punctuation() && letter != '"';
        return text.chars().count() == 1
            && text
                .chars()
                .all(|letter| sign(letter) || " \t".contains(letter));
    }
    assert_eq!(pattern, "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$");
    let safe = |letter: char| letter.is_ascii_alphanumeric() || "_.-".contains(letter);
    (1..=100).contains(&text.len()) && text.chars().all(safe) && !text.starts_with(['.', '-'])
}

fn is_read(text: &str) -> bool {
    Config::parse(text, Path::new("a.toml"), &Overrides::default()).is_ok()
}

#[test]
fn the_committed_schema_is_current() {
    let text = std::fs::read_to_string(root().join("docs/config.schema.json")).unwrap();
    assert!(
        text == format!("{:#}\n", schema()),
        "`nplus1 config schema > docs/config.schema.json` writes it anew"
    );
}

#[test]
fn every_config_of_the_repository_satisfies_the_schema() {
    let schema = schema();
    let mut count = 0;
    for entry in std::fs::read_dir(root().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(satisfies(&document(&text), &schema), "{}", path.display());
        let config = Config::load(&path, &Overrides::default()).unwrap();
        let resolved = config.to_toml();
        assert!(satisfies(&document(&resolved), &schema), "{resolved}");
        count += 1;
    }
    assert!(count > 20, "{count}");
    assert!(satisfies(&document(&starter()), &schema));
}

/// A valid config, in which the tests break one thing.
const RIGHT: &str = "seed = 1
[data]
dataset = 'iris'
[model]
hidden = [8]
[optimizer]
learning_rate = 0.5
[train]
epochs = 3
";

#[test]
fn broken_configs_do_not_satisfy_the_schema() {
    let schema = schema();
    assert!(satisfies(&document(RIGHT), &schema) && is_read(RIGHT));
    let cases = [
        ("seed = 1", "seed = -1"),
        ("seed = 1", "sed = 1"),
        ("seed = 1", "name = 'a b'"),
        ("seed = 1", "[extra]\nseed = 1"),
        ("dataset = 'iris'", ""),
        ("dataset = 'iris'", "dataset = 'irises'"),
        ("dataset = 'iris'", "train = []"),
        ("dataset = 'iris'", "train = ['a', 'b', 'c']"),
        ("dataset = 'iris'", "dataset = 'iris'\nvalidation = 1.5"),
        ("hidden = [8]", ""),
        ("hidden = [8]", "hidden = [0]"),
        ("hidden = [8]", "hidden = 8"),
        ("hidden = [8]", "hidden = [8]\nbias = 1"),
        ("hidden = [8]", "hidden = [8]\noutput = 'relu'"),
        ("[optimizer]\nlearning_rate = 0.5", ""),
        ("learning_rate = 0.5", ""),
        ("learning_rate = 0.5", "learning_rate = 0"),
        ("learning_rate = 0.5", "learning_rate = '0.5'"),
        ("learning_rate = 0.5", "kind = 'adams'"),
        ("learning_rate = 0.5", "kind = 'adam'\nmomentum = 0.5"),
        ("learning_rate = 0.5", "kind = 'lbfgs'\nlearning_rate = 0.5"),
        (
            "learning_rate = 0.5",
            "kind = 'lbfgs'\n[train]\nbatch_size = 3",
        ),
        ("learning_rate = 0.5", "learning_rate = 0.5\nmemory = 3"),
        ("learning_rate = 0.5", "learning_rate = 0.5\nstep_every = 3"),
        (
            "learning_rate = 0.5",
            "learning_rate = 0.5\nschedule = 'step'",
        ),
        ("epochs = 3", ""),
        ("epochs = 3", "epochs = 0"),
        ("epochs = 3", "epochs = 3\n[run]\nthreads = 'many'"),
        ("epochs = 3", "epochs = 3\n[gradient]\nevaluation = 'full'"),
        (
            "epochs = 3",
            "epochs = 3\n[gradient]\nmethod = 'spsa'\nperturbed = 'weights'",
        ),
    ];
    for (line, by) in cases {
        let mut text = RIGHT.replace(line, by);
        assert_ne!(text, RIGHT);
        if by.contains("[train]") {
            text = text.replace("[train]\nepochs", "epochs");
        }
        assert!(!satisfies(&document(&text), &schema), "{text}");
        assert!(!is_read(&text), "{text}");
    }
    for (line, by) in [
        ("learning_rate = 0.5", "kind = 'adam'"),
        ("learning_rate = 0.5", "kind = 'lbfgs'\nmemory = 3"),
        (
            "learning_rate = 0.5",
            "learning_rate = 1\nschedule = 'step'\nstep_every = 3",
        ),
        ("epochs = 3", "max_seconds = 0.5\n[run]\nthreads = 2"),
    ] {
        let text = RIGHT.replace(line, by);
        assert!(satisfies(&document(&text), &schema), "{text}");
        assert!(is_read(&text), "{text}");
    }
}

/// Returns values that the key refuses, at the borders of its forms.
fn refused(key: &Key) -> Vec<String> {
    let mut values = vec!["{}".to_owned(), "[[]]".to_owned()];
    match key.forms {
        [Form::Boolean] => values.extend(["1", "'true'"].map(str::to_owned)),
        [Form::Word(words)] => {
            values.extend(["1", "''", "'other'", "true"].map(str::to_owned));
            values.extend(
                words
                    .iter()
                    .map(|word| format!("'{}'", word.to_uppercase())),
            );
        }
        [Form::Integer { least, most }] => {
            values.extend(["'1'", "true", "1.5"].map(str::to_owned));
            values.push((least - 1).to_string());
            values.extend(most.checked_add(1).map(|above| above.to_string()));
        }
        [Form::Number(interval)] => {
            values.extend(["'1'", "true", "-1e-9"].map(str::to_owned));
            let borders = [0.0, 1.0, 1e9];
            let outside = borders
                .into_iter()
                .filter(|number| !interval.contains(*number));
            values.extend(outside.map(|number| format!("{number:?}")));
        }
        _ => values.push("false".to_owned()),
    }
    values
}

/// Returns the lines of a config in which the key applies.
fn base(conditions: &[Condition]) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("data", "dataset = 'iris'".to_owned()),
        ("model", "hidden = [8]".to_owned()),
        ("train", "epochs = 3".to_owned()),
    ];
    for Condition { selector, values } in conditions {
        lines.push((selector.0, format!("{} = '{}'", selector.1, values[0])));
    }
    let kind = conditions
        .iter()
        .find(|condition| condition.selector.1 == "kind");
    if kind.is_none_or(|condition| condition.values[0] == "sgd") {
        lines.push(("optimizer", "learning_rate = 0.5".to_owned()));
    }
    lines
}

/// Returns a config of the base and one more line, which replaces the base's line of that key.
fn with(section: &SectionKeys, key: &Key, value: &str) -> String {
    let mut lines = base(key.when);
    let beginning = format!("{} =", key.name);
    lines.retain(|(of, line)| *of != section.name || !line.starts_with(&beginning));
    lines.push((section.name, format!("{} = {value}", key.name)));
    let mut text = String::new();
    for section in [&TOP].into_iter().chain(SECTIONS) {
        if !section.name.is_empty() {
            text += &format!("[{}]\n", section.name);
        }
        for (_, line) in lines.iter().filter(|(of, _)| *of == section.name) {
            text += &format!("{line}\n");
        }
    }
    text
}

#[test]
fn the_schema_and_the_reader_refuse_the_same_values_of_each_key() {
    let schema = schema();
    let (mut count, mut taken) = (0, 0);
    for section in [&TOP].into_iter().chain(SECTIONS) {
        for key in section.keys {
            for value in refused(key) {
                let text = with(section, key, &value);
                assert!(!is_read(&text), "{text}");
                assert!(!satisfies(&document(&text), &schema), "{text}");
                count += 1;
            }
            if let Presence::Default(value) = key.presence
                && key.name != "step_factor"
            {
                let text = with(section, key, value);
                assert!(is_read(&text), "{text}");
                assert!(satisfies(&document(&text), &schema), "{text}");
                taken += 1;
            }
        }
    }
    assert!(count > 200 && taken > 20, "{count}, {taken}");
}

/// Returns the part of the reference about configs.
fn reference() -> String {
    let text = std::fs::read_to_string(root().join("docs/reference.md")).unwrap();
    let start = text.find("\n## Configuration\n").unwrap();
    let end = text[start + 4..].find("\n## ").unwrap();
    text[start..start + 4 + end].to_owned()
}

#[test]
fn the_reference_names_every_key_and_no_other() {
    let text = reference();
    let (_, rest) = text.split_once("```toml\n").unwrap();
    let (example, prose) = rest.split_once("```").unwrap();
    let mut named = BTreeSet::new();
    let mut section = String::new();
    for line in example.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']').to_owned();
        }
        let comment = line.trim_start_matches("# ");
        for part in comment.split([' ', ';']).collect::<Vec<_>>().windows(2) {
            let name = part[0];
            let is_key = part[1] == "=" && name.chars().all(|c| c == '_' || c.is_alphanumeric());
            if is_key && !name.is_empty() {
                named.insert((section.clone(), name.to_owned()));
            }
        }
    }
    // In the prose, a key without a section belongs to the section named before it.
    let (_, prose) = prose.split_once("The other keys:").unwrap();
    let (prose, _) = prose.split_once(". `").unwrap();
    for quoted in prose.split('`').skip(1).step_by(2) {
        let name = match quoted.split_once('.') {
            Some((of, name)) => {
                section = of.to_owned();
                name
            }
            None => quoted,
        };
        named.insert((section.clone(), name.to_owned()));
    }
    for (section, name) in &named {
        let mut known = [&TOP].into_iter().chain(SECTIONS);
        let known = known.find(|known| known.name == section).unwrap();
        assert!(known.key(name).is_some(), "[{section}] has no `{name}`");
    }
    for section in [&TOP].into_iter().chain(SECTIONS) {
        for key in section.keys {
            let name = (section.name.to_owned(), key.name.to_owned());
            // `or max_steps; max_seconds alone or with either`
            let mentioned = example.contains(key.name) && section.name == "train";
            assert!(named.contains(&name) || mentioned, "{name:?} is not named");
        }
    }
}
