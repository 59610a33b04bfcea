//! Typed errors, each with an exit code.
//!
//! A message names the file, the place in it, what was found, what is allowed and the way out.

use std::io;
use std::path::{Path, PathBuf};

/// The result type of this crate's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An invalid command line, or an argument outside its allowed range.
    #[error("{0}")]
    Usage(String),
    /// Invalid content of a config, data or model file, or a path that does not exist.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// All errors of an invalid config, each rendered with its line and a caret.
    #[error("{0}")]
    Config(String),
    /// A check or a threshold failed.
    #[error("{0}")]
    CheckFailed(String),
    /// Training produced a number that is not finite.
    #[error("{0}")]
    Diverged(String),
    /// The operating system refused threads or memory.
    #[error("{0}")]
    Resources(String),
    /// The run's directory is in use by another run.
    #[error("{0}")]
    InUse(String),
    /// Resume found no valid checkpoint.
    #[error("{0}")]
    NoCheckpoint(String),
    /// The operating system failed a read or a write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The failed action as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The error that the operating system reported.
        source: io::Error,
    },
    /// A signal ended the work; its state is saved if there is any.
    #[error("interrupted{}", saved.as_ref().map(|path| format!("; saved in {}", path.display())).unwrap_or_default())]
    Interrupted {
        /// The exit code: 130 for an interrupt, 143 for a termination.
        code: u8,
        /// The file or folder that holds the saved state; `None` for work that saves nothing.
        saved: Option<PathBuf>,
    },
}

/// Refused content: the file, the place in it, the problem and the way out.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}{}", path.display(), place.as_ref().map(|place| format!(", {place}")).unwrap_or_default(), help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default())]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// The place in the file: `line 3, column 5`, `byte 16`, `row 12`.
    pub place: Option<String>,
    /// The content found, and the content allowed.
    pub problem: String,
    /// The way out.
    pub help: Option<String>,
}

impl Error {
    /// Creates a refusal of the whole file or path.
    pub fn refused(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Refused(Box::new(Refused {
            path: path.into(),
            place: None,
            problem: problem.into(),
            help: None,
        }))
    }

    /// Adds the place (`line 3`, `byte 16`) to a refusal; returns any other error unchanged.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.place = Some(place.into());
        }
        self
    }

    /// Adds the way out to a refusal; returns any other error unchanged.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.help = Some(help.into());
        }
        self
    }

    /// Creates an error of the operating system; reading a path that does not exist gives a refusal
    /// (exit code 2).
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound if action == "read" => {
                Self::refused(path, "no such file or folder")
            }
            _ => Self::Io {
                action,
                path: path.to_path_buf(),
                source,
            },
        }
    }

    /// Returns the exit code of a process that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Refused(_) | Self::Config(_) => 2,
            Self::CheckFailed(_) => 3,
            Self::Diverged(_) => 4,
            Self::Resources(_) => 5,
            Self::InUse(_) => 6,
            Self::NoCheckpoint(_) => 7,
            Self::Io { .. } => 8,
            Self::Interrupted { code, .. } => *code,
        }
    }
}
