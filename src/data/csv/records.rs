//! The lines of a CSV file, split into fields, each with its line number.

use std::io::{Chain, Read};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, Terminator, Trim};

use crate::data::input::DataFile;
use crate::error::{Error, Result};

/// A line, split into its fields.
pub(super) struct CsvRow {
    pub(super) line: u64,
    pub(super) fields: ByteRecord,
}

impl CsvRow {
    /// Returns the fields as text.
    ///
    /// # Errors
    /// A field that is not UTF-8.
    pub(super) fn texts(&self, path: &Path) -> Result<Vec<&str>> {
        self.fields
            .iter()
            .enumerate()
            .map(|(column, bytes)| {
                std::str::from_utf8(bytes).map_err(|_| {
                    Error::refused(path, "not UTF-8 text, which a CSV must be").at(format!(
                        "line {}, column {}",
                        self.line,
                        column + 1
                    ))
                })
            })
            .collect()
    }

    /// Returns the fields as column names.
    pub(super) fn names(&self) -> Vec<String> {
        self.fields
            .iter()
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
            .collect()
    }
}

/// The lines of a file, without blank ones.
pub(super) struct CsvRecords<'a> {
    path: &'a Path,
    // A line end is appended so that the last line ends like all others, which `next` relies on.
    reader: csv::Reader<Chain<DataFile, &'static [u8]>>,
}

impl<'a> CsvRecords<'a> {
    /// Opens a file; if a checksum is given, the file must have it.
    pub(super) fn open(path: &'a Path, sha256: Option<&str>) -> Result<Self> {
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .terminator(Terminator::Any(b'\n'))
            .from_reader(DataFile::open(path, sha256)?.chain(&b"\n"[..]));
        Ok(Self { path, reader })
    }

    /// Returns the next line that is not blank; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<CsvRow>> {
        let mut fields = ByteRecord::new();
        loop {
            let start = self.reader.position().line();
            match self.reader.read_byte_record(&mut fields) {
                Ok(false) => return Ok(None),
                Ok(true) => {
                    // Counted back from the record's end: for the reader, a record begins with the
                    // blank lines before it.
                    let line = self.reader.position().line().saturating_sub(1);
                    if fields.as_slice().contains(&b'\n') {
                        return Err(Error::refused(
                            self.path,
                            "a quoted field spans several lines",
                        )
                        .at(format!("line {start}"))
                        .help("close its quotation marks"));
                    }
                    // A carriage return alone is a blank line too.
                    if fields.len() > 1 || !fields[0].is_empty() {
                        return Ok(Some(CsvRow { line, fields }));
                    }
                }
                Err(error) => return Err(self.failure(error)),
            }
        }
    }

    /// Describes a failed read, with the line reached.
    fn failure(&self, error: csv::Error) -> Error {
        let line = self.reader.position().line();
        match error.into_kind() {
            csv::ErrorKind::Io(source) => self.reader.get_ref().get_ref().0.failure(0, source),
            other => Error::refused(self.path, format!("not a CSV file: {other:?}")),
        }
        .at(format!("line {line}"))
    }
}
