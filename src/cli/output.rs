//! Results on standard output, messages on standard error: [`Screen`] and [`to_stderr`] are the only
//! ways there, and what passes them cannot act on the terminal.
//!
//! A reader that closes the pipe is no error: the program ends quietly with 0. Nothing here panics
//! because a stream is gone, as `println!` would.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::arguments::{Color, Global};
use crate::error::{Error, Result};
use crate::run::json;
use crate::text::{escaped, plain, shortened, wrapped};

/// How errors of standard output call it.
const STDOUT: &str = "standard output";

/// Which messages are wanted, and how they look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Messages {
    quiet: bool,
    verbose: bool,
    color: bool,
}

impl Messages {
    /// As the global options say.
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

    /// A warning: not when quiet.
    pub fn warn(self, message: impl Display) {
        if !self.quiet {
            self.say("warning:", "33", &message);
        }
    }

    /// What is going on: not when quiet.
    pub fn note(self, message: impl Display) {
        if !self.quiet {
            to_stderr(&format!("{message}\n"));
        }
    }

    /// A detail: only when verbose.
    pub fn detail(self, message: impl Display) {
        if self.verbose {
            to_stderr(&format!("{message}\n"));
        }
    }

    /// An error with all its causes: always.
    pub fn error(self, error: &Error) {
        match error {
            // Rendered whole, with a heading for each fault.
            Error::Config(report) => to_stderr(&format!("{}\n", report.trim_end())),
            other => self.say("error:", "31", &chain(other)),
        }
    }

    fn say(self, heading: &str, color: &str, message: &dyn Display) {
        let color = self.color.then_some(color);
        write_message(heading, color, &format!(" {message}\n"));
    }
}

/// Standard output as people and programs get it: nothing that is printed acts on a terminal.
///
/// Each write holds whole characters, as `write!` and [`print`] make them.
#[derive(Debug)]
pub struct Screen<W> {
    inner: W,
    /// What is printed is a JSON document, whose content must not change.
    json: bool,
}

impl<W: Write> Screen<W> {
    /// Prints to `inner`: a JSON document, or text.
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

/// Writes `text` to `out`, which errors call standard output.
///
/// # Errors
/// [`Error::Io`], which [`is_closed_pipe`] tells from others.
pub fn print(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|source| Error::io("write", Path::new(STDOUT), source))
}

/// Prints what was worked out: as one JSON document, or as people read it.
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

/// Whether standard output's reader is gone: no error of ours.
pub fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { path, source, .. }
        if source.kind() == io::ErrorKind::BrokenPipe && path == Path::new(STDOUT))
}

/// Writes a message to standard error, the middle left out if it is too long.
pub fn to_stderr(text: &str) {
    write_message("", None, text);
}

/// Writes a message under a heading of ours, which may be colored; if standard error is gone, there
/// is nobody to tell.
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

/// The error, and each cause that it does not already tell.
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
    fn a_cause_that_the_message_tells_is_not_told_twice() {
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
