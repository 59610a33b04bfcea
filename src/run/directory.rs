//! The locked directory of a run or a study: `runs/NAME/NNN`, `studies/NAME/NNN`, or the folder
//! given by the user.
//!
//! A new directory is prepared under a temporary name beside its final path, and renamed once it is
//! locked and has the files that a resume needs: so a killed process never leaves a directory that
//! can be neither resumed nor used for a new run. An existing folder is claimed by taking its lock,
//! and only if it has no run. Refused: names that lead out of the parent folder.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::lock::{LOCK_FILE, Lock};
use crate::error::{Error, Result};
use crate::format::disk;
use crate::format::file::{
    create_folders, folder_of, is_temporary, read_capped, sync_folder, temporary_in,
    write_atomically,
};
use crate::open::{self, file_type};

/// The resolved config.
pub const CONFIG: &str = "config.toml";
/// The program's version, the machine and the kernel.
pub const ENVIRONMENT: &str = "environment.json";
/// The confusion matrix, the metrics of each class, and wrong samples.
pub const EVALUATION: &str = "evaluation.json";
/// One line per epoch, as JSON.
pub const METRICS_JSONL: &str = "metrics.jsonl";
/// One line per epoch, as CSV.
pub const METRICS_CSV: &str = "metrics.csv";
/// The model.
pub const MODEL: &str = "model.safetensors";
/// The HTML report.
pub const REPORT: &str = "report.html";
/// The summary of a run.
pub const SUMMARY: &str = "summary.json";
/// The kind and the arguments of a study.
pub const STUDY: &str = "study.json";
/// One line per row of a study, as JSON.
pub const ROWS_JSONL: &str = "rows.jsonl";
/// One line per row of a study, as CSV.
pub const ROWS_CSV: &str = "rows.csv";
/// The results of a study.
pub const RESULTS: &str = "results.json";
/// The results of a study as Markdown.
pub const RESULTS_MARKDOWN: &str = "results.md";

/// Files that mark a folder as the directory of a run or study; checkpoints do as well.
const RUN_FILES: [&str; 13] = [
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

/// The first line of a lock while the first files of a run are written in an existing folder; their
/// names follow. After a kill, the next run in this folder removes them.
const BEGUN: &str = "nplus1 begins a run here:\n";
/// The size limit of such a note in bytes.
const LONGEST_NOTE: u64 = 4096;

/// The directory of a run, locked until this value is dropped.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    _lock: Lock,
}

impl RunDirectory {
    /// Creates `parent/name/NNN` with `files`, where NNN is one above the highest number in use,
    /// from 001.
    ///
    /// # Errors
    /// A name that is not a single folder name is refused; errors of the operating system.
    pub fn create_numbered(parent: &Path, name: &str, files: &[InitialFile]) -> Result<Self> {
        check_name(name)?;
        let folder = parent.join(name);
        create_folders(&folder)?;
        let mut number = highest_number(&folder)? + 1;
        let mut prepared = PreparedDirectory::new(&folder, files)?;
        loop {
            match prepared.rename(&folder.join(format!("{number:03}")))? {
                Ok(directory) => return Ok(directory),
                // Another process took this number after the folder was read.
                Err(not_renamed) => prepared = not_renamed,
            }
            number += 1;
        }
    }

