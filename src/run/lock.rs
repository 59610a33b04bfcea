//! The lock of a run's directory, held while a process writes in it.
//!
//! It is an advisory lock of the operating system on the file `lock`, released when the process
//! ends, so that a crash never leaves a directory locked. The file itself stays: removing it would
//! let two processes hold two locks.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::format::disk;

/// The name of the file that is locked.
pub const LOCK_FILE: &str = "lock";

/// The lock; dropping it releases the directory.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock of `directory`, without waiting.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process (or another lock of this one) holds it; a `lock` that is
    /// a link or not a regular file is refused.
    pub fn take(directory: &Path) -> Result<Self> {
        let path = directory.join(LOCK_FILE);
        let file = disk::lock_file(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { file, path }),
            Err(TryLockError::WouldBlock) => Err(Error::InUse(format!(
                "{}: another process is using this directory\n  help: wait until it ends, or choose another directory with --out",
                directory.display()
            ))),
            Err(TryLockError::Error(source)) => Err(Error::io("lock", &path, source)),
        }
    }

    /// Writes `note` to the locked file, unless it has content. Returns whether it did.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn note(&self, note: &str) -> Result<bool> {
        let empty = self.file.metadata().map(|metadata| metadata.len() == 0);
        let noted = empty.and_then(|empty| {
            if empty {
                disk::write_all(&self.path, &self.file, note.as_bytes())?;
                disk::sync(&self.path, &self.file)?;
            }
            Ok(empty)
        });
        noted.map_err(|source| Error::io("write", &self.path, source))
    }

    /// Removes the note from the locked file.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn clear(&self) -> Result<()> {
        disk::truncate(&self.path, &self.file, 0)
            .and_then(|()| disk::sync(&self.path, &self.file))
            .map_err(|source| Error::io("write", &self.path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let first = Lock::take(folder.path()).unwrap();
        let error = Lock::take(folder.path()).unwrap_err();
        assert_eq!(error.exit_code(), 6);
        drop(first);
        Lock::take(folder.path()).unwrap();
    }
}
