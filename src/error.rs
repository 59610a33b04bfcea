//! Typed errors: what went wrong, where, what was found, what is allowed, and the way out.
//!
//! Every error knows its exit code, so the command line needs no table of its own.

use std::io;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A command line that cannot be meant.
    #[error("{0}")]
    Usage(String),
    /// The content of a config, data or model file, or a path that leads nowhere.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// A config with errors: all of them, each rendered with its line and caret.
    #[error("{0}")]
    Config(String),
    /// A check or a threshold failed.
    #[error("{0}")]
    CheckFailed(String),
    /// Training left the finite numbers.
    #[error("{0}")]
    Diverged(String),
    /// The operating system refused threads or memory.
    #[error("{0}")]
    Resources(String),
    /// The run's directory belongs to a run already.
    #[error("{0}")]
    InUse(String),
    /// Resume found no valid checkpoint.
    #[error("{0}")]
    NoCheckpoint(String),
    /// The operating system failed a read or a write.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A signal ended the work; what there was is saved, if the work has anything to save.
    #[error("interrupted{}", saved.as_ref().map(|path| format!("; saved in {}", path.display())).unwrap_or_default())]
    Interrupted {
        /// The exit code: 130 for an interrupt, 143 for a termination.
        code: u8,
        /// Where the state was saved; none of work that saves nothing.
        saved: Option<PathBuf>,
    },
}

/// Content that was refused: the file, the place in it, the problem and the way out.
#[derive(Debug, thiserror::Error)]
#[error("{}{}: {problem}{}", path.display(), place.as_ref().map(|place| format!(", {place}")).unwrap_or_default(), help.as_ref().map(|help| format!("\n  help: {help}")).unwrap_or_default())]
pub struct Refused {
    /// The file.
    pub path: PathBuf,
    /// `line 3, column 5`, `byte 16`, `row 12`: where in the file.
    pub place: Option<String>,
    /// What was found and what is allowed.
    pub problem: String,
    /// The way out.
    pub help: Option<String>,
}

impl Error {
    /// Content refused as a whole.
    pub fn refused(path: impl Into<PathBuf>, problem: impl Into<String>) -> Self {
        Self::Refused(Box::new(Refused {
            path: path.into(),
            place: None,
            problem: problem.into(),
            help: None,
        }))
    }

    /// Adds the place (`line 3`, `byte 16`) to a refusal; anything else is returned as it is.
    #[must_use]
    pub fn at(mut self, place: impl Into<String>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.place = Some(place.into());
        }
        self
    }

    /// Adds the way out to a refusal; anything else is returned as it is.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        if let Self::Refused(refused) = &mut self {
            refused.help = Some(help.into());
        }
        self
    }

    /// An error of the operating system; a path that does not exist is a refusal (exit code 2).
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

    /// The exit code of a process that ends with this error.
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
