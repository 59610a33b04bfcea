//! The commented config that `nplus1 config init` writes, from the table of keys.

use std::fmt::Write;

use super::keys::{self, Example, Key, SectionKeys};

/// What the file says before its keys.
const HEAD: &str = "\
# A config of nplus1. A line that begins with \"# key =\" shows a key with its default or an example;
# remove the \"# \" to set it. `nplus1 config check FILE` lists all errors of a file,
# `nplus1 config show FILE` prints it with every default filled in.
";

/// The column of the comments behind keys, from 0.
const NOTES: usize = 30;

/// Returns a commented config that trains, as a starting point.
pub fn starter() -> String {
    let mut text = HEAD.to_owned();
    for section in [&keys::TOP].into_iter().chain(keys::SECTIONS) {
        text.push('\n');
        if !section.name.is_empty() {
            let _ = writeln!(text, "[{}]", section.name);
        }
        for key in in_order(section) {
            if let Some(example) = &key.example {
                write_line(&mut text, key.name, example);
            }
        }
    }
    text
}

/// Returns the keys that apply with the values that the starter sets, then the others.
fn in_order(section: &SectionKeys) -> Vec<&'static Key> {
    let selectors: Vec<&Key> = section
        .keys
        .iter()
        .filter(|key| key.when.is_empty())
        .collect();
    let mut keys: Vec<&Key> = section.keys.iter().collect();
    keys.sort_by_key(|key| {
        !selectors.iter().all(|selector| match &selector.example {
            Some(example) => {
                let value = example.value.trim_matches('"');
                key.applies_with((section.name, selector.name), value)
            }
            None => true,
        })
    });
    keys
}

/// Writes the line of a key, and the lines of its comments.
fn write_line(text: &mut String, name: &str, example: &Example) {
    if !example.before.is_empty() {
        let _ = writeln!(text, "# {}", example.before);
    }
    let mark = if example.is_set { "" } else { "# " };
    let mut line = format!("{mark}{name} = {}", example.value);
    for note in example.note.lines() {
        let least = usize::from(!line.is_empty());
        let pad = NOTES.saturating_sub(line.chars().count()).max(least);
        let _ = write!(line, "{:pad$}# {note}", "");
        text.push_str(&line);
        text.push('\n');
        line.clear();
    }
    if !line.is_empty() {
        text.push_str(&line);
        text.push('\n');
    }
}
