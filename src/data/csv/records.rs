//! The records of a CSV file, split into fields, each with its line number.
//!
//! Quotes are those of RFC 4180: a quoted field may hold separators, line ends and, doubled,
//! quotation marks. A byte order mark is skipped; lines end with or without a carriage return.

use std::cell::Cell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::separator;
use crate::data::input::DataFile;
use crate::error::{Error, Result};

/// The longest record, in bytes: a quotation mark that is never closed must not take all memory.
const LONGEST_RECORD: u64 = 1 << 22;

/// The largest number of columns.
const MOST_COLUMNS: usize = 1 << 16;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 16;

/// A record, split into its fields.
#[derive(Clone, Debug, Default)]
pub(super) struct CsvRow {
    /// The line on which it begins.
    pub(super) line: u64,
    pub(super) fields: ByteRecord,
}

impl CsvRow {
    /// Returns a field as text, without blanks around it.
    ///
    /// # Errors
    /// A field that is not UTF-8.
    pub(super) fn text(&self, column: usize, path: &Path) -> Result<&str> {
        let bytes = self.fields.get(column).unwrap_or_default().trim_ascii();
        std::str::from_utf8(bytes).map_err(|_| {
            Error::refused(path, "not UTF-8 text, which a CSV must be")
                .at(format!("line {}, column {}", self.line, column + 1))
                .help("save the file as UTF-8")
        })
    }

    /// Returns the fields as text.
    ///
    /// # Errors
    /// A field that is not UTF-8.
    pub(super) fn texts(&self, path: &Path) -> Result<Vec<&str>> {
        (0..self.fields.len())
            .map(|column| self.text(column, path))
            .collect()
    }
}

/// The source of a CSV's bytes: a file, gzipped or not, or a stream.
pub(super) enum Source {
    File(DataFile),
    Stream(Box<dyn Read>),
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read(buffer),
            Self::Stream(stream) => stream.read(buffer),
        }
    }
}

/// What follows the bytes of a CSV: a line end, so that its last record ends like all others, and a
/// record that no text has. If it is not found on its own, a quotation mark is not closed.
const END: &[u8] = b"\n\0\n";

/// The bytes of a CSV: those that were read to find the separator, the rest, and [`END`].
struct Bytes {
    head: io::Cursor<Vec<u8>>,
    source: Source,
    end: &'static [u8],
    has_ended: Rc<Cell<bool>>,
    separator: u8,
    /// What was read since the last record ended.
    since_record: Rc<Cell<Unfinished>>,
}

/// The part of a record that was read so far, with at most a buffer of those before it.
#[derive(Clone, Copy, Default)]
struct Unfinished {
    bytes: u64,
    separators: usize,
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut count = self.head.read(buffer)?;
        if count == 0 && !self.has_ended.get() {
            count = self.source.read(buffer)?;
            self.has_ended.set(count == 0 && !buffer.is_empty());
        }
        if self.has_ended.get() {
            return self.end.read(buffer);
        }
        let mut record = self.since_record.get();
        record.bytes += count as u64;
        let is_separator = |byte: &&u8| **byte == self.separator;
        record.separators += buffer[..count].iter().filter(is_separator).count();
        self.since_record.set(record);
        if record.bytes > LONGEST_RECORD {
            return Err(io::Error::other(TooLarge::Bytes));
        }
        // Those of the records before it that are in the same buffer are counted, too.
        if record.separators > MOST_COLUMNS + BUFFER {
            return Err(io::Error::other(TooLarge::Columns));
        }
        Ok(count)
    }
}

/// A record that is larger than any table has.
#[derive(Debug, thiserror::Error)]
enum TooLarge {
    #[error("a record of more than {LONGEST_RECORD} bytes")]
    Bytes,
    #[error("more than {MOST_COLUMNS} columns, the most that are allowed")]
    Columns,
}

impl TooLarge {
    fn help(&self) -> &'static str {
        match self {
            Self::Bytes => "a quotation mark is not closed, or the file is no CSV",
            Self::Columns => "save wider data as an NPY file, which may have any number of columns",
        }
    }
}

