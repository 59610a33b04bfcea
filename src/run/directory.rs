//! Where a run lives: `runs/NAME/NNN`, or the folder it was told.
//!
//! A directory is built beside its place, under a temporary name, and renamed once it is locked and
//! holds the files that a resume needs: no kill leaves one that can neither be resumed nor used. A
//! folder that is there already is claimed by its lock, and only if no run is in it. Refused: names
//! that lead out of the parent folder.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::lock::Lock;
use crate::error::{Error, Result};
use crate::format::file::{
    TEMPORARY_PREFIX, folder_of, is_temporary, sync_folder, write_atomically,
};
use crate::open::{self, file_type};

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
    /// Creates `parent/name/NNN` with `files`, one above the highest number there, from 001.
    ///
    /// # Errors
    /// A name that is no single folder name is refused; else what the operating system refuses.
    pub fn create_numbered(parent: &Path, name: &str, files: &[First]) -> Result<Self> {
        check_name(name)?;
        let folder = parent.join(name);
        fs::create_dir_all(&folder).map_err(|source| Error::io("create", &folder, source))?;
        let mut number = highest_number(&folder)? + 1;
        let mut built = Built::new(&folder, files)?;
        loop {
            match built.rename(&folder.join(format!("{number:03}")))? {
                Ok(directory) => return Ok(directory),
                // Another process took this number since the folder was read.
                Err(unplaced) => built = unplaced,
            }
            number += 1;
        }
    }

    /// Takes `path` for a new run and writes `files` in it; creates it with them if it is missing.
    ///
    /// # Errors
    /// [`Error::InUse`] if another run is in it, running or done.
    pub fn create_at(path: &Path, files: &[First]) -> Result<Self> {
        // Looked at before the lock file is made, so that a refusal writes nothing.
        refuse_runs(path)?;
        // A link that leads nowhere is there, and is no place for a folder.
        if let (Err(error), Some(name)) = (path.symlink_metadata(), path.file_name())
            && error.kind() == io::ErrorKind::NotFound
        {
            let folder = folder_of(path);
            fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
            let renamed = Built::new(folder, files)?.rename(&folder.join(name))?;
            if let Ok(directory) = renamed {
                return Ok(Self {
                    path: path.to_path_buf(),
                    ..directory
                });
            }
            // Another process took it meanwhile.
        }
        fs::create_dir_all(path).map_err(|source| Error::io("create", path, source))?;
        let lock = Lock::take(path)?;
        refuse_runs(path)?;
        let directory = Self {
            path: path.to_path_buf(),
            _lock: lock,
        };
        for (name, bytes) in files {
            directory.write(name, bytes)?;
        }
        Ok(directory)
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
                let problem = match file_type(path)? {
                    Some(kind) if kind.is_dir() => "no run in this folder".to_owned(),
                    Some(kind) => format!("is {}, not a folder", open::kind_name(kind)),
                    None => "no such folder".to_owned(),
                };
                return Err(Error::refused(path, problem)
                    .help("give the directory of a run, such as runs/mnist/001"));
            }
        }
        let lock = Lock::take(path)?;
        sweep(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// Whether the run ended before its first checkpoint: there is none, nor what is only written
    /// after one.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn has_only_begun(&self) -> Result<bool> {
        let late = |name: &OsString| {
            name == MODEL || name == SUMMARY || super::checkpoint::number_of(name).is_some()
        };
        Ok(!names(&self.path)?.iter().any(late))
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

/// A file that a directory has from the start: its name and its content.
pub type First = (&'static str, Vec<u8>);

/// A directory under a temporary name, locked and complete, beside the place where it belongs.
struct Built {
    folder: tempfile::TempDir,
    lock: Lock,
}

impl Built {
    /// Builds a directory with `files` in `parent`.
    fn new(parent: &Path, files: &[First]) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX);
        // A temporary folder is private by default; a run is as open as the user's umask allows.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o777));
        }
        let folder = builder
            .tempdir_in(parent)
            .map_err(|source| Error::io("create", parent, source))?;
        let lock = Lock::take(folder.path())?;
        for (name, bytes) in files {
            write_atomically(&folder.path().join(name), bytes)?;
        }
        Ok(Self { folder, lock })
    }

    /// Moves the directory to `path`, or gives it back if something is there.
    fn rename(self, path: &Path) -> Result<std::result::Result<RunDirectory, Self>> {
        match fs::rename(self.folder.path(), path) {
            Ok(()) => {}
            // It is never empty itself, so of two that want one place, only the first gets it.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists
                        | io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Err(self));
            }
            Err(source) => return Err(Error::io("create", path, source)),
        }
        // Nothing is left under the temporary name to be removed.
        let _ = self.folder.keep();
        sync_folder(folder_of(path))?;
        Ok(Ok(RunDirectory {
            path: path.to_path_buf(),
            _lock: self.lock,
        }))
    }
}

/// Removes what a crash left of files half written in `folder`, whose lock, or that of the study
/// around it, the caller holds.
///
/// # Errors
/// Whatever the operating system refuses.
pub fn sweep(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let leftover = entry.path();
        let file = || entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_temporary(&entry.file_name()) && file() {
            fs::remove_file(&leftover).map_err(|source| Error::io("remove", &leftover, source))?;
        }
    }
    Ok(())
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
    let number = |name: &OsString| name.to_str()?.parse().ok();
    Ok(numbers
        .iter()
        .filter_map(number)
        .filter(|&number: &u64| number < u64::MAX / 2)
        .max()
        .unwrap_or(0))
}

/// Refuses a folder with a run in it.
fn refuse_runs(path: &Path) -> Result<()> {
    if let Some(kind) = file_type(path)?
        && !kind.is_dir()
    {
        let problem = format!("is {}, not a folder", open::kind_name(kind));
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
    if !is_folder(path)? {
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

/// Whether `path` is a folder.
fn is_folder(path: &Path) -> Result<bool> {
    Ok(file_type(path)?.is_some_and(|kind| kind.is_dir()))
}

/// The names in a folder.
fn names(folder: &Path) -> Result<Vec<OsString>> {
    let entries = entries(folder)?.into_iter();
    Ok(entries.map(|entry| entry.file_name()).collect())
}

/// What is in a folder.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    fs::read_dir(folder)
        .and_then(Iterator::collect)
        .map_err(|source| Error::io("read", folder, source))
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
            let error = RunDirectory::create_numbered(parent.path(), name, &[]).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{name:?}");
        }
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn a_directory_is_as_open_to_others_as_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let plain = parent.path().join("plain");
        fs::create_dir(&plain).unwrap();
        let numbered = RunDirectory::create_numbered(parent.path(), "a", &[]).unwrap();
        let named = RunDirectory::create_at(&parent.path().join("b"), &[]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(numbered.path()), mode(&plain));
        assert_eq!(mode(named.path()), mode(&plain));
    }

    #[test]
    fn a_directory_is_opened_without_the_leftovers_of_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CONFIG), "name = \"a\"").unwrap();
        let leftover = folder.path().join(format!("{TEMPORARY_PREFIX}a1B2c3"));
        fs::write(&leftover, "half").unwrap();
        let notes = format!("{TEMPORARY_PREFIX}notes");
        fs::write(folder.path().join(&notes), "not ours").unwrap();
        RunDirectory::open(folder.path()).unwrap();
        assert!(!leftover.exists());
        assert!(folder.path().join(&notes).exists());
        assert!(folder.path().join(CONFIG).exists());
    }
}
