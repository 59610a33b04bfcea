//! Inputs that several commands read: the config and its changes, the rows, θ.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::arguments::{Global, OverrideArguments};
use super::output::Messages;
use super::session::Session;
use crate::config::{Config, Overrides};
use crate::data::{self, LoadedData, SearchPaths, Split};
use crate::error::{Error, Result};
use crate::format::file::folder_of;
use crate::format::{AnyParameters, Model, safetensors};
use crate::model::{Network, Parameters};
use crate::numeric::Precision;
use crate::open::file_type;
use crate::run::directory;

/// Returns the changes of a config that the arguments ask for.
pub fn overrides(changes: &OverrideArguments) -> Overrides {
    Overrides {
        set: changes.set.clone(),
        seed: changes.seed,
        threads: changes.threads,
    }
}

/// A config and the rows that it names.
pub struct Inputs {
    /// The resolved config.
    pub config: Config,
    /// The training, validation and test rows; of a config with folds, those of the first.
    pub split: Split,
}

impl Inputs {
    /// Loads the config at `path`, and its rows.
    ///
    /// # Errors
    /// A config or data that are refused.
    pub fn load(path: &Path, overrides: &Overrides, global: &Global) -> Result<Self> {
        let config = Config::load(path, overrides)?;
        Self::of(config, path.parent().unwrap_or(Path::new("")), global)
    }

    /// Loads the rows of `config`, whose paths are relative to `base`.
    ///
    /// # Errors
    /// Data that are refused.
    pub fn of(config: Config, base: &Path, global: &Global) -> Result<Self> {
        let search_paths = SearchPaths::new(global.datasets.as_deref());
        let loaded = data::load(&config.data, &search_paths, base)?;
        let split = splits(&loaded, &config)?.swap_remove(0);
        Ok(Self { config, split })
    }

    /// Returns the network for the config and the rows.
    ///
    /// # Errors
    /// A network that cannot be made for these classes.
    pub fn network(&self) -> Result<Network> {
        Ok(Session::new(&self.config, &self.split, None)?.network)
    }
}

/// Returns the rows of each run: one split, or one per fold.
pub fn splits(loaded: &LoadedData, config: &Config) -> Result<Vec<Split>> {
    match config.data.folds {
        Some(count) => loaded.folds(&config.data, count, config.seed),
        None => Ok(vec![loaded.split(&config.data, config.seed)?]),
    }
}

/// Returns the number of a fold from the name of its directory, from 1.
///
/// # Errors
/// A folder that does not exist.
pub fn fold_of(path: &Path) -> Result<Option<usize>> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let path = path
        .canonicalize()
        .map_err(|source| Error::io("read", path, source))?;
    let name = path.file_name().and_then(OsStr::to_str);
    let number = name.and_then(|name| name.strip_prefix("fold-"));
    let number = number.and_then(|number| number.parse().ok());
    Ok(number.filter(|&number| number > 0))
}

/// Returns the file of a model: `path` itself, or the model in the directory of a run.
fn model_file(path: &Path) -> Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    let file = path.join(directory::MODEL);
    if file_type(&file)?.is_some() {
        return Ok(file);
    }
    let problem = format!("no {} in this folder", directory::MODEL);
    let members = members(path);
    let help = if members.is_empty() {
        "give a model file, or the directory of a run that ended".to_owned()
    } else {
        let names: Vec<String> = members
            .iter()
            .map(|name| path.join(name).display().to_string())
            .collect();
        format!(
            "each of its runs has a model of its own: name one of {}",
            names.join(", ")
        )
    };
    Err(Error::refused(path, problem).help(help))
}

/// Reads the model at `path`, a file or the directory of a run; returns its file and the model. Says
/// what the file does not say.
///
/// # Errors
/// No model there, or one that is refused.
pub fn load_model(path: &Path, messages: Messages) -> Result<(PathBuf, Model)> {
    let file = model_file(path)?;
    let loaded = safetensors::load(&file)?;
    for assumed in &loaded.assumed {
        messages.warn(format_args!(
            "{}: not in the file, assumed: {assumed}",
            file.display()
        ));
    }
    Ok((file, loaded.model))
}

/// Refuses an output whose folder does not exist, before any work is done for it.
///
/// # Errors
/// No such folder.
pub fn check_folder(output: &Path) -> Result<()> {
    let folder = folder_of(output);
    if folder.is_dir() {
        return Ok(());
    }
    Err(Error::refused(folder, "no such folder").help("make the folder first"))
}

/// Returns the names of the folders in `path` that have a model, sorted: folds, or runs.
fn members(path: &Path) -> Vec<String> {
    let Ok(entries) = path.read_dir() else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().join(directory::MODEL).is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Returns θ of the given model, or the initial θ of training.
pub fn parameters(
    weights: Option<&Path>,
    config: &Config,
    network: &Network,
    messages: Messages,
) -> Result<Parameters<f64>> {
    let layout = &network.layout;
    let Some(path) = weights else {
        let (initialization, seed) = (config.model.initialization, config.seed);
        return Ok(match config.model.precision {
            Precision::F32 => initialization.draw::<f32>(layout, seed).widened(),
            Precision::F64 => initialization.draw::<f64>(layout, seed),
        });
    };
    let file = model_file(path)?;
    let loaded = safetensors::load(&file)?;
    for assumed in &loaded.assumed {
        messages.detail(format_args!("{}: {assumed}", file.display()));
    }
    let parameters = loaded.model.parameters;
    if parameters.layout() != layout {
        let describe = |sizes: &[usize], bias| {
            format!("{sizes:?} {} biases", if bias { "with" } else { "without" })
        };
        let found = parameters.layout();
        return Err(Error::refused(
            file,
            format!(
                "contains a network {}, but the config asks for {}",
                describe(found.sizes(), found.has_bias()),
                describe(layout.sizes(), layout.has_bias()),
            ),
        ));
    }
    Ok(match &parameters {
        AnyParameters::F32(parameters) => parameters.widened(),
        AnyParameters::F64(parameters) => parameters.clone(),
    })
}

/// Returns the config at `path`, or the default given by its text and name, and the folder to which
/// its paths are relative.
pub fn configured<'a>(
    path: Option<&'a Path>,
    (text, name): (&str, &str),
    overrides: &Overrides,
) -> Result<(Config, &'a Path)> {
    Ok(match path {
        Some(path) => (
            Config::load(path, overrides)?,
            path.parent().unwrap_or(Path::new("")),
        ),
        None => (
            Config::parse(text, Path::new(name), overrides)?,
            Path::new(""),
        ),
    })
}