    /// Claims `path` for a new run and writes `files` in it; creates the folder if it is missing.
    ///
    /// # Errors
    /// [`Error::InUse`] if it has another run, running or ended.
    pub fn create_at(path: &Path, files: &[InitialFile]) -> Result<Self> {
        // Checked before the lock file is created, so that a refusal writes nothing.
        if unfinished(path)?.is_empty() {
            refuse_runs(path)?;
        }
        // `symlink_metadata` finds a dangling link, too: no folder can be created in its place.
        if let (Err(error), Some(name)) = (path.symlink_metadata(), path.file_name())
            && error.kind() == io::ErrorKind::NotFound
        {
            let folder = folder_of(path);
            create_folders(folder)?;
            let renamed = PreparedDirectory::new(folder, files)?.rename(&folder.join(name))?;
            if let Ok(directory) = renamed {
                return Ok(Self {
                    path: path.to_path_buf(),
                    ..directory
                });
            }
            // Another process created the folder meanwhile.
        }
        create_folders(path)?;
        let lock = Lock::take(path)?;
        for name in unfinished(path)? {
            let left = path.join(name);
            disk::remove(&left).map_err(|source| Error::io("remove", &left, source))?;
        }
        refuse_runs(path)?;
        let noted = files.len() > 1 && lock.note(&begun_note(files))?;
        for (name, bytes) in files {
            write_atomically(&path.join(name), bytes)?;
        }
        if noted {
            lock.clear()?;
        }
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// Claims the directory of an existing run to continue it, and removes partly written files
    /// that a crash left.
    ///
    /// # Errors
    /// A folder without a run is refused; [`Error::InUse`] if the run is in progress.
    pub fn open(path: &Path) -> Result<Self> {
        match first_run_file(path)? {
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
        remove_leftovers(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            _lock: lock,
        })
    }

    /// Returns true if the run ended before its first checkpoint: the directory has no checkpoint
    /// and no file that is written only after one.
    ///
    /// # Errors
    /// A directory that cannot be read.
    pub fn ended_before_first_checkpoint(&self) -> Result<bool> {
        let late = |name: &OsString| {
            name == MODEL || name == SUMMARY || super::checkpoint::number_of(name).is_some()
        };
        Ok(!names(&self.path)?.iter().any(late))
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path of the file `name` in the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes `bytes` to the file `name`, replacing it atomically.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        write_atomically(&self.file(name), bytes)
    }
}

/// A file that a new directory gets at once: its name and its content.
pub type InitialFile = (&'static str, Vec<u8>);

/// A complete, locked directory under a temporary name, beside its final path; removed when it is
/// dropped before it is renamed.
struct PreparedDirectory {
    folder: PathBuf,
    lock: Option<Lock>,
    renamed: bool,
}

impl PreparedDirectory {
    /// Prepares a directory with `files` in `parent`.
    fn new(parent: &Path, files: &[InitialFile]) -> Result<Self> {
        let ((), folder) = temporary_in(parent, disk::create_folder)
            .map_err(|source| Error::io("create", parent, source))?;
        let mut prepared = Self {
            folder,
            lock: None,
            renamed: false,
        };
        prepared.lock = Some(Lock::take(&prepared.folder)?);
        for (name, bytes) in files {
            write_atomically(&prepared.folder.join(name), bytes)?;
        }
        Ok(prepared)
    }

    /// Renames the directory to `path`, or returns it unchanged if `path` exists already.
    fn rename(mut self, path: &Path) -> Result<std::result::Result<RunDirectory, Self>> {
        match disk::rename(&self.folder, path) {
            Ok(()) => self.renamed = true,
            // The directory is never empty, so if two processes rename theirs to the same path,
            // only the first succeeds.
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
        sync_folder(folder_of(path))?;
        Ok(Ok(RunDirectory {
            path: path.to_path_buf(),
            _lock: self.lock.take().expect("a prepared directory is locked"),
        }))
    }
}

impl Drop for PreparedDirectory {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed does no harm under its temporary name.
            let _ = remove_with_files(&self.folder);
        }
    }
}

/// Removes a folder of files.
fn remove_with_files(folder: &Path) -> Result<()> {
    for name in names(folder)? {
        let file = folder.join(name);
        disk::remove(&file).map_err(|source| Error::io("remove", &file, source))?;
    }
    disk::remove_folder(folder).map_err(|source| Error::io("remove", folder, source))
}

/// Removes what a crash left in `folder`: partly written files, and folders that had not got their
/// names. The caller must hold its lock or that of the study around it.
///
/// # Errors
/// Errors of the operating system.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    for entry in entries(folder)? {
        let leftover = entry.path();
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        match is_temporary(&entry.file_name()) {
            true if kind.is_file() => {
                disk::remove(&leftover).map_err(|source| Error::io("remove", &leftover, source))?;
            }
            true if kind.is_dir() => remove_with_files(&leftover)?,
            _ => {}
        }
    }
    Ok(())
}

/// Returns what the lock of a folder says while the first `files` of a run are written in it.
fn begun_note(files: &[InitialFile]) -> String {
    let names = files.iter().map(|(name, _)| format!("{name}\n"));
    format!("{BEGUN}{}", names.collect::<String>())
}

