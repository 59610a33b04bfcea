//! Finds out which character separates the columns of a CSV.

use std::io::{self, Read};
use std::path::Path;

use csv::{ByteRecord, ReaderBuilder, Terminator};

use super::records::Source;
use crate::error::{Error, Result};

/// The separators that are recognized, and their names.
pub(crate) const SEPARATORS: [(u8, &str); 5] = [
    (b',', "commas"),
    (b';', "semicolons"),
    (b'\t', "tabs"),
    (b'|', "vertical bars"),
    (b' ', "blanks"),
];

/// Bytes of a file that are looked at.
const HEAD: usize = 1 << 15;

/// Records that are looked at.
const RECORDS: usize = 50;

/// Names a separator: `semicolons`.
pub(crate) fn name(separator: u8) -> String {
    let known = SEPARATORS.iter().find(|(sign, _)| *sign == separator);
    known.map_or_else(
        || format!("`{}`", char::from(separator).escape_default()),
        |(_, name)| (*name).to_owned(),
    )
}

/// Reads the first bytes: [`HEAD`] of a file, the first line that is not blank of a stream, which
/// must not wait for more. An error comes with the bytes read before it.
pub(super) fn head(source: &mut Source) -> Result<Vec<u8>, (u64, io::Error)> {
    let is_stream = matches!(source, Source::Stream(_));
    let mut head = Vec::new();
    let mut buffer = vec![0; HEAD];
    while head.len() < HEAD && !(is_stream && has_line(&head)) {
        match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => head.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((head.len() as u64, error)),
        }
    }
    Ok(head)
}

fn has_line(head: &[u8]) -> bool {
    let start = head.iter().position(|byte| !byte.is_ascii_whitespace());
    start.is_some_and(|start| head[start..].contains(&b'\n'))
}

/// Refuses content that is no text in UTF-8, by its first bytes.
pub(super) fn check_text(head: &[u8], path: &Path) -> Result<()> {
    let (what, help) = match head {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => ("UTF-16 text", "save the file as UTF-8"),
        [0x89, b'P', b'N', b'G', ..] => ("a PNG picture", "name a folder of pictures, or a CSV"),
        [0x93, b'N', b'U', b'M', ..] => ("an NPY file", "give its name the extension .npy"),
        [b'P', b'K', 3, 4, ..] => (
            "a zip file",
            "an NPZ needs the extension .npz; unpack others",
        ),
        [0, 0, ..] => (
            "a binary file",
            "IDX needs two files: train = [\"images\", \"labels\"]",
        ),
        _ if head.contains(&0) => ("a binary file", "give a text file, one row per line"),
        _ => return Ok(()),
    };
    Err(Error::refused(path, format!("{what}, not a CSV"))
        .at("byte 0")
        .help(help))
}

/// Returns the separator that divides the first records most evenly: into as many fields as the
/// first, and more than one. Of several, the one with the most numbers between separators; then the
/// first of [`SEPARATORS`]. A comma if none divides them.
pub(super) fn find(head: &[u8]) -> u8 {
    let scores = SEPARATORS.map(|(separator, _)| (score(head, separator), separator));
    let mut best = (0, b',');
    for (score, separator) in scores {
        if score > best.0 {
            best = (score, separator);
        }
    }
    best.1
}

/// Rates a separator from 0 to 3,000: a thousandth for the share of records that have as many
/// fields as the first, doubled, and another for the share of fields that are numbers.
fn score(head: &[u8], separator: u8) -> usize {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator)
        .terminator(Terminator::Any(b'\n'))
        .from_reader(head);
    let mut records = Vec::new();
    let mut record = ByteRecord::new();
    while records.len() < RECORDS && reader.read_byte_record(&mut record).unwrap_or(false) {
        if record.len() > 1 || !record.get(0).unwrap_or_default().trim_ascii().is_empty() {
            records.push(record.clone());
        }
    }
    // The last record may be cut.
    if records.len() > 1 && head.len() >= HEAD {
        records.pop();
    }
    let width = records.first().map_or(0, ByteRecord::len);
    if width < 2 {
        return 0;
    }
    let even = records
        .iter()
        .filter(|record| record.len() == width)
        .count();
    let fields = records.iter().flat_map(ByteRecord::iter);
    let (mut numbers, mut all) = (0, 0);
    for field in fields {
        all += 1;
        numbers += usize::from(is_number(field));
    }
    2000 * even / records.len() + 1000 * numbers / all
}

/// Returns whether a field is a number, with a decimal point or a decimal comma.
fn is_number(field: &[u8]) -> bool {
    let text = std::str::from_utf8(field.trim_ascii()).unwrap_or_default();
    text.parse::<f64>().is_ok() || text.replacen(',', ".", 1).parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_divides_all_lines_evenly() {
        for (text, separator) in [
            ("a,b,c\n1,2,3\n", b','),
            ("a;b;c\n1;2;3\n", b';'),
            ("a\tb\n1\t2\n", b'\t'),
            ("a|b\n1|2\n", b'|'),
            ("1 2 3\n4 5 6\n", b' '),
            ("1,5;2,5;x\n3,5;4,5;y\n", b';'),
            ("name;note\nx;a, b\ny;c, d, e\n", b';'),
            ("\"a;b\",c\n\"d;e;f\",g\n", b','),
            ("one\ntwo\n", b','),
            ("", b','),
        ] {
            assert_eq!(find(text.as_bytes()), separator, "{text:?}");
        }
    }
}
