//! Changes of a config from the command line: `--set KEY=VALUE`, `--seed`, `--threads`.
//!
//! They edit the document before it is read, so that they meet the same checks as the file, and
//! leave behind where each came from, so that a fault can name the argument. A value is TOML; a
//! bare word is taken as text. A section that the file lacks is made; a key that is no section is
//! never walked into.

use std::ops::Range;

use toml_edit::{Item, Key, Table, TableLike, Value};

use super::diagnostic::{Diagnostic, Location};

/// What the command line changes in a config.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `KEY=VALUE` each, the key with its section: `train.epochs=3`. Later ones win.
    pub set: Vec<String>,
    /// `seed`, over the file and over `set`.
    pub seed: Option<u64>,
    /// `run.threads`, over the file and over `set`.
    pub threads: Option<usize>,
}

/// One change that was made, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    /// The argument with its flag: `--set train.epochs=0`.
    argument: String,
    /// The key's bytes in `argument`.
    key: Range<usize>,
    /// The value's bytes in `argument`.
    value: Range<usize>,
    /// The key's parts: `["train", "epochs"]`.
    path: Vec<String>,
}

impl Edit {
    fn new(argument: String, key: Range<usize>, value: Range<usize>, path: Vec<String>) -> Self {
        Self {
            argument,
            key,
            value,
            path,
        }
    }

    /// Whether it decided what is at `path`: it set that key, or the section around it.
    pub(super) fn decides(&self, path: &[&str]) -> bool {
        self.path.len() <= path.len() && self.path.iter().zip(path).all(|(own, other)| own == other)
    }

    /// Whether it set something inside `path`.
    pub(super) fn is_inside(&self, path: &[&str]) -> bool {
        self.path.len() > path.len() && self.path.iter().zip(path).all(|(own, other)| own == other)
    }

    /// The place of its key.
    pub(super) fn key(&self) -> Location {
        self.place(self.key.clone())
    }

    /// The place of its value.
    pub(super) fn value(&self) -> Location {
        self.place(self.value.clone())
    }

    fn place(&self, bytes: Range<usize>) -> Location {
        Location::Argument {
            text: self.argument.clone(),
            bytes,
        }
    }
}

/// Makes the changes; those that cannot be made are `diagnostics`.
pub(super) fn apply(
    root: &mut Table,
    overrides: &Overrides,
    diagnostics: &mut Vec<Diagnostic>,
) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut change = |change: Result<(Edit, Value), Diagnostic>| {
        let changed = change.and_then(|(edit, value)| {
            insert(root, &edit, value)?;
            Ok(edit)
        });
        match changed {
            Ok(edit) => edits.push(edit),
            Err(diagnostic) => diagnostics.push(diagnostic),
        }
    };
    for assignment in &overrides.set {
        change(parse(assignment));
    }
    if let Some(seed) = overrides.seed {
        change(flag("--seed", &["seed"], seed));
    }
    if let Some(threads) = overrides.threads {
        change(flag("--threads", &["run", "threads"], threads as u64));
    }
    edits
}

/// `--seed 7` and its like.
fn flag(flag: &str, path: &[&str], number: u64) -> Result<(Edit, Value), Diagnostic> {
    let argument = format!("{flag} {number}");
    let edit = Edit::new(
        argument.clone(),
        0..flag.len(),
        flag.len() + 1..argument.len(),
        path.iter().map(ToString::to_string).collect(),
    );
    match i64::try_from(number) {
        Ok(number) => Ok((edit, Value::from(number))),
        Err(_) => Err(Diagnostic::new(
            format!("`{}` is out of range: found {number}", path.join(".")),
            edit.value(),
            format!("allowed: at most {}", i64::MAX),
        )),
    }
}

