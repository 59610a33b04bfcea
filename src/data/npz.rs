//! Reads the arrays of an NPZ file: a zip archive of NPY files, stored or deflated.
//!
//! Source: PKWARE's APPNOTE 6.3; NumPy's `savez` and `savez_compressed`. Refused: other compression,
//! encryption, archives of 4 GiB and more, entries that are damaged.

use std::io::{self, Read};
use std::path::Path;

use flate2::Crc;
use flate2::read::DeflateDecoder;

use super::input;
use super::npy::{self, NpyArray};
use crate::error::{Error, Result};
use crate::open;

/// The first bytes of an archive.
pub(crate) const MAGIC: [u8; 4] = [b'P', b'K', 3, 4];

/// The signature of the end of the directory, and its length without a comment.
const END: [u8; 4] = [b'P', b'K', 5, 6];
const END_LENGTH: usize = 22;

/// The largest archive.
const MOST_BYTES: u64 = u32::MAX as u64 - 1;

/// The names that arrays of features have, in the order in which they are looked for.
const FEATURES: [&str; 8] = [
    "X", "x", "features", "data", "images", "x_train", "X_train", "arr_0",
];

/// The names that arrays of labels, or of numbers to predict, have.
const LABELS: [&str; 9] = [
    "y", "Y", "labels", "label", "target", "targets", "y_train", "Y_train", "arr_1",
];

/// An archive that was read.
pub(crate) struct Archive<'a> {
    path: &'a Path,
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// A file in the archive.
struct Entry {
    name: String,
    method: u16,
    crc: u32,
    packed: usize,
    unpacked: usize,
    at: usize,
}

impl<'a> Archive<'a> {
    /// Reads the archive `path` and its directory.
    ///
    /// # Errors
    /// A failed read; no zip archive, or one that is damaged.
    pub(crate) fn open(path: &'a Path) -> Result<Self> {
        let failed = |source| Error::io("read", path, source);
        let file = open::regular(path)?;
        let length = file.metadata().map_err(failed)?.len();
        if length > MOST_BYTES {
            return Err(Error::refused(path, "an archive of 4 GiB or more")
                .help("save the arrays one by one as NPY"));
        }
        let mut bytes = Vec::new();
        file.take(MOST_BYTES)
            .read_to_end(&mut bytes)
            .map_err(failed)?;
        Self::of(bytes, path)
    }

    /// Reads the directory of an archive, which is named `path` in messages.
    ///
    /// # Errors
    /// No zip archive, or one that is damaged.
    pub(crate) fn of(bytes: Vec<u8>, path: &'a Path) -> Result<Self> {
        let entries = directory(&bytes).ok_or_else(|| {
            Error::refused(path, "no valid NPZ: its directory is damaged")
                .help("save the arrays again with numpy.savez")
        })?;
        Ok(Self {
            path,
            bytes,
            entries,
        })
    }

    /// Returns the names of the arrays.
    pub(crate) fn names(&self) -> Vec<&str> {
        let names = self.entries.iter();
        names
            .map(|entry| entry.name.strip_suffix(".npy").unwrap_or(&entry.name))
            .collect()
    }

    /// Returns the features, and the labels if there are any: arrays with the names that are usual,
    /// or the array called `label`.
    ///
    /// # Errors
    /// No array of features; an array that is refused.
    pub(crate) fn features_and_labels(
        &self,
        label: Option<&str>,
    ) -> Result<(NpyArray, Option<NpyArray>)> {
        let labels = self.labels(label)?;
        let features = self.features(labels.as_slice())?;
        let labels = labels.map(|at| self.finite(at)).transpose()?;
        Ok((self.finite(features)?, labels))
    }

    /// Returns the features, and the arrays of the numbers that a regression predicts with their
    /// names: those called `targets`; without any, or if a model knows them by other names
    /// (`is_known`), the array of labels.
    ///
    /// # Errors
    /// No such array, none of features; an array that is refused.
    pub(crate) fn features_and_targets(
        &self,
        label: Option<&str>,
        targets: &[String],
        is_known: bool,
    ) -> Result<(NpyArray, Vec<(String, NpyArray)>)> {
        let names = self.names();
        let position = |wanted: &str| names.iter().position(|name| *name == wanted);
        let mut answers = Vec::new();
        for target in targets {
            match position(target) {
                Some(at) => answers.push(at),
                None if is_known => {
                    // Columns of one array are called by its name and their numbers.
                    let array = target.rsplit_once(' ').and_then(|(name, _)| position(name));
                    answers = array.into_iter().collect();
                    break;
                }
                None => return Err(self.refused(format!("no array is called `{target}`"))),
            }
        }
        if answers.is_empty() {
            let labels = self.labels(label)?;
            let none = || self.refused("no array of the numbers to predict".to_owned());
            answers.push(labels.ok_or_else(none)?);
        }
        let features = self.features(&answers)?;
        let answers = answers.into_iter();
        let answers = answers.map(|at| Ok((names[at].to_owned(), self.finite(at)?)));
        Ok((self.finite(features)?, answers.collect::<Result<_>>()?))
    }

