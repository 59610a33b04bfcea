//! Every change that the program makes to files and folders, one function for each system call.
//!
//! A test sees each call before it is made, and decides what becomes of it ([`watch`]): so it can
//! fail every call in turn, stop a process after any of them, and list what a loss of power would
//! leave on the disk. `tests/library/architecture.rs` checks that no other module changes files.
//!
//! A call that a signal interrupts is made again. No file or folder is writable by the group or by
//! others, whatever the umask.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use crate::error::{Error, Result};
use crate::open;

/// A change of files or folders that is about to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call<'a> {
    /// Creates an empty file of a free name, or opens the file of that name.
    Create(&'a Path),
    /// Creates a folder of a free name.
    CreateFolder(&'a Path),
    /// Adds bytes at the end of a file.
    Write(&'a Path, &'a [u8]),
    /// Cuts a file to a length in bytes.
    Truncate(&'a Path, u64),
    /// Waits until a file's content is on the disk.
    Sync(&'a Path),
    /// Waits until a folder's entries are on the disk.
    SyncFolder(&'a Path),
    /// Renames a file, replacing another, or a folder.
    Rename(&'a Path, &'a Path),
    /// Removes a file.
    Remove(&'a Path),
    /// Removes an empty folder.
    RemoveFolder(&'a Path),
}

/// What becomes of a call.
#[derive(Debug)]
pub enum Fate {
    /// It is made.
    Make,
    /// It writes no more than so many bytes; any call but [`Call::Write`] is made.
    Shorten(usize),
    /// It is not made, and fails.
    Fail(io::Error),
    /// It is made, and fails all the same.
    FailAfter(io::Error),
}

type Watcher = Box<dyn FnMut(&Call<'_>) -> Fate>;

thread_local! {
    static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
}

/// Does `work`, and asks `watcher` for the fate of each call that it makes on this thread.
pub fn watch<T>(watcher: impl FnMut(&Call<'_>) -> Fate + 'static, work: impl FnOnce() -> T) -> T {
    struct End;
    impl Drop for End {
        fn drop(&mut self) {
            WATCHER.set(None);
        }
    }
    WATCHER.set(Some(Box::new(watcher)));
    let _end = End;
    work()
}

fn fate(call: &Call<'_>) -> Fate {
    WATCHER.with_borrow_mut(|watcher| watcher.as_mut().map_or(Fate::Make, |watch| watch(call)))
}

/// Makes a call, again if a signal interrupts it.
fn make<T>(call: Call<'_>, act: impl Fn() -> io::Result<T>) -> io::Result<T> {
    loop {
        let made = match fate(&call) {
            Fate::Make | Fate::Shorten(_) => act(),
            Fate::Fail(error) => Err(error),
            Fate::FailAfter(error) => act().and(Err(error)),
        };
        match made {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            made => return made,
        }
    }
}

/// Creates the empty file `path`, which must not exist, for writing.
///
/// # Errors
/// Errors of the operating system.
pub fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, open::FILE_MODE);
    make(Call::Create(path), || options.open(path))
}

/// Opens the file `path` for writing as [`open::lock_file`] does.
///
/// # Errors
/// Those of [`open::lock_file`].
pub fn lock_file(path: &Path) -> Result<File> {
    make(Call::Create(path), || Ok(open::lock_file(path)))
        .map_err(|source| Error::io("create", path, source))?
}

/// Creates the folder `path`, which must not exist, in a folder that does.
///
/// # Errors
/// Errors of the operating system.
pub fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
    make(Call::CreateFolder(path), || builder.create(path))
}

/// Writes all `bytes` to `file`, which was opened as `path`, at its end.
///
/// # Errors
/// Errors of the operating system: some of the bytes may then be in the file.
pub fn write_all(path: &Path, mut file: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = match fate(&Call::Write(path, bytes)) {
            Fate::Make => file.write(bytes),
            Fate::Shorten(most) => file.write(&bytes[..most.min(bytes.len())]),
            Fate::Fail(error) => Err(error),
            Fate::FailAfter(error) => file.write(bytes).and(Err(error)),
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Cuts `file`, which was opened as `path`, to `length` bytes.
///
/// # Errors
/// Errors of the operating system.
pub fn truncate(path: &Path, file: &File, length: u64) -> io::Result<()> {
    make(Call::Truncate(path, length), || file.set_len(length))
}

/// Waits until the content of `file`, which was opened as `path`, is on the disk.
///
/// # Errors
/// Errors of the operating system: nothing is then known of what the disk has.
pub fn sync(path: &Path, file: &File) -> io::Result<()> {
    make(Call::Sync(path), || file.sync_all())
}

/// Waits until the entries of `folder` are on the disk. Does nothing except on Unix, where a folder
/// can be opened as a file.
///
/// # Errors
/// Errors of the operating system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    make(Call::SyncFolder(folder), || File::open(folder)?.sync_all())?;
    Ok(())
}

/// Renames `from` to `to`, which is replaced if it is a file.
///
/// # Errors
/// Errors of the operating system; `to` exists and is a folder with entries.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    make(Call::Rename(from, to), || fs::rename(from, to))
}

/// Removes the file `path`.
///
/// # Errors
/// Errors of the operating system.
pub fn remove(path: &Path) -> io::Result<()> {
    make(Call::Remove(path), || fs::remove_file(path))
}

/// Removes the empty folder `path`.
///
/// # Errors
/// Errors of the operating system.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    make(Call::RemoveFolder(path), || fs::remove_dir(path))
}
