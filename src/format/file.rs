//! Whole files: read up to a cap, written so that a crash leaves the old content or the new.
//!
//! Every result file goes through [`write_atomically`]: a reader (or a run that is resumed) never
//! sees half a file, and a full disk leaves the previous version in place.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};
use crate::open;

/// How the temporary files of [`write_atomically`] begin; one that survived a crash may be removed.
pub const TEMPORARY_PREFIX: &str = ".nplus1-";

/// How many random letters and digits follow [`TEMPORARY_PREFIX`].
const RANDOM_CHARACTERS: usize = 6;

/// Whether [`write_atomically`] gives its temporary files names like `name`.
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name
        .to_str()
        .and_then(|name| name.strip_prefix(TEMPORARY_PREFIX));
    random.is_some_and(|random| {
        random.len() == RANDOM_CHARACTERS && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Replaces `path` by `bytes`, all or nothing: a temporary file in the same folder is written,
/// synced, renamed over `path`, and the folder is synced.
///
/// # Errors
/// Whatever the operating system refuses; `path` is then as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    write_to(&mut System, path, bytes)
}

/// The calls whose order makes a write atomic and durable, so that a test can watch them.
trait Disk {
    /// Makes the content of a file, or the entries of a folder, durable.
    fn sync(&mut self, handle: &File) -> io::Result<()>;
    /// Puts a temporary file in the place of `path`.
    fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()>;
}

/// The operating system's.
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

/// All of `path`, refused beyond `cap` bytes.
///
/// # Errors
/// A path that leads nowhere or to no regular file, and a file of more than `cap` bytes, are refused.
pub fn read_capped(path: &Path, cap: u64) -> Result<Vec<u8>> {
    let failed = |source| Error::io("read", path, source);
    let file = open::regular(path)?;
    let metadata = file.metadata().map_err(failed)?;
    // The stated length only sizes the buffer: a file may grow, or state none, as those of /proc.
    let mut bytes = Vec::new();
    if metadata.len() <= cap {
        let length = usize::try_from(metadata.len()).unwrap_or(0);
        bytes.try_reserve_exact(length).map_err(|_| {
            Error::Resources(format!(
                "no memory for the {length} bytes of {}",
                path.display()
            ))
        })?;
        file.take(cap + 1).read_to_end(&mut bytes).map_err(failed)?;
    }
    if metadata.len() > cap || bytes.len() as u64 > cap {
        return Err(Error::refused(
            path,
            format!("larger than the {cap} bytes that such a file may have"),
        ));
    }
    Ok(bytes)
}

/// The folder that holds `path`.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes the folder's entries durable. Only Unix can open a folder as a file.
///
/// # Errors
/// Whatever the operating system refuses.
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
        // A folder cannot be replaced by a file: the rename fails after everything was written.
        let path = folder.path().join("taken");
        std::fs::create_dir(&path).unwrap();
        std::fs::write(path.join("inside"), b"x").unwrap();
        let error = write_atomically(&path, b"content").unwrap_err();
        assert_eq!(error.exit_code(), 8);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    /// Does what the system does, and keeps what was done with what the path then held.
    #[cfg(unix)]
    struct Watched<'a> {
        path: &'a Path,
        calls: Vec<(String, Vec<u8>)>,
    }

    #[cfg(unix)]
    impl Watched<'_> {
        fn note(&mut self, call: String) {
            let held = std::fs::read(self.path).unwrap();
            self.calls.push((call, held));
        }
    }

    #[cfg(unix)]
    impl Disk for Watched<'_> {
        fn sync(&mut self, handle: &File) -> io::Result<()> {
            let metadata = handle.metadata()?;
            self.note(if metadata.is_dir() {
                "sync the folder".to_owned()
            } else {
                format!("sync a file of {} bytes", metadata.len())
            });
            System.sync(handle)
        }

        fn rename(&mut self, file: NamedTempFile, path: &Path) -> io::Result<()> {
            self.note("rename".to_owned());
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
        let mut disk = Watched { path: &path, calls };
        write_to(&mut disk, &path, b"newer").unwrap();
        let calls = [
            ("sync a file of 5 bytes", "old"),
            ("rename", "old"),
            ("sync the folder", "newer"),
        ];
        let calls = calls.map(|(call, held)| (call.to_owned(), held.as_bytes().to_vec()));
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
    fn an_endless_device_is_refused_not_read_to_its_end() {
        let error = read_capped(Path::new("/dev/zero"), 1000).unwrap_err();
        assert!(error.to_string().contains("a device"), "{error}");
    }
}
