//! Results on standard output and messages on standard error. All output passes [`Screen`] or
//! [`to_stderr`], so that no text acts on the terminal.
//!
//! A closed pipe is not an error: the program ends quietly with 0. Unlike `println!`, nothing here
//! panics if a stream is closed.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::arguments::{Color, Global};
use crate::error::{Error, Result};
use crate::run::json;
use crate::text::{escaped, plain, shortened, wrapped};

/// Name of standard output in errors.
const STDOUT: &str = "standard output";

/// Choice and style of messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages {
    quiet: bool,
    verbose: bool,
    color: bool,
}

impl Messages {
    /// Returns the choice and style that the global options ask for.
    pub fn new(global: &Global) -> Self {
        let color = match global.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                io::stderr().is_terminal()
                    && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        Self {
            quiet: global.quiet,
            verbose: global.verbose,
            color,
        }
    }

    /// Returns messages that print nothing but errors.
    #[must_use]
    pub fn of_errors(self) -> Self {
        Self {
            quiet: true,
            verbose: false,
            ..self
        }
    }

    /// Prints a warning, unless quiet.
    pub fn warn(self, message: impl Display) {
        if !self.quiet {
            self.say("warning:", "33", &message);
        }
    }

    /// Prints a note, unless quiet.
    pub fn note(self, message: impl Display) {
        if !self.quiet {
            to_stderr(&format!("{message}\n"));
        }
    }

    /// Prints a detail, if verbose.
    pub fn detail(self, message: impl Display) {
        if self.verbose {
            to_stderr(&format!("{message}\n"));
        }
    }

    /// Prints an error with its causes.
    pub fn error(self, error: &Error) {
        match error {
            // The report has a heading for each error already.
            Error::Config(report) => to_stderr(&format!("{}\n", report.trim_end())),
            other => self.say("error:", "31", &chain(other)),
        }
    }

    fn say(self, heading: &str, color: &str, message: &dyn Display) {
        let color = self.color.then_some(color);
        write_message(heading, color, &format!(" {message}\n"));
    }
}

/// Standard output whose text does not act on a terminal.
///
/// Each write holds whole characters, as `write!` and [`print()`] make them.
#[derive(Debug)]
pub struct Screen<W> {
    inner: W,
    /// Whether the output is a JSON document, whose content must not change.
    json: bool,
}

impl<W: Write> Screen<W> {
    /// Wraps `inner`, for a JSON document or text.
    pub fn new(inner: W, json: bool) -> Self {
        Self { inner, json }
    }
}

impl<W: Write> Write for Screen<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let shown = if self.json {
            escaped(&text)
        } else {
            plain(&text)
        };
        self.inner.write_all(shown.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Writes `text` to `out`, named standard output in errors.
///
/// # Errors
/// [`Error::Io`]; [`is_closed_pipe`] recognizes a closed pipe.
pub fn print(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::io("write", Path::new(STDOUT), source))
}

/// Prints a result as one JSON document or as text.
pub fn show<T: serde::Serialize>(
    explanation: &T,
    text: impl FnOnce(&T) -> String,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    let text = if global.json {
        json::document(explanation)
    } else {
        text(explanation)
    };
    print(out, &text)
}

/// Returns whether the reader of standard output has closed the pipe, which is not an error.
pub fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { path, source, .. }
        if source.kind() == io::ErrorKind::BrokenPipe && path == Path::new(STDOUT))
}

/// Writes a message to standard error, without its middle if it is too long.
pub fn to_stderr(text: &str) {
    write_message("", None, text);
}

/// Writes a message after a heading, which may be colored, wrapped to the width of a terminal;
/// ignores a closed standard error.
fn write_message(heading: &str, color: Option<&str>, text: &str) {
    let text = plain(text);
    let text = shortened(&text);
    let text = format!("{heading}{text}");
    let text = match terminal_size::terminal_size_of(io::stderr()) {
        Some((width, _)) => wrapped(&text, width.0.into()),
        None => text,
    };
    let message = match color {
        Some(color) => text.replacen(heading, &format!("\x1b[1;{color}m{heading}\x1b[0m"), 1),
        None => text,
    };
    let _ = io::stderr().write_all(message.as_bytes());
}

/// Returns the error with each cause that its message does not contain.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str("\n  cause: ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_in_the_message_is_not_repeated() {
        let source = io::Error::other("disk on fire");
        let text = chain(&Error::io("write", Path::new("a"), source));
        assert_eq!(text, "cannot write a: disk on fire");
    }

    #[test]
    fn only_a_broken_pipe_of_standard_output_ends_quietly() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(is_closed_pipe(&Error::io(
            "write",
            Path::new(STDOUT),
            broken()
        )));
        assert!(!is_closed_pipe(&Error::io(
            "write",
            Path::new("fifo"),
            broken()
        )));
        assert!(!is_closed_pipe(&Error::io(
            "write",
            Path::new(STDOUT),
            full
        )));
    }
}
