//! Changes of a config by the command line: `--set KEY=VALUE`, `--seed`, `--threads`.
//!
//! They edit the document before it is read, so that they pass the same checks as the file, and
//! keep their arguments, so that a fault can name the argument. A value is TOML; a bare word is
//! text. A section that the file lacks is created. Refused: a key inside something that is not a
//! section.

use std::ops::Range;

use toml_edit::{Item, Key, Table, TableLike, Value};

use super::diagnostic::{Diagnostic, Location};

/// The changes of a config by the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Assignments `KEY=VALUE`, the key with its section: `train.epochs=3`. Later ones win.
    pub set: Vec<String>,
    /// The value of `seed`; it wins over the file and `set`.
    pub seed: Option<u64>,
    /// The value of `run.threads`; it wins over the file and `set`.
    pub threads: Option<usize>,
}

/// A change that was made, with its argument.
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

    /// Returns whether the edit set the key at `path`, or a section around it.
    pub(super) fn sets(&self, path: &[&str]) -> bool {
        self.path.len() <= path.len()
            && self
                .path
                .iter()
                .zip(path)
                .all(|(part, other)| part == other)
    }

    /// Returns whether the edit set a key inside `path`.
    pub(super) fn is_inside(&self, path: &[&str]) -> bool {
        self.path.len() > path.len()
            && self
                .path
                .iter()
                .zip(path)
                .all(|(part, other)| part == other)
    }

    /// Returns the place of the key.
    pub(super) fn key(&self) -> Location {
        self.place(self.key.clone())
    }

    /// Returns the place of the value.
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

/// Applies the overrides to `root` and returns the edits made; adds those that cannot be made to
/// `diagnostics`.
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

/// Reads an option with a number, such as `--seed 7`.
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

/// Reads one `KEY=VALUE`.
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
        return Err(refuse("missing `=`".to_owned(), whole, "KEY=VALUE"));
    };
    let (key, value) = (&assignment[..equals], assignment[equals + 1..].trim());
    if key.trim().is_empty() {
        return Err(refuse(
            "missing key before the `=`".to_owned(),
            whole,
            "KEY=VALUE",
        ));
    }
    if value.is_empty() {
        return Err(refuse(
            "missing value after the `=`".to_owned(),
            whole,
            "KEY=VALUE",
        ));
    }
    let path = Key::parse(key.trim()).map_err(|error| {
        let problem = format!("`{}` is not a key: {}", key.trim(), error.message());
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

/// Returns whether a value that is not TOML is taken as text: a word or a file name, which one does
/// not quote in a shell. A value that begins like a TOML string, list or table, or holds no letter,
/// is malformed TOML instead.
fn is_bare_word(value: &str) -> bool {
    !value.starts_with(['"', '\'', '[', '{', '='])
        && value.contains(char::is_alphabetic)
        && !value.contains(char::is_control)
}

/// Inserts the value at its path; creates sections that are absent.
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
                    format!("`{section}` is not a section, so no key can be set inside it"),
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