/// One `KEY=VALUE`.
fn parse(assignment: &str) -> Result<(Edit, Value), Diagnostic> {
    const FLAG: &str = "--set ";
    let argument = format!("{FLAG}{assignment}");
    let refuse = |problem: String, bytes: Range<usize>, allowed: &str| {
        let place = Location::Argument {
            text: argument.clone(),
            bytes: FLAG.len() + bytes.start..FLAG.len() + bytes.end,
        };
        let example = "--set train.epochs=3, --set data.dataset=iris, --set model.hidden=[30,20]";
        Diagnostic::new(problem, place, format!("allowed: {allowed}"))
            .help(format!("write it like {example}"))
    };
    let whole = 0..assignment.len();
    let Some(equals) = assignment.find('=') else {
        return Err(refuse("no `=` in it".to_owned(), whole, "KEY=VALUE"));
    };
    let (key, value) = (&assignment[..equals], assignment[equals + 1..].trim());
    if key.trim().is_empty() {
        return Err(refuse(
            "no key before the `=`".to_owned(),
            whole,
            "KEY=VALUE",
        ));
    }
    if value.is_empty() {
        return Err(refuse(
            "no value after the `=`".to_owned(),
            whole,
            "KEY=VALUE",
        ));
    }
    let path = Key::parse(key.trim()).map_err(|error| {
        let problem = format!("`{}` is no key: {}", key.trim(), error.message());
        refuse(problem, 0..equals, "section.key")
    })?;
    let start = assignment.len() - assignment[equals + 1..].trim_start().len();
    let bytes = start..start + value.len();
    let read = match value.parse::<Value>() {
        Ok(read) => read,
        Err(_) if is_bare_word(value) => Value::from(value),
        Err(error) => {
            let problem = format!("the value is not TOML: {}", error.message());
            return Err(refuse(problem, bytes, "a TOML value, or a bare word"));
        }
    };
    let edit = Edit::new(
        argument.clone(),
        FLAG.len()..FLAG.len() + equals,
        FLAG.len() + bytes.start..FLAG.len() + bytes.end,
        path.iter().map(|key| key.get().to_owned()).collect(),
    );
    Ok((edit, read))
}

/// Text that nobody would quote in a shell: a word, a file name. What begins like a TOML string,
/// list or table, or is made of digits and signs alone, was meant as that and is malformed.
fn is_bare_word(value: &str) -> bool {
    !value.starts_with(['"', '\'', '[', '{', '='])
        && value.contains(char::is_alphabetic)
        && !value.contains(char::is_control)
}

/// Puts the value at its path, through sections that are there or are made.
fn insert(root: &mut Table, edit: &Edit, value: Value) -> Result<(), Diagnostic> {
    let Some((last, sections)) = edit.path.split_last() else {
        return Ok(());
    };
    let mut table: &mut dyn TableLike = root;
    for section in sections {
        if !table.contains_key(section) {
            table.insert(section, Item::Table(Table::new()));
        }
        table = table
            .get_mut(section)
            .and_then(Item::as_table_like_mut)
            .ok_or_else(|| {
                Diagnostic::new(
                    format!("`{section}` is no section, so nothing can be set inside it"),
                    edit.key(),
                    format!("allowed: {section}=VALUE"),
                )
            })?;
    }
    table.insert(last, Item::Value(value));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(text: &str, set: &[&str]) -> (Table, Vec<Diagnostic>) {
        let mut root = text
            .parse::<toml_edit::DocumentMut>()
            .unwrap()
            .as_table()
            .clone();
        let overrides = Overrides {
            set: set.iter().map(ToString::to_string).collect(),
            ..Overrides::default()
        };
        let mut diagnostics = Vec::new();
        apply(&mut root, &overrides, &mut diagnostics);
        (root, diagnostics)
    }

    #[test]
    fn a_value_is_toml_and_a_bare_word_is_text() {
        let set = [
            "a.b=3",
            "a.c=iris",
            "a.d=[1, 2]",
            "a.e=\"3\"",
            "a.f=2024.csv",
        ];
        let (root, diagnostics) = edited("", &set);
        assert!(diagnostics.is_empty(), "{diagnostics:?}");
        assert_eq!(root["a"]["b"].as_integer(), Some(3));
        assert_eq!(root["a"]["c"].as_str(), Some("iris"));
        assert_eq!(
            root["a"]["d"].as_array().map(toml_edit::Array::len),
            Some(2)
        );
        assert_eq!(root["a"]["e"].as_str(), Some("3"));
        assert_eq!(root["a"]["f"].as_str(), Some("2024.csv"));
    }

    #[test]
    fn later_changes_win_and_inline_sections_are_edited_in_place() {
        let (root, _) = edited("a = { b = 1, c = 2 }", &["a.b=5", "a.b=6"]);
        assert_eq!(root["a"]["b"].as_integer(), Some(6));
        assert_eq!(root["a"]["c"].as_integer(), Some(2));
    }

    #[test]
    fn malformed_changes_are_refused() {
        for set in [
            "epochs",
            "=3",
            "a=",
            "a= ",
            "a..b=1",
            "a=[1",
            "a=\"x",
            "a=99999999999999999999",
            "a=1 2",
            "a.b.c=1",
        ] {
            let (_, diagnostics) = edited("a = { b = 1 }", &[set]);
            assert_eq!(diagnostics.len(), 1, "{set}");
        }
    }
}
