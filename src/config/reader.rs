//! The reader of a whole config, which collects all faults.
//!
//! It locates each key (in the file, or in the argument that changed it), refuses unknown keys and
//! sections, and keeps all faults until the end. [`super::fields`] checks single values;
//! [`super::validation`] and the sections check combinations.

use std::cell::RefCell;
use std::ops::Range;

use toml_edit::{Item, Table, TableLike};

use super::diagnostic::{Diagnostic, Location};
use super::fields::SectionReader;
use super::keys;
use super::messages::{describe, nearest};
use super::overrides::Edit;

/// The names of a section and a key: `("loss", "kind")`.
pub(super) type Path<'p> = (&'p str, &'p str);

/// Unknown keys after which no more are looked for: the file is no config then.
pub(super) const MOST_UNKNOWN: usize = 100;

/// A config being read.
pub(super) struct Reader<'a> {
    pub(super) root: &'a Table,
    text: &'a str,
    edits: &'a [Edit],
    diagnostics: RefCell<Vec<Diagnostic>>,
    /// Keys whose value was refused: conflicts with them are not reported.
    pub(super) faulty: RefCell<Vec<(&'static str, &'static str)>>,
}

impl<'a> Reader<'a> {
    /// Creates a reader that has the faults found so far, and refuses unknown keys and sections.
    pub(super) fn new(
        root: &'a Table,
        text: &'a str,
        edits: &'a [Edit],
        diagnostics: Vec<Diagnostic>,
    ) -> Self {
        let reader = Self {
            root,
            text,
            edits,
            diagnostics: RefCell::new(diagnostics),
            faulty: RefCell::default(),
        };
        reader.refuse_unknown();
        reader
    }

    /// Returns all faults.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }

