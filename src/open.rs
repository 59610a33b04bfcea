//! Opens files given by the user.
//!
//! Only regular files are accepted: a FIFO, a device, a socket or a folder is refused, and opening
//! never waits for a writer. The kind is taken from the opened file, not from the path before,
//! which could lead elsewhere a moment later. Only a config may also come from a pipe.

use std::fs::{self, File, FileType, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

/// The permissions of a new file, of which the umask may take away some: only its owner writes it.
pub const FILE_MODE: u32 = 0o644;

/// Time limit for reading a pipe to its end.
const PIPE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two attempts to read from a pipe.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Opens the regular file `path` for reading.
///
/// # Errors
/// A missing path and anything but a regular file are refused; [`Error::Io`] if opening fails
/// otherwise.
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
/// [`Error::Io`] if the file cannot be opened; anything but a regular file is refused.
pub fn lock_file(path: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
        options.mode(FILE_MODE);
    }
    let (file, kind) = open(&options, "create", path, |path| fs::symlink_metadata(path))?;
    if kind.is_file() {
        Ok(file)
    } else {
        Err(refusal(path, kind))
    }
}

/// Reads a regular file or a pipe to its end, but at most `most` + 1 bytes.
///
/// # Errors
/// A missing path, any other kind of file, and a pipe that does not end within 5 seconds are
/// refused; [`Error::Io`] if opening or reading fails otherwise.
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
            // A named pipe that no process has opened for writing yet reads as if it were at its
            // end.
            Ok(_) if pipe && bytes.is_empty() => {}
            Ok(_) => return Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Error::io("read", path, error)),
        }
        if begin.elapsed() > PIPE_TIMEOUT {
            let problem = format!(
                "a FIFO that did not end within {} s: {} bytes were read",
                PIPE_TIMEOUT.as_secs(),
                bytes.len()
            );
            return Err(Error::refused(path, problem)
                .help("write its content to a regular file first, and give that file"));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Opens `path` for reading without waiting, and returns the file and its kind.
fn open_to_read(path: &Path) -> Result<(File, FileType)> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Without O_NONBLOCK, opening a FIFO waits for a writer. It has no effect on regular files.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    open(&options, "read", path, |path| fs::metadata(path))
}

/// Opens `path`, and returns the file and its kind. If it cannot be opened because of its kind, it
/// is refused with the kind that `metadata_of` finds.
fn open(
    options: &OpenOptions,
    action: &'static str,
    path: &Path,
    metadata_of: impl Fn(&Path) -> io::Result<Metadata>,
) -> Result<(File, FileType)> {
    let failed = |source| Error::io(action, path, source);
    match options.open(path) {
        Ok(file) => {
            let kind = file.metadata().map_err(failed)?.file_type();
            Ok((file, kind))
        }
        Err(source) => match metadata_of(path).map(|metadata| metadata.file_type()) {
            Ok(kind) if !kind.is_file() && is_caused_by_kind(&source) => Err(refusal(path, kind)),
            _ => Err(failed(source)),
        },
    }
}

/// Returns true if a file could not be opened because of its kind: a socket, a FIFO without a
/// reader, a link that must not be followed, or a folder opened for writing.
fn is_caused_by_kind(error: &io::Error) -> bool {
    #[cfg(unix)]
    let kinds = [libc::ENXIO, libc::ELOOP, libc::EISDIR];
    #[cfg(not(unix))]
    let kinds = [0; 0];
    error
        .raw_os_error()
        .is_some_and(|code| kinds.contains(&code))
}

/// Returns the kind of file at `path`, following links; `None` if there is none.
///
/// # Errors
/// [`Error::Io`] if the kind cannot be determined, which does not mean that there is no file.
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
        "give a file in it"
    } else {
        "give a regular file, or copy the content into one first"
    };
    Error::refused(path, format!("is {}, not a regular file", kind_name(kind))).help(help)
}

/// Returns the kind of a file in words, with an article.
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
