//! Walks a config's tables and collects every fault.
//!
//! It knows where each key stands (in the file, or in an argument that changed it), finds keys and
//! sections that do not exist, and keeps all faults until the end. What a single key may hold is
//! [`super::fields`]'s, what the values mean together the sections'.

use std::cell::RefCell;
use std::ops::Range;

use toml_edit::{Item, Table, TableLike};

use super::diagnostic::{Diagnostic, Location};
use super::fields::SectionReader;
use super::keys::{self, Presence};
use super::messages::{describe, nearest};
use super::overrides::Edit;

/// A section's name and a key's: `("loss", "kind")`.
pub(super) type Path<'p> = (&'p str, &'p str);

/// A whole config being read.
pub(super) struct Reader<'a> {
    pub(super) root: &'a Table,
    text: &'a str,
    edits: &'a [Edit],
    diagnostics: RefCell<Vec<Diagnostic>>,
    /// Keys whose value was refused: no contradiction is sought with those.
    pub(super) faulty: RefCell<Vec<(&'static str, &'static str)>>,
}

impl<'a> Reader<'a> {
    /// Starts with the faults found so far, and looks for keys and sections that do not exist.
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
        reader.seek_unknown();
        reader
    }

    /// All faults.
    pub(super) fn finish(self) -> Vec<Diagnostic> {
        self.diagnostics.into_inner()
    }

    /// Notes a fault.
    pub(super) fn refuse(&self, diagnostic: Diagnostic) {
        self.diagnostics.borrow_mut().push(diagnostic);
    }

    /// One section; [`keys::TOP`] is the keys before the first.
    pub(super) fn section(&self, schema: &'static keys::SectionKeys) -> SectionReader<'_, 'a> {
        let table = if schema.name.is_empty() {
            Some(self.root as &dyn TableLike)
        } else {
            self.root.get(schema.name).and_then(Item::as_table_like)
        };
        SectionReader::new(self, schema, table)
    }

    /// Whether none of these keys' values was refused, nor its section.
    pub(super) fn sound(&self, keys: &[Path]) -> bool {
        let faulty = self.faulty.borrow();
        keys.iter()
            .all(|key| !faulty.contains(key) && !self.is_no_section(key.0))
    }

    /// Whether something else stands where the section should: a fault of its own.
    fn is_no_section(&self, section: &str) -> bool {
        let item = self.root.get(section);
        item.is_some_and(|item| !item.is_table_like())
    }

    /// Two keys that cannot both be meant. It is shown at the one from the command line, else at
    /// the one that is there, else at the second, and names the line of the other.
    pub(super) fn contradiction(&self, first: Path, second: Path, message: &str, help: &str) {
        if !self.sound(&[first, second]) {
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
            None => absence(other),
        };
        let label = format!("conflicts with `{}` ({whereabouts})", spell(other));
        self.refuse(Diagnostic::new(message, place, label).help(Some(help.to_owned())));
    }

    /// Something that a section lacks, shown at its header, or at the end of the file. What
    /// stands where the section should has its fault already.
    pub(super) fn missing(&self, section: &str, message: String, label: &str, help: String) {
        if self.is_no_section(section) {
            return;
        }
        let header = self.root.get(section).and_then(Item::span);
        let place = header.map_or_else(|| self.end(), Location::File);
        self.refuse(Diagnostic::new(message, place, label).help(help));
    }

    /// The place of a key's value, if the key is there.
    fn find(&self, (section, key): Path) -> Option<Location> {
        let (path, item) = if section.is_empty() {
            (vec![key], self.root.get(key)?)
        } else {
            let table = self.root.get(section)?.as_table_like()?;
            (vec![section, key], table.get(key)?)
        };
        Some(self.value_place(&path, item.span()))
    }

    /// The place of the value at this path.
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
        let decider = self.edits.iter().rfind(|edit| edit.decides(path));
        if let Some(edit) = decider {
            return part(edit);
        }
        if let Some(span) = span {
            return Location::File(span);
        }
        let inside = self.edits.iter().find(|edit| edit.is_inside(path));
        inside.map_or_else(|| self.end(), Edit::key)
    }

    /// The end of the text, blank lines left out: where something missing could be added.
    pub(super) fn end(&self) -> Location {
        let end = self.text.trim_end().len();
        Location::File(end..end)
    }

    fn seek_unknown(&self) {
        for (name, item) in self.root.iter() {
            let span = self.root.key(name).and_then(toml_edit::Key::span);
            let known = keys::SECTIONS.iter().find(|section| section.name == name);
            match (known, item.as_table_like()) {
                (Some(section), Some(table)) => self.seek_unknown_keys(section, table),
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
                .filter(|_| elsewhere(name).is_none())
                .or_else(|| elsewhere(name));
            (format!("unknown key `{name}`"), help)
        };
        let allowed = format!(
            "allowed: {}, and the sections {}",
            names(&keys::TOP),
            sections.join(", ")
        );
        self.refuse(Diagnostic::new(message, place, allowed).help(help));
    }

    fn seek_unknown_keys(&self, section: &'static keys::SectionKeys, table: &dyn TableLike) {
        for (name, _) in table.iter() {
            if section.key(name).is_some() {
                continue;
            }
            let span = table.key(name).and_then(toml_edit::Key::span);
            let help = elsewhere(name).or_else(|| {
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

/// What a key that is not there amounts to.
fn absence((section, key): Path) -> String {
    let section = keys::SECTIONS
        .into_iter()
        .find(|known| known.name == section);
    match section
        .and_then(|section| section.key(key))
        .map(|key| key.presence)
    {
        Some(Presence::Default(text)) => format!("{text} by default"),
        _ => "not given".to_owned(),
    }
}

fn names(section: &keys::SectionKeys) -> String {
    let names: Vec<&str> = section.keys.iter().map(|key| key.name).collect();
    names.join(", ")
}

/// Where a key of this very name belongs.
fn elsewhere(name: &str) -> Option<String> {
    if keys::TOP.key(name).is_some() {
        return Some(format!(
            "`{name}` belongs at the top, before the first [section]"
        ));
    }
    let home = keys::SECTIONS
        .iter()
        .find(|section| section.key(name).is_some())?;
    Some(format!("`{name}` belongs in [{}]", home.name))
}