    /// Records a fault.
    pub(super) fn refuse(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// Returns the reader of a section; [`keys::TOP`] for the keys before the first.
    pub(super) fn section(&self, schema: &'static keys::SectionKeys) -> SectionReader<'_, 'a> {
        let table = if schema.name.is_empty() {
            Some(self.root as &dyn TableLike)
        } else {
            self.root.get(schema.name).and_then(Item::as_table_like)
        };
        SectionReader::new(self, schema, table)
    }

    /// Returns whether all these keys have a valid value or none, in a valid section.
    pub(super) fn are_valid(&self, keys: &[Path]) -> bool {
        let faulty = self.faulty.borrow();
        keys.iter()
            .all(|key| !faulty.contains(key) && !self.is_no_section(key.0))
    }

    /// Returns whether the section's name holds something else, which is reported separately.
    fn is_no_section(&self, section: &str) -> bool {
        let item = self.root.get(section);
        item.is_some_and(|item| !item.is_table_like())
    }

    /// Records two keys that conflict. The fault is shown at the first key if the command line set
    /// it or only it is present, else at the second, and names the line of the other.
    pub(super) fn refuse_conflict(&self, first: Path, second: Path, message: &str, help: &str) {
        if !self.are_valid(&[first, second]) {
            return;
        }
        let places = (self.find(first), self.find(second));
        let (place, other, other_place) = match places {
            (Some(place @ Location::Argument { .. }), other) => (place, second, other),
            (Some(place), None) => (place, second, None),
            (other, Some(place)) => (place, first, other),
            (None, None) => (self.end(), first, None),
        };
        let whereabouts = match other_place {
            Some(Location::File(bytes)) => {
                let before = &self.text.as_bytes()[..bytes.start];
                let line = before.iter().filter(|&&byte| byte == b'\n').count() + 1;
                format!("line {line}")
            }
            Some(Location::Argument { text, .. }) => text,
            None => describe_absent(other),
        };
        let label = format!("conflicts with `{}` ({whereabouts})", spell(other));
        self.refuse(Diagnostic::new(message, place, label).help(Some(help.to_owned())));
    }

    /// Records something missing in a section, shown at the section's header, or at the end of the
    /// file if there is none. If the section's name holds something else, that is reported already.
    pub(super) fn refuse_missing(&self, section: &str, message: String, label: &str, help: String) {
        if self.is_no_section(section) {
            return;
        }
        let header = self.root.get(section).and_then(Item::span);
        let place = header.map_or_else(|| self.end(), Location::File);
        self.refuse(Diagnostic::new(message, place, label).help(help));
    }

    /// Returns the place of a key's value, if the key is present.
    fn find(&self, (section, key): Path) -> Option<Location> {
        let (path, item) = if section.is_empty() {
            (vec![key], self.root.get(key)?)
        } else {
            let table = self.root.get(section)?.as_table_like()?;
            (vec![section, key], table.get(key)?)
        };
        Some(self.value_place(&path, item.span()))
    }

    /// Returns the place of the value at this path.
    pub(super) fn value_place(&self, path: &[&str], span: Option<Range<usize>>) -> Location {
        self.place(path, span, Edit::value)
    }

    fn key_place(&self, path: &[&str], span: Option<Range<usize>>) -> Location {
        self.place(path, span, Edit::key)
    }

    fn place(
        &self,
        path: &[&str],
        span: Option<Range<usize>>,
        part: impl Fn(&Edit) -> Location,
    ) -> Location {
        let setter = self.edits.iter().rfind(|edit| edit.sets(path));
        if let Some(edit) = setter {
            return part(edit);
        }
        if let Some(span) = span {
            return Location::File(span);
        }
        let inside = self.edits.iter().find(|edit| edit.is_inside(path));
        inside.map_or_else(|| self.end(), Edit::key)
    }

    /// Returns the end of the text without trailing blank lines: the place to add what is missing.
    pub(super) fn end(&self) -> Location {
        let end = self.text.trim_end().len();
        Location::File(end..end)
    }

    /// Returns whether there are so many faults that no more are looked for.
    fn has_enough(&self) -> bool {
        self.diagnostics.borrow().len() >= MOST_UNKNOWN
    }

    fn refuse_unknown(&self) {
        for (name, item) in self.root.iter() {
            if self.has_enough() {
                return;
            }
            let span = self.root.key(name).and_then(toml_edit::Key::span);
            let known = keys::SECTIONS.iter().find(|section| section.name == name);
            match (known, item.as_table_like()) {
                (Some(section), Some(table)) => self.refuse_unknown_keys(section, table),
                (Some(_), None) => self.refuse(
                    Diagnostic::new(
                        format!("`{name}` must be a section, found {}", describe(item)),
                        self.value_place(&[name], item.span()),
                        format!("allowed: a section [{name}]"),
                    )
                    .help(known.map(|section| format!("its keys: {}", names(section)))),
                ),
                (None, table) if keys::TOP.key(name).is_none() => {
                    self.refuse_unknown_top(name, table.is_some(), self.key_place(&[name], span));
                }
                (None, _) => {}
            }
        }
    }

    fn refuse_unknown_top(&self, name: &str, is_section: bool, place: Location) {
        let sections = keys::SECTIONS.map(|section| section.name);
        let (message, help) = if is_section {
            let help = nearest(name, sections).map(|near| format!("did you mean [{near}]?"));
            (format!("unknown section [{name}]"), help)
        } else {
            let keys = keys::TOP.keys.iter().map(|key| key.name);
            let help = nearest(name, keys.chain(sections))
                .map(|near| format!("did you mean `{near}`?"))
                .filter(|_| right_section(name).is_none())
                .or_else(|| right_section(name));
            (format!("unknown key `{name}`"), help)
        };
        let allowed = format!(
            "allowed: {}, and the sections {}",
            names(&keys::TOP),
            sections.join(", ")
        );
        self.refuse(Diagnostic::new(message, place, allowed).help(help));
    }

    fn refuse_unknown_keys(&self, section: &'static keys::SectionKeys, table: &dyn TableLike) {
        for (name, _) in table.iter() {
            if self.has_enough() {
                return;
            }
            if section.key(name).is_some() {
                continue;
            }
            let span = table.key(name).and_then(toml_edit::Key::span);
            let help = right_section(name).or_else(|| {
                let near = nearest(name, section.keys.iter().map(|key| key.name))?;
                Some(format!("did you mean `{near}`?"))
            });
            self.refuse(
                Diagnostic::new(
                    format!("unknown key `{name}` in [{}]", section.name),
                    self.key_place(&[section.name, name], span),
                    format!("allowed: {}", names(section)),
                )
                .help(help),
            );
        }
    }
}

fn spell((section, key): Path) -> String {
    if section.is_empty() {
        key.to_owned()
    } else {
        format!("{section}.{key}")
    }
}

/// Describes a key that is absent: its default, or that it is not given.
fn describe_absent((section, key): Path) -> String {
    match keys::find((section, key)).and_then(keys::Key::unconditional_default) {
        Some(text) => format!("{text} by default"),
        None => "not given".to_owned(),
    }
}

fn names(section: &keys::SectionKeys) -> String {
    let names: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
    names.join(", ")
}

/// Names the section that has a key of this name, if there is one.
fn right_section(name: &str) -> Option<String> {
    if keys::TOP.key(name).is_some() {
        return Some(format!(
            "`{name}` belongs at the top, before the first [section]"
        ));
    }
    let section = keys::SECTIONS
        .iter()
        .find(|section| section.key(name).is_some())?;
    Some(format!("`{name}` belongs in [{}]", section.name))
}