/// Returns the files of a run that a killed process has begun in the existing folder `path`: its
/// lock names them, and there is no other file of a run.
fn unfinished(path: &Path) -> Result<Vec<&'static str>> {
    let lock = path.join(LOCK_FILE);
    if !file_type(&lock)?.is_some_and(|kind| kind.is_file()) {
        return Ok(Vec::new());
    }
    let note = match read_capped(&lock, LONGEST_NOTE) {
        Ok(note) => note,
        // Somebody else's file of that name.
        Err(Error::Refused(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let note = String::from_utf8(note).unwrap_or_default();
    let Some(named) = note.strip_prefix(BEGUN) else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for name in names(path)? {
        let run_file = RUN_FILES.into_iter().chain([super::checkpoint::FIRST]);
        let run_file = run_file.into_iter().find(|file| name == *file);
        match run_file {
            Some(file) if named.lines().any(|line| line == file) => found.push(file),
            None if super::checkpoint::number_of(&name).is_none() => {}
            _ => return Ok(Vec::new()),
        }
    }
    Ok(found)
}

/// Refuses a name that cannot be a single folder below `runs/`.
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
        "a run cannot be named {name:?}: the name becomes a folder, so it must not be empty, start with . or -, be longer than 100 bytes, or contain / \\ : or control characters"
    )))
}

/// Returns the highest number among the names in `folder`, 0 if there is none.
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

/// Refuses a path that has a run, or is not a folder.
fn refuse_runs(path: &Path) -> Result<()> {
    if let Some(kind) = file_type(path)?
        && !kind.is_dir()
    {
        let problem = format!("is {}, not a folder", open::kind_name(kind));
        return Err(Error::refused(path, problem).help("choose another folder with --out"));
    }
    first_run_file(path)?.map_or(Ok(()), |name| {
        Err(Error::InUse(format!(
            "{}: this directory has another run ({name})\n  help: continue that run with --resume, or choose another directory with --out",
            path.display()
        )))
    })
}

/// Returns the first file of a run in `path` in alphabetical order, if there is any.
fn first_run_file(path: &Path) -> Result<Option<String>> {
    if !is_folder(path)? {
        return Ok(None);
    }
    let is_run_file = |name: &str| {
        RUN_FILES.contains(&name) || super::checkpoint::number_of(OsStr::new(name)).is_some()
    };
    Ok(names(path)?
        .into_iter()
        .filter_map(|name| name.into_string().ok())
        .filter(|name| is_run_file(name))
        .min())
}

/// Returns true if `path` is a folder.
fn is_folder(path: &Path) -> Result<bool> {
    Ok(file_type(path)?.is_some_and(|kind| kind.is_dir()))
}

/// Returns the names in a folder.
fn names(folder: &Path) -> Result<Vec<OsString>> {
    let entries = entries(folder)?.into_iter();
    Ok(entries.map(|entry| entry.file_name()).collect())
}

/// Returns the entries of a folder.
fn entries(folder: &Path) -> Result<Vec<fs::DirEntry>> {
    fs::read_dir(folder)
        .and_then(Iterator::collect)
        .map_err(|source| Error::io("read", folder, source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::file::TEMPORARY_PREFIX;

    #[test]
    fn names_that_leave_the_parent_folder_are_refused_before_anything_is_created() {
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
    fn a_directory_is_as_readable_to_others_as_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().unwrap();
        let plain = parent.path().join("plain");
        fs::create_dir(&plain).unwrap();
        let numbered = RunDirectory::create_numbered(parent.path(), "a", &[]).unwrap();
        let named = RunDirectory::create_at(&parent.path().join("b"), &[]).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(numbered.path()), mode(&plain) & !0o022);
        assert_eq!(mode(named.path()), mode(&plain) & !0o022);
    }

    #[test]
    fn a_directory_is_opened_without_the_leftovers_of_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(CONFIG), "name = \"a\"").unwrap();
        let leftover = folder.path().join(format!("{TEMPORARY_PREFIX}a1B2c3"));
        fs::write(&leftover, "half").unwrap();
        // A fold's folder, before it has its name.
        let unnamed = folder.path().join(format!("{TEMPORARY_PREFIX}Z9y8X7"));
        fs::create_dir(&unnamed).unwrap();
        fs::write(unnamed.join(CONFIG), "name = \"a\"").unwrap();
        let notes = format!("{TEMPORARY_PREFIX}notes");
        fs::write(folder.path().join(&notes), "not ours").unwrap();
        RunDirectory::open(folder.path()).unwrap();
        assert!(!leftover.exists() && !unnamed.exists());
        assert!(folder.path().join(&notes).exists());
        assert!(folder.path().join(CONFIG).exists());
    }
}
