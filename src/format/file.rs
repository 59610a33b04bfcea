//! Reads and writes whole files: reads at most a given size, writes atomically.
//!
//! After a crash, a file that [`write_atomically`] was replacing has its old content or the new
//! one: a reader (or a resumed run) never sees half a file, and a full disk leaves the previous
//! version.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::open;

/// The prefix of the temporary files of [`write_atomically`]; one left by a crash may be removed.
pub const TEMPORARY_PREFIX: &str = ".nplus1-";

/// The number of random letters and digits after [`TEMPORARY_PREFIX`].
const RANDOM_CHARACTERS: usize = 6;

/// Returns whether `name` has the form of a temporary file of [`write_atomically`].
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name
        .to_str()
        .and_then(|name| name.strip_prefix(TEMPORARY_PREFIX));
    random.is_some_and(|random| {
        random.len() == RANDOM_CHARACTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Replaces the content of `path` by `bytes` atomically: writes and syncs a temporary file in the
/// same folder, renames it to `path`, and syncs the folder.
///
/// # Errors
/// The operating system refuses a call. `path` is then unchanged, unless only the last call failed,
/// the sync of the folder.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_to(&mut System, path, bytes)
}

/// The system calls whose order makes a write atomic and durable; a trait, so that a test can
/// record them.
trait Disk {
    /// Flushes the content of a file, or the entries of a folder, to the disk.
    fn sync(&mut self, handle: &File) -> io::Result<()>;
    /// Renames a temporary file to `path`.
    fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()>;
}

/// The calls of the operating system.
struct System;

impl Disk for System {
    fn sync(&mut self, handle: &File) -> io::Result<()> {
        handle.sync_all()
    }

    fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()> {
        file.persist(path).map(drop).map_err(|error| error.error)
    }
}

fn write_to(disk: &mut impl Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |source| Error::io("write", path, source);
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(TEMPORARY_PREFIX)
        .rand_bytes(RANDOM_CHARACTERS);
    // A temporary file is private by default; a result is as readable as the user's umask allows.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temporary = builder.tempfile_in(folder).map_err(failed)?;
    temporary.write_all(bytes).map_err(failed)?;
    disk.sync(temporary.as_file()).map_err(failed)?;
    disk.rename(temporary, path).map_err(failed)?;
    sync_folder_on(disk, folder)
}

/// Reads all of `path`, a file of at most `cap` bytes.
///
/// # Errors
/// A path that does not exist or is not a regular file, a file of more than `cap` bytes, a failed
/// read, or too little memory.
pub fn read_capped(path: &Path, cap: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::io("read", path, source);
    let file = open::regular(path)?;
    let metadata = file.metadata().map_err(failed)?;
    // The length in the metadata only sizes the buffer: a file may grow, and files of /proc have
    // none.
    let mut bytes = Vec::new();
    if metadata.len() <= cap {
        let length = usize::try_from(metadata.len()).unwrap_or(0);
        bytes.try_reserve_exact(length).map_err(|_| {
            Error::Resources(format!(
                "not enough memory for the {length} bytes of {}",
                path.display()
            ))
        })?;
        file.take(cap + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if metadata.len() > cap || bytes.len() as u64 > cap {
        return Err(Error::refused(
            path,
            format!("larger than {cap} bytes, the most that is allowed for such a file"),
        ));
    }
    Ok(bytes)
}

/// Returns the folder that holds `path`.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Flushes the folder's entries to the disk. Does nothing except on Unix, where a folder can be
/// opened as a file.
///
/// # Errors
/// The operating system refuses a call.
pub fn sync_folder(folder: &Path) -> Result<()> {
    sync_folder_on(&mut System, folder)
}

fn sync_folder_on(disk: &mut impl Disk, folder: &Path) -> Result<()> {
    #[cfg(unix)]
    File::open(folder)
        .and_then(|handle| disk.sync(&handle))
        .map_err(|source| Error::io("write", folder, source))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_replaces_the_whole_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"a long first version").unwrap();
        write_atomically(&path, b"second").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_folder_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        // A folder cannot be replaced by a file, so the rename fails after the write.
        let path = folder.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), b"x").unwrap();
        let error = write_atomically(&path, b"content").unwrap_err();
        assert_eq!(error.exit_code(), 8);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Calls the system and records each call with the content of the path before it.
    #[cfg(unix)]
    struct RecordingDisk<'a> {
        path: &'a Path,
        calls: Vec<(String, Vec<u8>)>,
    }

    #[cfg(unix)]
    impl RecordingDisk<'_> {
        fn record(&mut self, call: String) {
            let content = std::fs::read(self.path).unwrap();
            self.calls.push((call, content));
        }
    }

    #[cfg(unix)]
    impl Disk for RecordingDisk<'_> {
        fn sync(&mut self, handle: &File) -> io::Result<()> {
            let metadata = handle.metadata()?;
            self.record(if metadata.is_dir() {
                "sync the folder".to_owned()
            } else {
                format!("sync a file of {} bytes", metadata.len())
            });
            System.sync(handle)
        }

        fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()> {
            self.record("rename".to_owned());
            System.rename(file, path)
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_write_syncs_the_whole_file_then_renames_it_then_syncs_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"old").unwrap();
        let calls = Vec::new();
        let mut disk = RecordingDisk { path: &path, calls };
        write_to(&mut disk, &path, b"newer").unwrap();
        let calls = [
            ("sync a file of 5 bytes", "old"),
            ("rename", "old"),
            ("sync the folder", "newer"),
        ];
        let calls = calls.map(|(call, content)| (call.to_owned(), content.as_bytes().to_vec()));
        assert_eq!(disk.calls, calls);
    }

    #[cfg(unix)]
    #[test]
    fn a_result_is_readable_by_others_as_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours");
        write_atomically(&path, b"x").unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }

    #[test]
    fn reading_stops_at_the_cap_and_refuses_folders_and_missing_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("five");
        std::fs::write(&path, b"12345").unwrap();
        assert_eq!(read_capped(&path, 5).unwrap(), b"12345");
        for refused in [
            read_capped(&path, 4),
            read_capped(folder.path(), 4),
            read_capped(&folder.path().join("none"), 4),
        ] {
            assert_eq!(refused.unwrap_err().exit_code(), 2);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_endless_device_is_refused() {
        let error = read_capped(Path::new("/dev/zero"), 1000).unwrap_err();
        assert!(error.to_string().contains("a device"), "{error}");
    }
}
