//! Reads and writes whole files: reads at most a given size, writes atomically.
//!
//! After a crash, a file that [`write_atomically`] was replacing has its old content or the new
//! one: a reader (or a resumed run) never sees half a file, and a full disk leaves the previous
//! version.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::disk;
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
    let failed = |source| Error::io("write", path, source);
    let folder = folder_of(path);
    let (file, temporary) = temporary_in(folder, disk::create).map_err(failed)?;
    let renamed = disk::write_all(&temporary, &file, bytes)
        .and_then(|()| disk::sync(&temporary, &file))
        .and_then(|()| disk::rename(&temporary, path));
    if let Err(source) = renamed {
        // What cannot be removed now is removed when the run is resumed.
        let _ = disk::remove(&temporary);
        return Err(failed(source));
    }
    sync_folder(folder)
}

/// Writes `bytes` to the new file `path`; never replaces one. If that fails, there is no such file.
///
/// # Errors
/// The operating system refuses a call, with [`io::ErrorKind::AlreadyExists`] if there is something
/// at `path`.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = disk::create(path)?;
    let written = disk::write_all(path, &file, bytes).and_then(|()| disk::sync(path, &file));
    if written.is_err() {
        // Half a file would be in the way of the next attempt.
        let _ = disk::remove(path);
    }
    written
}

/// Makes a file or a folder of a temporary name in `folder` by `make`, and returns what it returned
/// and the path.
///
/// # Errors
/// Those of `make`.
pub fn temporary_in<T>(
    folder: &Path,
    make: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    let mut builder = tempfile::Builder::new();
    builder
        .prefix(TEMPORARY_PREFIX)
        .rand_bytes(RANDOM_CHARACTERS)
        .disable_cleanup(true);
    let (made, path) = builder.make_in(folder, make)?.into_parts();
    Ok((made, path.to_path_buf()))
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
    disk::sync_folder(folder).map_err(|source| Error::io("write", folder, source))
}

/// Creates `folder` and the folders above it that are missing, each with its entry on the disk.
///
/// # Errors
/// The operating system refuses a call; there is a file of one of the names.
pub fn create_folders(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    if above != folder {
        create_folders(above)?;
    }
    match disk::create_folder(folder) {
        Ok(()) => sync_folder(above),
        // Another process created it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(source) => Err(Error::io("create", folder, source)),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::super::disk::{Call, Fate};
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

    #[cfg(unix)]
    #[test]
    fn a_write_syncs_the_whole_file_then_renames_it_then_syncs_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomically(&path, b"old").unwrap();
        let calls = Rc::new(RefCell::new(Vec::new()));
        let (seen, watched) = (Rc::clone(&calls), path.clone());
        let watcher = move |call: &Call<'_>| {
            let call = match call {
                Call::Sync(file) => format!("sync {} bytes", std::fs::read(file).unwrap().len()),
                Call::Rename(_, to) if *to == watched => "rename".to_owned(),
                Call::SyncFolder(_) => "sync the folder".to_owned(),
                Call::Create(_) => "create".to_owned(),
                Call::Write(_, bytes) => format!("write {}", bytes.len()),
                other => panic!("{other:?}"),
            };
            let content = std::fs::read_to_string(&watched).unwrap();
            seen.borrow_mut().push(format!("{content}: {call}"));
            Fate::Make
        };
        disk::watch(watcher, || write_atomically(&path, b"newer")).unwrap();
        let expected = [
            "old: create",
            "old: write 5",
            "old: sync 5 bytes",
            "old: rename",
            "newer: sync the folder",
        ];
        assert_eq!(*calls.borrow(), expected);
    }

    #[test]
    fn folders_are_created_with_those_above_them_and_files_are_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_folders(&deep).unwrap();
        create_folders(&deep).unwrap();
        assert!(deep.is_dir());
        std::fs::write(deep.join("file"), b"x").unwrap();
        for taken in ["file", "file/below"] {
            let error = create_folders(&deep.join(taken)).unwrap_err();
            assert_eq!(error.exit_code(), 8, "{error}");
        }
        assert_eq!(std::fs::read(deep.join("file")).unwrap(), b"x");
    }

    #[cfg(unix)]
    #[test]
    fn a_result_is_readable_by_others_as_the_umask_allows_and_written_by_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ours");
        write_atomically(&path, b"x").unwrap();
        let plain = folder.path().join("plain");
        std::fs::write(&plain, b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain) & !0o022);
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