    /// Finds the array of labels: that called `label`, or one with a usual name.
    fn labels(&self, label: Option<&str>) -> Result<Option<usize>> {
        let names = self.names();
        let position = |wanted: &str| names.iter().position(|name| *name == wanted);
        match label {
            Some(label) => match position(label) {
                None => Err(self.refused(format!("no array is called `{label}`"))),
                found => Ok(found),
            },
            None => Ok(LABELS.iter().find_map(|&name| position(name))),
        }
    }

    /// Finds the array of features: one with a usual name, or the first, that is none of `answers`.
    fn features(&self, answers: &[usize]) -> Result<usize> {
        let names = self.names();
        let position = |wanted: &&str| names.iter().position(|name| name == wanted);
        let usual = FEATURES.iter().filter_map(position);
        let mut found = usual
            .chain(0..names.len())
            .filter(|at| !answers.contains(at));
        (found.next()).ok_or_else(|| self.refused("no array of features".to_owned()))
    }

    /// Unpacks the array number `at`; refuses numbers that are not finite.
    fn finite(&self, at: usize) -> Result<NpyArray> {
        let array = self.array(at)?;
        let finite = array.check_finite(self.path);
        finite.map_err(|error| error.at(self.place(at)))?;
        Ok(array)
    }

    fn refused(&self, problem: String) -> Error {
        Error::refused(self.path, problem).help(format!(
            "the arrays are {}; features are looked for as {}, labels as {}",
            super::classes::list(&self.names()),
            FEATURES.join(", "),
            LABELS.join(", ")
        ))
    }

    fn place(&self, at: usize) -> String {
        format!("array {}", super::classes::shown(&self.entries[at].name))
    }

    /// Unpacks the array number `at`, whose numbers may be infinite or NaN.
    ///
    /// # Errors
    /// An array that is damaged or of a type that is not supported.
    pub(crate) fn array(&self, at: usize) -> Result<NpyArray> {
        let entry = &self.entries[at];
        let place = self.place(at);
        let damaged = || {
            Error::refused(
                self.path,
                "damaged, or packed in a way that is not supported",
            )
            .at(place.clone())
            .help("save the arrays again with numpy.savez or numpy.savez_compressed")
        };
        let packed = content(&self.bytes, entry).ok_or_else(damaged)?;
        let length = entry.unpacked as u64;
        let allowed = input::largest_unpacked(packed.len() as u64);
        let content: Box<dyn Read> = match entry.method {
            0 if packed.len() == entry.unpacked => Box::new(packed),
            8 if length <= allowed => Box::new(DeflateDecoder::new(packed).take(length + 1)),
            8 => {
                return Err(Error::refused(
                    self.path,
                    format!(
                        "{length} bytes packed into {}, a hundredth and less",
                        packed.len()
                    ),
                )
                .at(place.clone())
                .help("if its content is right, save it unpacked with numpy.savez"));
            }
            _ => return Err(damaged()),
        };
        let mut summed = SummedReader {
            content,
            crc: Crc::new(),
        };
        let array = npy::read_any(&mut summed, length, self.path)
            .map_err(|error| error.at(place.clone()))?;
        if u64::from(summed.crc.amount()) != length || summed.crc.sum() != entry.crc {
            return Err(damaged());
        }
        Ok(array)
    }
}

/// A stream, and the checksum of what was read of it.
struct SummedReader<'b> {
    content: Box<dyn Read + 'b>,
    crc: Crc,
}

impl Read for SummedReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.crc.update(&buffer[..count]);
        Ok(count)
    }
}

/// Reads the directory at the end of an archive; `None` if it is damaged.
fn directory(bytes: &[u8]) -> Option<Vec<Entry>> {
    let last = bytes.len().checked_sub(END_LENGTH)?;
    let first = last.saturating_sub(usize::from(u16::MAX));
    let end = (first..=last)
        .rev()
        .find(|&at| bytes[at..].starts_with(&END))?;
    let count = two(bytes, end + 10)?;
    let mut at = four(bytes, end + 16)? as usize;
    let mut entries = Vec::new();
    for _ in 0..count {
        if bytes.get(at..at + 4)? != b"PK\x01\x02" {
            return None;
        }
        let name_length = usize::from(two(bytes, at + 28)?);
        let rest = usize::from(two(bytes, at + 30)?) + usize::from(two(bytes, at + 32)?);
        let name = bytes.get(at + 46..at + 46 + name_length)?;
        let is_encrypted = two(bytes, at + 8)? & 1 == 1;
        if is_encrypted {
            return None;
        }
        entries.push(Entry {
            name: String::from_utf8_lossy(name).into_owned(),
            method: two(bytes, at + 10)?,
            crc: four(bytes, at + 16)?,
            packed: four(bytes, at + 20)? as usize,
            unpacked: four(bytes, at + 24)? as usize,
            at: four(bytes, at + 42)? as usize,
        });
        at += 46 + name_length + rest;
    }
    Some(entries)
}

/// Returns the packed bytes of a file; `None` if the archive is damaged.
fn content<'b>(bytes: &'b [u8], entry: &Entry) -> Option<&'b [u8]> {
    let at = entry.at;
    if bytes.get(at..at.checked_add(4)?)? != MAGIC {
        return None;
    }
    let names = usize::from(two(bytes, at + 26)?) + usize::from(two(bytes, at + 28)?);
    let start = at + 30 + names;
    bytes.get(start..start.checked_add(entry.packed)?)
}

fn two(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes([bytes[0], bytes[1]]))
}

fn four(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
