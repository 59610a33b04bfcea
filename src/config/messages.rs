//! Parts of error messages: the value found, the values allowed, and the nearest allowed name.

use std::ops::RangeInclusive;

use toml_edit::{Item, Value};

pub(super) use crate::data::suggestions::nearest;

/// Describes a value with its type: `the integer 3`, `the string "x"`, `a list`.
pub(super) fn describe(item: &Item) -> String {
    let kind = match item {
        Item::Value(Value::String(_)) => "the string",
        Item::Value(Value::Integer(_)) => "the integer",
        Item::Value(Value::Float(_)) => "the number",
        Item::Value(Value::Boolean(_)) => "the boolean",
        Item::Value(Value::Datetime(_)) => return "a date".to_owned(),
        Item::Value(Value::Array(_)) => return "a list".to_owned(),
        Item::Value(Value::InlineTable(_)) => return "a table".to_owned(),
        Item::Table(_) => return "a section".to_owned(),
        Item::ArrayOfTables(_) => return "a list of sections".to_owned(),
        Item::None => return "nothing".to_owned(),
    };
    format!("{kind} {}", describe_value(item))
}

/// Spells a value as in a config, long text cut.
pub(super) fn describe_value(item: &Item) -> String {
    match item {
        Item::Value(Value::Integer(value)) => value.value().to_string(),
        Item::Value(Value::Float(value)) => format!("{:?}", value.value()).to_lowercase(),
        Item::Value(Value::Boolean(value)) => value.value().to_string(),
        Item::Value(Value::String(value)) => {
            let text = value.value();
            match text.char_indices().nth(60) {
                Some((cut, _)) => format!("{:?}…", &text[..cut]),
                None => format!("{text:?}"),
            }
        }
        other => describe(other),
    }
}

/// Spells a range: `an integer from 1 to 1024`.
pub(super) fn spell_range(range: &RangeInclusive<i64>) -> String {
    if *range.end() == i64::MAX {
        format!("an integer, {} or more", range.start())
    } else {
        format!("an integer from {} to {}", range.start(), range.end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_between_characters() {
        let item = Item::Value(Value::from("é".repeat(500)));
        assert!(describe_value(&item).chars().count() < 70);
    }
}
