//! Faults of a config, each rendered with its line and a caret.
//!
//! The only file that knows the layout of an error. The reader and the sections decide what is
//! wrong and where.

use std::fmt::Write;
use std::ops::Range;
use std::path::Path;

use super::reader::MOST_UNKNOWN;
use crate::error::Error;
use crate::text::{is_control, plain_line, visible_form};

/// The widest part of a line that is shown, in characters: around a caret far right in a long line
/// a window is shown.
const WIDTH: usize = 120;

/// The place of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Location {
    /// Bytes of the file.
    File(Range<usize>),
    /// Bytes of a command-line argument that changed the config.
    Argument {
        /// The argument with its flag: `--set train.epochs=0`.
        text: String,
        /// The bytes in `text`.
        bytes: Range<usize>,
    },
}

/// One fault.
#[derive(Clone, Debug)]
pub(super) struct Diagnostic {
    /// The fault and the value found.
    pub(super) message: String,
    /// The place of the fault.
    pub(super) place: Location,
    /// The values allowed there, written beside the caret.
    pub(super) label: String,
    /// Ways out, one line each.
    pub(super) help: Vec<String>,
}

impl Diagnostic {
    /// Creates a fault without a way out.
    pub(super) fn new(
        message: impl Into<String>,
        place: Location,
        label: impl Into<String>,
    ) -> Self {
        Self {
            message: message.into(),
            place,
            label: label.into(),
            help: Vec::new(),
        }
    }

    /// Adds a way out, if there is one.
    pub(super) fn help(mut self, help: impl Into<Option<String>>) -> Self {
        self.help.extend(help.into());
        self
    }
}

/// Combines all faults of a file into one error: in the order of the file, arguments last, followed
/// by their number.
pub(super) fn report(mut diagnostics: Vec<Diagnostic>, path: &Path, text: &str) -> Error {
    diagnostics.sort_by_key(|diagnostic| match &diagnostic.place {
        Location::File(bytes) => (0, bytes.start),
        Location::Argument { .. } => (1, 0),
    });
    let lines = Lines::new(text);
    let mut report = String::new();
    for diagnostic in &diagnostics {
        report.push_str(&render(diagnostic, path, &lines));
        report.push('\n');
    }
    let count = diagnostics.len();
    let least = if count < MOST_UNKNOWN {
        ""
    } else {
        "at least "
    };
    let plural = if count == 1 { "" } else { "s" };
    let _ = write!(report, "{least}{count} error{plural} in {}", path.display());
    Error::Config(report)
}

/// Renders one fault as text of several lines.
fn render(diagnostic: &Diagnostic, path: &Path, lines: &Lines) -> String {
    let (place, number, line, caret) = match &diagnostic.place {
        Location::File(bytes) => {
            let (number, start) = lines.at(bytes.start);
            let line = lines.text[start..].lines().next().unwrap_or_default();
            let from = bytes.start.saturating_sub(start).min(line.len());
            let to = bytes.end.saturating_sub(start).clamp(from, line.len());
            let column = line[..from].chars().count() + 1;
            (
                format!("{}:{number}:{column}", path.display()),
                number.to_string(),
                line,
                from..to,
            )
        }
        Location::Argument { text, bytes } => (
            clip(text, 0..0).0,
            String::new(),
            text.as_str(),
            bytes.clone(),
        ),
    };
    let gutter = " ".repeat(number.len().max(1));
    let number = format!("{number:>width$}", width = gutter.len());
    let (line, caret) = clip(line, caret);
    let marks = format!(
        "{}{}",
        " ".repeat(caret.start),
        "^".repeat(caret.len().max(1))
    );
    let mut rendered = format!("error: {}\n", plain_line(&diagnostic.message));
    let _ = writeln!(rendered, "{gutter}--> {place}");
    let _ = writeln!(rendered, "{gutter} |");
    let _ = writeln!(rendered, "{}", format!("{number} | {line}").trim_end());
    let _ = writeln!(
        rendered,
        "{}",
        format!("{gutter} | {marks} {}", diagnostic.label).trim_end()
    );
    for help in &diagnostic.help {
        let _ = writeln!(rendered, "{gutter} = help: {help}");
    }
    rendered
}

/// A file's text and the first byte of each of its lines, computed once for all faults.
struct Lines<'t> {
    text: &'t str,
    starts: Vec<usize>,
}

impl<'t> Lines<'t> {
    fn new(text: &'t str) -> Self {
        let line_ends = text.match_indices('\n');
        let starts = std::iter::once(0).chain(line_ends.map(|(end, _)| end + 1));
        let starts = starts.collect();
        Self { text, starts }
    }

