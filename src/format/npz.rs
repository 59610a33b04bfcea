//! Writes NPZ archives, NumPy's files of several arrays: a zip archive of NPY files.

use std::io::{Cursor, Write};

use zip::write::{SimpleFileOptions, ZipWriter};
use zip::{CompressionMethod, DateTime};

/// An archive in memory.
pub(super) struct ArchiveWriter {
    writer: ZipWriter<Cursor<Vec<u8>>>,
}

impl ArchiveWriter {
    pub(super) fn new() -> Self {
        Self {
            writer: ZipWriter::new(Cursor::new(Vec::new())),
        }
    }

    /// Adds an array, an NPY file, stored as it is, without a date: equal arrays give equal files.
    pub(super) fn add(&mut self, name: &str, array: &[u8]) {
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .large_file(u32::try_from(array.len()).is_err());
        let written = self.writer.start_file(format!("{name}.npy"), options);
        written.expect("a new name in memory");
        self.writer
            .write_all(array)
            .expect("memory takes all bytes");
    }

    /// Returns the bytes of the archive.
    pub(super) fn finish(self) -> Vec<u8> {
        let archive = self.writer.finish().expect("memory takes all bytes");
        archive.into_inner()
    }
}
