//! TOML → a validated [`Config`].
//!
//! A config is refused or right as a whole: [`Config::load`] reports every fault at once, each with
//! its line, a caret, what was found, what is allowed and the way out. Changes from the command
//! line ([`Overrides`]) edit the document before it is read, so they meet the same checks.
//!
//! Nothing here opens the data: a config that is right can still name a file that is not there.

mod data;
mod diagnostic;
mod fields;
mod gradient;
pub mod keys;
mod messages;
mod optimizer;
mod overrides;
mod reader;
mod sections;
mod validation;
mod writer;

use std::path::{Path, PathBuf};

pub use data::DATASETS;
pub use overrides::Overrides;

use crate::data::DataConfig;
use crate::error::{Error, Result};
use crate::gradient::GradientConfig;
use crate::model::{LossConfig, ModelConfig};
use crate::open;
use crate::optimizer::OptimizerConfig;
use crate::train::TrainConfig;
use diagnostic::{Diagnostic, Location};
use reader::Reader;

/// A commented config that trains, to start from.
pub const STARTER: &str = include_str!("starter.toml");

/// The largest file that is read, in bytes: a config is written by hand.
const LARGEST: u64 = 1 << 20;

/// A run, resolved: every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Names the run's directory.
    pub name: String,
    /// Seeds every random stream.
    pub seed: u64,
    /// Which rows.
    pub data: DataConfig,
    /// Which network.
    pub model: ModelConfig,
    /// Which loss.
    pub loss: LossConfig,
    /// Which gradient.
    pub gradient: GradientConfig,
    /// Which update.
    pub optimizer: OptimizerConfig,
    /// How long.
    pub train: TrainConfig,
    /// On which threads, and what is kept.
    pub run: RunConfig,
}

/// `[run]`.
#[derive(Clone, Debug, PartialEq)]
pub struct RunConfig {
    /// At most so many workers; `None`: as many as the process has physical cores.
    pub threads: Option<usize>,
    /// Seconds between checkpoints.
    pub checkpoint_seconds: f64,
    /// Refuse a run that is predicted to take longer.
    pub limit_seconds: Option<f64>,
}

impl Config {
    /// Reads a file or a pipe, changed by the command line.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such file, if it is neither a regular file nor a pipe, or
    /// larger than 1 MiB, or if the pipe does not come to its end within 5 seconds;
    /// [`Error::Config`] with every fault of its content; [`Error::Io`] if reading fails.
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

    /// Reads a text, changed by the command line. `path` stands in its errors, names a config that
    /// has no name, and its folder is where the data's paths start; it is not opened.
    ///
    /// # Errors
    /// [`Error::Config`] with every fault.
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

    /// The whole config as TOML, every default filled in and data files by absolute path: read
    /// again, from anywhere, it gives an equal config.
    pub fn to_toml(&self) -> String {
        writer::write(self).to_string()
    }
}

/// The folder from the root on, so that a config copied elsewhere still finds its data.
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
            Error::refused(path, "larger than 1 MiB, so it is no config")
                .help("give the TOML file that describes the run, not the data"),
        );
    }
    Ok(bytes)
}

fn syntax(error: &toml_edit::TomlError, text: &str) -> Diagnostic {
    let end = text.trim_end().len();
    let place = Location::File(error.span().unwrap_or(end..end));
    let message = error.message();
    let help = if message.starts_with("string values must be quoted") {
        Some("text stands in quotes: dataset = \"mnist\"".to_owned())
    } else if message.starts_with("duplicate key") {
        Some("each key, and each [section], stands once".to_owned())
    } else {
        None
    };
    Diagnostic::new(format!("not TOML: {message}"), place, "").help(help)
}
