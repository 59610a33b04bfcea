//! A data file as a stream of bytes: checked against its checksum and unpacked.
//!
//! Gzip is recognized by its first two bytes, not by the file's name. Only one buffer is read
//! ahead, so a reader needs little memory beyond the data it keeps. Refused: anything but a regular
//! file, a wrong checksum, a gzip stream that is truncated or damaged, or that unpacks to more than a
//! hundred times its packed size, unless its checksum is known.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::open;

/// Bytes read from the file at a time.
const BUFFER: usize = 1 << 16;

/// Deflate's largest compression: 258 bytes in two bits, 1032 to 1
/// (<https://zlib.net/zlib_tech.html>).
const LARGEST_RATIO: u64 = 1032;

/// The largest number of unpacked bytes for each packed byte of a gzip stream. Data compress less;
/// a file that was made to fill the memory compresses up to [`LARGEST_RATIO`] times.
const MOST_EXPANSION: u64 = 100;
/// Unpacked bytes up to which any expansion is allowed.
const ALWAYS_ALLOWED: u64 = 8 << 20;

/// Returns the largest number of bytes to which `packed` bytes may unpack.
pub(super) fn largest_unpacked(packed: u64) -> u64 {
    ALWAYS_ALLOWED.max(MOST_EXPANSION.saturating_mul(packed))
}

/// An open data file, unpacked if it is gzipped.
pub(crate) struct DataFile {
    path: PathBuf,
    reader: Box<dyn Read>,
    gzipped: bool,
    most_bytes: u64,
    /// Whether the file has a checksum that was known before.
    is_known: bool,
    /// Bytes read from the file so far.
    packed: Rc<Cell<u64>>,
    /// Bytes of the stream that were read so far.
    unpacked: u64,
}

/// A file, and how many of its bytes were read.
struct CountedFile {
    file: File,
    count: Rc<Cell<u64>>,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// A gzip stream that expands more than [`MOST_EXPANSION`] allows.
#[derive(Debug, thiserror::Error)]
#[error("more than {MOST_EXPANSION} times as large unpacked as packed")]
struct Expands;

impl DataFile {
    /// Opens a file. If a checksum (SHA-256 of the file as stored, in hexadecimal) is given, the
    /// file must have it.
    pub(crate) fn open(path: &Path, sha256: Option<&str>) -> Result<Self> {
        let mut file = open::regular(path)?;
        let size = file
            .metadata()
            .map_err(|source| Error::io("read", path, source))?
            .len();
        if let Some(expected) = sha256 {
            let found = digest(&mut file).map_err(|source| Error::io("read", path, source))?;
            if found != expected {
                return Err(Error::refused(
                    path,
                    format!("wrong checksum: SHA-256 found {found}, expected {expected}"),
                )
                .help("restore the file from the project's datasets/ folder, or name your own files with `train = …` and `test = …`"));
            }
            file.rewind()
                .map_err(|source| Error::io("read", path, source))?;
        }
        let packed = Rc::new(Cell::new(0));
        let counted = CountedFile {
            file,
            count: Rc::clone(&packed),
        };
        let mut buffered = BufReader::with_capacity(BUFFER, counted);
        let start = buffered
            .fill_buf()
            .map_err(|source| Error::io("read", path, source))?;
        let gzipped = start.starts_with(&[0x1f, 0x8b]);
        let (reader, most_bytes): (Box<dyn Read>, u64) = if gzipped {
            (
                Box::new(MultiGzDecoder::new(buffered)),
                size.saturating_mul(LARGEST_RATIO),
            )
        } else {
            (Box::new(buffered), size)
        };
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            gzipped,
            most_bytes,
            is_known: sha256.is_some(),
            packed,
            unpacked: 0,
        })
    }

    /// Returns the file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the first bytes, as many as there are; returns their number.
    pub(crate) fn read_start(&mut self, bytes: &mut [u8]) -> Result<usize> {
        let mut count = 0;
        while count < bytes.len() {
            match self.read(&mut bytes[count..]) {
                Ok(0) => break,
                Ok(more) => count += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(count as u64, error)),
            }
        }
        Ok(count)
    }

    /// Returns whether the file is gzipped.
    pub(crate) fn is_gzipped(&self) -> bool {
        self.gzipped
    }

    /// Returns an upper bound of the stream's length, from the file's size.
    pub(crate) fn most_bytes(&self) -> u64 {
        self.most_bytes
    }

    /// Spells an offset in the stream: `byte 16`, or `byte 16 of the unpacked data`.
    pub(crate) fn place(&self, offset: u64) -> String {
        let unpacked = if self.gzipped {
            " of the unpacked data"
        } else {
            ""
        };
        format!("byte {offset}{unpacked}")
    }

    /// Converts a failed read at `offset` of the stream to an error.
    pub(crate) fn failure(&self, offset: u64, source: io::Error) -> Error {
        let is_bomb =
            |inner: &(dyn std::error::Error + Send + Sync + 'static)| inner.is::<Expands>();
        if source.get_ref().is_some_and(is_bomb) {
            return Error::refused(&self.path, source.to_string())
                .at(self.place(offset))
                .help("if its content is right, unpack it first: gunzip FILE");
        }
        let problem = match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                "truncated: the gzip stream ends before its end mark".to_owned()
            }
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData => {
                format!("damaged gzip stream: {source}")
            }
            _ => return Error::io("read", &self.path, source),
        };
        Error::refused(&self.path, problem)
            .at(self.place(offset))
            .help("copy or download the file again")
    }
}

impl Read for DataFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.unpacked += count as u64;
        let is_checked = self.gzipped && !self.is_known;
        if is_checked && self.unpacked > largest_unpacked(self.packed.get()) {
            return Err(io::Error::other(Expands));
        }
        Ok(count)
    }
}

/// Computes the SHA-256 of a file as stored, in hexadecimal.
///
/// # Errors
/// No such file, not a regular file, or a failed read.
pub fn sha256(path: &Path) -> Result<String> {
    digest(&mut open::regular(path)?).map_err(|source| Error::io("read", path, source))
}

fn digest(file: &mut File) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => hash.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}