/// The records of a file or a stream, without blank lines.
pub(super) struct CsvRecords {
    path: PathBuf,
    reader: csv::Reader<Bytes>,
    separator: u8,
    has_ended: Rc<Cell<bool>>,
    since_record: Rc<Cell<Unfinished>>,
}

impl CsvRecords {
    /// Begins to read `source`, named `path` in messages. Without a separator, finds it out from
    /// the first lines of a file, or from the first line of a stream.
    ///
    /// # Errors
    /// A failed read, or content that is no text.
    pub(super) fn new(mut source: Source, path: &Path, separator: Option<u8>) -> Result<Self> {
        let head = separator::head(&mut source)
            .map_err(|(at, error)| failure(&source, path, at, error))?;
        separator::check_text(&head, path)?;
        let separator = separator.unwrap_or_else(|| separator::find(&head));
        let has_ended = Rc::new(Cell::new(false));
        let since_record = Rc::new(Cell::default());
        let bytes = Bytes {
            head: io::Cursor::new(head),
            source,
            end: END,
            has_ended: Rc::clone(&has_ended),
            separator,
            since_record: Rc::clone(&since_record),
        };
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(separator)
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(BUFFER)
            .from_reader(bytes);
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            separator,
            has_ended,
            since_record,
        })
    }

    /// Returns the separator.
    pub(super) fn separator(&self) -> u8 {
        self.separator
    }

    /// Reads the next record that is not blank into `row`; returns whether there was one.
    ///
    /// # Errors
    /// A failed read, or a quotation mark that is not closed.
    pub(super) fn next(&mut self, row: &mut CsvRow) -> Result<bool> {
        loop {
            match self.reader.read_byte_record(&mut row.fields) {
                Ok(false) => return Ok(false),
                Ok(true) => {}
                Err(error) => return Err(self.failure(error)),
            }
            self.since_record.set(Unfinished::default());
            // Counted back from the record's end: for the reader, a record begins with the blank
            // lines before it.
            let inner = row.fields.as_slice();
            let breaks = inner.iter().filter(|&&byte| byte == b'\n').count() as u64;
            let end = self.reader.position().line();
            row.line = end.saturating_sub(breaks + 1).max(1);
            if self.has_ended.get() {
                if inner == b"\0" {
                    return Ok(false);
                }
                if inner.ends_with(END) {
                    let line = end.saturating_sub(breaks).max(1);
                    return Err(Error::refused(&self.path, "a quotation mark is not closed")
                        .at(format!("line {line}"))
                        .help(
                            "close it, or double a quotation mark that belongs to a text: \"\"",
                        ));
                }
            }
            // A carriage return alone is a blank line too.
            let fields = &row.fields;
            if fields.len() > MOST_COLUMNS {
                return Err(self
                    .too_large(&TooLarge::Columns)
                    .at(format!("line {}", row.line)));
            }
            if fields.len() > 1 || !fields.get(0).unwrap_or_default().trim_ascii().is_empty() {
                return Ok(true);
            }
        }
    }

    fn too_large(&self, problem: &TooLarge) -> Error {
        Error::refused(&self.path, problem.to_string()).help(problem.help())
    }

    /// Describes a failed read, with the line reached.
    fn failure(&self, error: csv::Error) -> Error {
        let line = self.reader.position().line();
        let error = match error.into_kind() {
            csv::ErrorKind::Io(error) => {
                let inner = error.get_ref();
                match inner.and_then(|inner| inner.downcast_ref::<TooLarge>()) {
                    Some(problem) => self.too_large(problem),
                    None => failure(&self.reader.get_ref().source, &self.path, 0, error),
                }
            }
            other => Error::refused(&self.path, format!("not a CSV file: {other:?}")),
        };
        error.at(format!("line {line}"))
    }
}

fn failure(source: &Source, path: &Path, at: u64, error: io::Error) -> Error {
    match source {
        Source::File(file) => file.failure(at, error),
        Source::Stream(_) => Error::io("read", path, error),
    }
}
