//! Reads TOML into a validated [`Config`].
//!
//! A config is accepted or refused as a whole: [`Config::load`] reports all faults at once, each
//! with its line, a caret, the value found, the values allowed and the way out. Changes from the
//! command line ([`Overrides`]) edit the document before it is read, so they pass the same checks.
//!
//! The data files are not opened: a valid config can name a file that does not exist.

mod data;
mod diagnostic;
mod fields;
mod gradient;
pub mod keys;
mod messages;
mod optimizer;
mod overrides;
mod reader;
mod schema;
mod sections;
mod starter;
mod validation;
mod writer;

use std::path::{Path, PathBuf};

pub use data::DATASETS;
pub use overrides::Overrides;
pub use schema::schema;
pub use starter::starter;

use crate::data::DataConfig;
use crate::error::{Error, Result};
use crate::gradient::GradientConfig;
use crate::model::{LossConfig, ModelConfig};
use crate::open;
use crate::optimizer::OptimizerConfig;
use crate::parallel::Split;
use crate::parallel::cluster::Reduce;
use crate::train::TrainConfig;
use diagnostic::{Diagnostic, Location};
use reader::Reader;

/// The largest file that is read, in bytes: a config is written by hand.
const LARGEST: u64 = 1 << 18;

/// The settings of a run, every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The name of the run's directory.
    pub name: String,
    /// The seed of every random stream.
    pub seed: u64,
    /// The rows.
    pub data: DataConfig,
    /// The network.
    pub model: ModelConfig,
    /// The loss.
    pub loss: LossConfig,
    /// The gradient method.
    pub gradient: GradientConfig,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
    /// The mini-batch size and the end of training.
    pub train: TrainConfig,
    /// The workers, the checkpoints and the time limit.
    pub run: RunConfig,
}

/// The settings of `[run]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// The largest number of workers; `None`: the number of physical cores that the process may
    /// use.
    pub threads: Option<usize>,
    /// What the workers of backprop divide; `None`: chosen by measurement.
    pub split: Option<Split>,
    /// How several ranks bring the gradients of backprop together.
    pub reduce: Reduce,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// The longest predicted time of a run, in seconds; a longer run is refused.
    pub limit_seconds: Option<f64>,
}

impl Config {
    /// Reads a config from a file or a pipe and applies `overrides`.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such file, if it is neither a regular file nor a pipe, if
    /// it is larger than 256 KiB, or if the pipe does not end within 5 seconds; [`Error::Config`]
    /// with all faults of its content; [`Error::Io`] if reading fails.
    pub fn load(path: &Path, overrides: &Overrides) -> Result<Self> {
        let bytes = read_file(path)?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let start = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes());
            let place = Location::File(start..start + '\u{fffd}'.len_utf8());
            let fault = Diagnostic::new(
                format!(
                    "the file is not UTF-8 text: byte {:#04x}",
                    error.as_bytes()[start]
                ),
                place,
                "",
            );
            let fault = fault.help("save it as UTF-8".to_owned());
            diagnostic::report(vec![fault], path, &text)
        })?;
        Self::parse(&text, path, overrides)
    }

    /// Reads a config from `text` and applies `overrides`. `path` is named in errors and not
    /// opened; its stem is the name of a config without one, and relative data paths start from its
    /// folder.
    ///
    /// # Errors
    /// [`Error::Config`] with all faults; [`Error::Io`] if the working folder cannot be found.
    pub fn parse(text: &str, path: &Path, overrides: &Overrides) -> Result<Self> {
        let report = |diagnostics| diagnostic::report(diagnostics, path, text);
        let document =
            toml_edit::Document::parse(text).map_err(|error| report(vec![syntax(&error, text)]))?;
        let mut root = document.into_table();
        let mut diagnostics = Vec::new();
        let edits = overrides::apply(&mut root, overrides, &mut diagnostics);
        let folder = path.parent().unwrap_or(Path::new(""));
        let folder = absolute(folder)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let reader = Reader::new(&root, text, &edits, diagnostics);
        let config = sections::read(&reader, &stem, &folder);
        let diagnostics = reader.finish();
        if diagnostics.is_empty() {
            Ok(config)
        } else {
            Err(report(diagnostics))
        }
    }

    /// Returns the whole config as TOML, every default filled in and data files by absolute path.
    /// Reading it again, from any folder, gives an equal config.
    pub fn to_toml(&self) -> String {
        writer::write(self).to_string()
    }
}

/// Returns the absolute path of `folder`, so that a config copied elsewhere still finds its data.
fn absolute(folder: &Path) -> Result<PathBuf> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    std::path::absolute(folder).map_err(|source| Error::io("find", folder, source))
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    let bytes = open::read_file_or_pipe(path, LARGEST).map_err(|error| match &error {
        Error::Refused(refused) if refused.help.is_none() => {
            error.help("`nplus1 config init FILE` writes a config to start from")
        }
        _ => error,
    })?;
    if bytes.len() as u64 > LARGEST {
        return Err(
            Error::refused(path, "larger than 256 KiB, so it is not a config")
                .help("name the TOML file that describes the run, not the data"),
        );
    }
    Ok(bytes)
}

/// Describes text that is not TOML.
fn syntax(error: &toml_edit::TomlError, text: &str) -> Diagnostic {
    let end = text.trim_end().len();
    let place = Location::File(error.span().unwrap_or(end..end));
    let message = error.message();
    let help = if message.starts_with("string values must be quoted") {
        Some("put text in quotes: dataset = \"mnist\"".to_owned())
    } else if message.starts_with("duplicate key") {
        Some("write each key and each [section] only once".to_owned())
    } else {
        None
    };
    Diagnostic::new(format!("not TOML: {message}"), place, "").help(help)
}