    /// Returns the number, from 1, and the first byte of the line that holds `byte`. A byte-order
    /// mark does not count as a column.
    fn at(&self, byte: usize) -> (usize, usize) {
        let number = self.starts.partition_point(|&start| start <= byte);
        let start = self.starts[number - 1];
        let mark = if start == 0 && self.text.starts_with('\u{feff}') {
            '\u{feff}'.len_utf8()
        } else {
            0
        };
        (number, start + mark)
    }
}

/// Returns the part of a line around the caret, large enough for all that [`clip`] shows, and the
/// caret's bytes in it. A line may be as long as the file, so `clip` must not visit all of it.
fn surroundings(line: &str, caret: Range<usize>) -> (&str, Range<usize>) {
    let (before, after) = line.split_at(caret.start);
    let first = before.char_indices().rev().nth(2 * WIDTH);
    let first = first.map_or(0, |(byte, _)| byte);
    let last = after.char_indices().nth(2 * WIDTH);
    let last = last.map_or(line.len(), |(byte, _)| caret.start + byte);
    (&line[first..last], caret.start - first..caret.end - first)
}

/// Returns the line in a form that is safe to print (no tabs, nothing that [`acts`], at most
/// [`WIDTH`] characters) and the caret's columns in it, from 0.
fn clip(line: &str, caret: Range<usize>) -> (String, Range<usize>) {
    let (line, caret) = surroundings(line, caret);
    let mut shown = Vec::new();
    let mut columns = [None, None];
    for (byte, character) in line.char_indices() {
        for (column, edge) in columns.iter_mut().zip([caret.start, caret.end]) {
            if byte >= edge && column.is_none() {
                *column = Some(shown.len());
            }
        }
        match character {
            '\t' => shown.extend([' '; 4]),
            letter if is_control(letter) => shown.extend(visible_form(letter).chars()),
            other => shown.push(other),
        }
    }
    let [start, end] = columns.map(|column| column.unwrap_or(shown.len()));
    if shown.len() <= WIDTH {
        return (shown.into_iter().collect(), start..end);
    }
    let first = start.saturating_sub(WIDTH / 2).min(shown.len() - WIDTH);
    let last = first + WIDTH;
    let mut window: String = shown[first..last].iter().collect();
    let shift = if first > 0 {
        window.insert(0, '…');
        1
    } else {
        0
    };
    if last < shown.len() {
        window.push('…');
    }
    let from = (start - first + shift).min(WIDTH + shift);
    let to = (end.max(start).min(last) - first + shift).max(from);
    (window, from..to)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(text: &str, bytes: Range<usize>) -> String {
        let diagnostic = Diagnostic::new("wrong", Location::File(bytes), "allowed: right");
        render(&diagnostic, Path::new("a.toml"), &Lines::new(text))
    }

    #[test]
    fn the_caret_is_under_the_bytes_of_the_fault() {
        let text = "one = 1\ntwo = 22\n";
        assert_eq!(
            rendered(text, 14..16),
            "error: wrong\n --> a.toml:2:7\n  |\n2 | two = 22\n  |       ^^ allowed: right\n"
        );
    }

    #[test]
    fn columns_count_characters_and_tabs_take_four_columns() {
        let report = rendered("\té = 1", 6..7);
        assert!(report.contains("a.toml:1:6"), "{report}");
        assert!(report.contains("1 |     é = 1\n  |         ^ "), "{report}");
    }

    #[test]
    fn carriage_returns_and_byte_order_marks_are_not_shown() {
        let report = rendered("\u{feff}a = 1\r\nb = 2\r\n", 3..4);
        assert!(report.contains("a.toml:1:1\n"), "{report}");
        assert!(report.contains("1 | a = 1\n  | ^ "), "{report}");
    }

    #[test]
    fn control_characters_are_spelled_and_the_caret_stays_under_its_bytes() {
        let report = rendered("a\u{202e} = \u{1b}[31m x", 13..14);
        assert!(
            report.contains("1 | a<U+202E> = ␛[31m x\n  |                   ^ "),
            "{report}"
        );
    }

    #[test]
    fn a_long_line_is_shown_around_its_caret() {
        let text = format!("a = [{}x{}]", "1, ".repeat(300), "2, ".repeat(300));
        let report = rendered(&text, 905..906);
        let lines: Vec<&str> = report.lines().collect();
        assert!(lines[3].chars().count() < 130, "{report}");
        let caret = lines[4].chars().position(|character| character == '^');
        let fault = lines[3].chars().position(|character| character == 'x');
        assert_eq!(caret, fault, "{report}");
    }

    #[test]
    fn a_fault_at_the_end_of_the_file_still_gets_a_caret() {
        let report = rendered("", 0..0);
        assert!(
            report.contains("a.toml:1:1\n  |\n1 |\n  | ^ allowed"),
            "{report}"
        );
    }
}
