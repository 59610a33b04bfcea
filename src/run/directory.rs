//! Where a run lives: `runs/NAME/NNN`, or the folder it was told.
//!
//! A numbered directory is claimed by creating it, which only one process can do; a named one by
//! its lock, and only if no run is in it. Refused: names that lead out of the parent folder.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::lock::Lock;
use crate::error::{Error, Result};
use crate::format::file::{TEMPORARY_PREFIX, write_atomically};
use crate::open;

/// The resolved config.
pub const CONFIG: &str = "config.toml";
/// Version, machine, kernel.
pub const ENVIRONMENT: &str = "environment.json";
/// Confusion matrix, per-class figures, wrong samples.
pub const EVALUATION: &str = "evaluation.json";
/// One line an epoch, as JSON.
pub const METRICS_JSONL: &str = "metrics.jsonl";
/// One line an epoch, as CSV.
pub const METRICS_CSV: &str = "metrics.csv";
/// The model.
pub const MODEL: &str = "model.safetensors";
/// The page that shows it all.
pub const REPORT: &str = "report.html";
/// What the run came to.
pub const SUMMARY: &str = "summary.json";
/// What a study asked.
pub const STUDY: &str = "study.json";
/// One line a row of a study, as JSON.
pub const ROWS_JSONL: &str = "rows.jsonl";
/// One line a row of a study, as CSV.
pub const ROWS_CSV: &str = "rows.csv";
/// What a study came to.
pub const RESULTS: &str = "results.json";
/// The same, to be read.
pub const RESULTS_MARKDOWN: &str = "results.md";

/// Files of which one makes a folder a run's directory; checkpoints do as well.
const OURS: [&str; 13] = [
    CONFIG,
    ENVIRONMENT,
    EVALUATION,
    METRICS_JSONL,
    METRICS_CSV,
    MODEL,
    REPORT,
    SUMMARY,
    STUDY,
    ROWS_JSONL,
    ROWS_CSV,
    RESULTS,
    RESULTS_MARKDOWN,
];

/// A run's directory, locked for as long as this lives.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: Lock,
}

impl RunDirectory {
    /// Creates `parent/name/NNN`, one above the highest number there, from 001.
    ///
    /// # Errors
    /// A name that is no single folder name is refused; else what the operating system refuses.
    pub fn create_numbered(parent: &Path, name: &str) -> Result<Self> {
        check_name(name)?;
        let folder = parent.join(name);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| Error::io("create", &path, source)
        };
        fs::create_dir_all(&folder).map_err(failed(&folder))?;
        let mut number = highest_number(&folder)? + 1;
        loop {
            let path = folder.join(format!("{number:03}"));
            match fs::create_dir(&path) {
                Ok(()) => {
                    let lock = Lock::take(&path)?;
                    return Ok(Self { path, _lock: lock });
                }
                // Another process took this number since the folder was read.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(&path)(error)),
            }
        }
    }

    /// Takes `path` for a new run, and creates it if it is missing.
    ///
    /// # Errors
    /// [`Error::InUse`] if another run is in it, running or done.
    pub fn create_at(path: &Path) -> Result<Self> {
        // Looked at before the lock file is made, so that a refusal writes nothing.
        refuse_runs(path)?;
        fs::create_dir_all(path).map_err(|source| Error::io("create", path, source))?;
        let lock = Lock::take(path)?;
        refuse_runs(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// Takes the directory of an existing run, to go on with it, and removes what a crash left of
    /// files half written.
    ///
    /// # Errors
    /// A folder without a run is refused; [`Error::InUse`] if it is running.
    pub fn open(path: &Path) -> Result<Self> {
        match first_of_ours(path)? {
            Some(_) => {}
            None => {
                let problem = if path.is_dir() {
                    "no run in this folder".to_owned()
                } else if path.exists() {
                    format!("is {}, not a folder", open::kind(path))
                } else {
                    "no such folder".to_owned()
                };
                return Err(Error::refused(path, problem)
                    .help("give the directory of a run, such as runs/mnist/001"));
            }
        }
        let lock = Lock::take(path)?;
        for name in names(path)? {
            if name.to_string_lossy().starts_with(TEMPORARY_PREFIX) {
                let leftover = path.join(name);
                fs::remove_file(&leftover)
                    .map_err(|source| Error::io("remove", &leftover, source))?;
            }
        }
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of the file `name` in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Replaces the file `name` by `bytes`, all or nothing.
    ///
    /// # Errors
    /// Whatever the operating system refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.file(name), bytes)
    }
}

/// A run's name becomes one folder below `runs/`.
fn check_name(name: &str) -> Result<()> {
    let plain = !name.is_empty()
        && !name.starts_with(['.', '-'])
        && name.len() <= 100
        && !name
            .chars()
            .any(|letter| letter.is_control() || "/\\:".contains(letter));
    if plain {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "a run cannot be named {name:?}: its name becomes a folder, so it may not be empty, start with . or -, be longer than 100 bytes, or contain / \\ : or control characters"
    )))
}

/// The highest number among the entries of `folder`, 0 if there is none.
fn highest_number(folder: &Path) -> Result<u64> {
    let numbers = names(folder)?;
    let number = |name: &std::ffi::OsString| name.to_str()?.parse().ok();
    Ok(numbers
        .iter()
        .filter_map(number)
        .filter(|&number: &u64| number < u64::MAX / 2)
        .max()
        .unwrap_or(0))
}

/// Refuses a folder with a run in it.
fn refuse_runs(path: &Path) -> Result<()> {
    if path.exists() && !path.is_dir() {
        let problem = format!("is {}, not a folder", open::kind(path));
        return Err(Error::refused(path, problem).help("choose another folder with --out"));
    }
    first_of_ours(path)?.map_or(Ok(()), |name| {
        Err(Error::InUse(format!(
            "{}: another run is in this directory ({name})\n  help: go on with it by --resume, or choose another with --out",
            path.display()
        )))
    })
}

/// A file of a run in `path`, if there is any.
fn first_of_ours(path: &Path) -> Result<Option<String>> {
    if !path.is_dir() {
        return Ok(None);
    }
    let ours = |name: &str| {
        OURS.contains(&name) || super::checkpoint::number_of(OsStr::new(name)).is_some()
    };
    Ok(names(path)?
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| ours(name))
        .min())
}

/// The names in a folder.
fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>> {
    let failed = |source| Error::io("read", folder, source);
    fs::read_dir(folder)
        .map_err(failed)?
        .map(|entry| entry.map(|entry| entry.file_name()).map_err(failed))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused_before_anything_is_created() {
        let parent = tempfile::tempdir().unwrap();
        let long = "n".repeat(101);
        for name in [
            "", ".", "..", "a/b", "../up", "a\\b", "a\nb", ".hidden", "-option", &long,
        ] {
            let error = RunDirectory::create_numbered(parent.path(), name).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{name:?}");
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_directory_is_opened_without_the_leftovers_of_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CONFIG), "name = \"a\"").unwrap();
        let leftover = folder.path().join(format!("{TEMPORARY_PREFIX}abc"));
        fs::write(&leftover, "half").unwrap();
        RunDirectory::open(folder.path()).unwrap();
        assert!(!leftover.exists());
        assert!(folder.path().join(CONFIG).exists());
    }
}
