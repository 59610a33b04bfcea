//! Opens the files that a user names, regular ones only: a FIFO, a device, a socket or a folder is
//! refused, and nothing waits for a writer.
//!
//! What a path leads to is asked of the opened file, not of the path before, which could lead
//! elsewhere a moment later. A config is the one thing that may also come from a pipe.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// How long a pipe may take to yield all that it has.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time between two looks at a pipe.
const LOOKS: Duration = Duration::from_millis(10);

/// Opens the regular file `path` for reading.
///
/// # Errors
/// A path that leads nowhere, or to anything but a regular file, is refused.
pub fn regular(path: &Path) -> Result<File> {
    let (file, kind) = open_to_read(path)?;
    if kind.is_file() {
        Ok(file)
    } else {
        Err(refusal(path, kind))
    }
}

/// Opens the regular file `path` for writing, without changing it, and creates it if it is missing.
/// The last component of `path` may not be a link.
///
/// # Errors
/// Anything but a regular file is refused; else whatever the operating system refuses.
pub fn lock_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(
        &mut options,
        libc::O_NONBLOCK | libc::O_NOFOLLOW,
    );
    let (file, kind) = open(&options, "create", path, |path| fs::symlink_metadata(path))?;
    if kind.is_file() {
        Ok(file)
    } else {
        Err(refusal(path, kind))
    }
}

/// Reads a regular file or a pipe up to its end, or one byte beyond `most`.
///
/// # Errors
/// A path that leads nowhere, or to anything else, is refused, and so is a pipe that has not come
/// to its end within 5 seconds; [`Error::Io`] if reading fails.
pub fn read_file_or_pipe(path: &Path, most: u64) -> Result<Vec<u8>> {
    let (file, kind) = open_to_read(path)?;
    let pipe = is_pipe(kind);
    if !kind.is_file() && !pipe {
        return Err(refusal(path, kind));
    }
    let begin = Instant::now();
    let mut bytes = Vec::new();
    let mut reader = file.take(most + 1);
    loop {
        match reader.read_to_end(&mut bytes) {
            // A named pipe that nobody has opened for writing yet looks as if it were at its end.
            Ok(_) if pipe && bytes.is_empty() => {}
            Ok(_) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::io("read", path, error)),
        }
        if begin.elapsed() > PATIENCE {
            let problem = format!(
                "a FIFO that did not come to its end within {} s: {} bytes were read",
                PATIENCE.as_secs(),
                bytes.len()
            );
            return Err(Error::refused(path, problem)
                .help("write its content to a regular file first, and name that"));
        }
        std::thread::sleep(LOOKS);
    }
}

/// Opens `path` for reading, whatever it leads to, and without waiting.
fn open_to_read(path: &Path) -> Result<(File, FileType)> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Without it, opening a FIFO waits for a writer. To regular files it makes no difference.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    open(&options, "read", path, |path| fs::metadata(path))
}

/// Opens `path`, and tells what was opened. What cannot be opened because of its kind is refused
/// as what `look` finds.
fn open(
    options: &OpenOptions,
    action: &'static str,
    path: &Path,
    look: impl Fn(&Path) -> io::Result<Metadata>,
) -> Result<(File, FileType)> {
    let failed = |source| Error::io(action, path, source);
    match options.open(path) {
        Ok(file) => {
            let kind = file.metadata().map_err(failed)?.file_type();
            Ok((file, kind))
        }
        Err(source) => match look(path).map(|found| found.file_type()) {
            Ok(kind) if !kind.is_file() && is_of_kind(&source) => Err(refusal(path, kind)),
            _ => Err(failed(source)),
        },
    }
}

/// Whether a file could not be opened because of what it is: a socket, a FIFO that nobody reads, a
/// link that must not be followed, a folder that would be written to.
fn is_of_kind(error: &io::Error) -> bool {
    #[cfg(unix)]
    let kinds = [libc::ENXIO, libc::ELOOP, libc::EISDIR];
    #[cfg(not(unix))]
    let kinds = [0; 0];
    error
        .raw_os_error()
        .is_some_and(|code| kinds.contains(&code))
}

/// What is at `path`, links followed; `None` if nothing is.
///
/// # Errors
/// Whatever keeps the operating system from telling: that does not mean that nothing is there.
pub fn file_type(path: &Path) -> Result<Option<FileType>> {
    match path.metadata() {
        Ok(metadata) => Ok(Some(metadata.file_type())),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            Ok(None)
        }
        Err(source) => Err(Error::io("read", path, source)),
    }
}

fn refusal(path: &Path, kind: FileType) -> Error {
    let help = if kind.is_dir() {
        "name a file in it"
    } else {
        "name a regular file, or copy the content into one first"
    };
    Error::refused(path, format!("is {}, not a regular file", kind_name(kind))).help(help)
}

/// Names the kind of a file in words, with its article.
pub fn kind_name(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a FIFO";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
        if kind.is_socket() {
            return "a socket";
        }
    }
    match kind {
        kind if kind.is_file() => "a file",
        kind if kind.is_dir() => "a folder",
        kind if kind.is_symlink() => "a link",
        _ => "something else",
    }
}

fn is_pipe(kind: FileType) -> bool {
    #[cfg(unix)]
    return std::os::unix::fs::FileTypeExt::is_fifo(&kind);
    #[cfg(not(unix))]
    return false;
}
