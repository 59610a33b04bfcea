//! `metrics.jsonl` and `metrics.csv`: one line per epoch, written at once, so that a crash loses at
//! most the line being written. A study logs its rows the same way, in files of other names.
//!
//! Any serializable record can be a line. The columns of the CSV are the fields of the first
//! record, in their order (`tally.evaluations` for a nested one). Numbers that are not finite are
//! `null` in JSON and empty in CSV. A reader skips and counts damaged lines.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::directory::{METRICS_CSV, METRICS_JSONL};
use super::json;
use crate::error::{Error, Result};
use crate::format::disk;
use crate::format::file::{read_capped, write_atomically};
use crate::open::file_type;

/// Size limit of a log that is read, in bytes.
const LOG_CAP: u64 = 1 << 30;

/// The two logs of a run, open for appending.
#[derive(Debug)]
pub struct Metrics {
    jsonl: Log,
    csv: Log,
    columns: Vec<String>,
}

/// The content of a log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogContent<T> {
    /// The records of the lines that could be read.
    pub records: Vec<T>,
    /// The number of lines that could not be read.
    pub damaged: usize,
}

impl Metrics {
    /// Starts the logs of `directory` with `records`: none for a new run; for a resumed run, those
    /// up to its checkpoint, because later lines will be written again.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn start<T: Serialize>(directory: &Path, records: &[T]) -> Result<Self> {
        Self::start_as(directory, [METRICS_JSONL, METRICS_CSV], records)
    }

    /// Starts the logs as [`Metrics::start`] does, in files of other names: JSON lines, then CSV.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn start_as<T: Serialize>(
        directory: &Path,
        [jsonl, csv]: [&str; 2],
        records: &[T],
    ) -> Result<Self> {
        let mut columns = Vec::new();
        let (mut lines, mut rows) = (String::new(), String::new());
        for record in records {
            let (line, row) = encode(record, &mut columns);
            lines.push_str(&line);
            rows.push_str(&row);
        }
        Ok(Self {
            jsonl: Log::replace(directory.join(jsonl), &lines)?,
            csv: Log::replace(directory.join(csv), &rows)?,
            columns,
        })
    }

    /// Appends a line to both logs, unbuffered.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn append<T: Serialize>(&mut self, record: &T) -> Result<()> {
        let (line, row) = encode(record, &mut self.columns);
        self.jsonl.append(&line)?;
        self.csv.append(&row)
    }

    /// Waits until all lines of JSON are on the disk. (The CSV is made from them again on resume.)
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn sync(&self) -> Result<()> {
        disk::sync(&self.jsonl.path, &self.jsonl.file)
            .map_err(|source| Error::io("write", &self.jsonl.path, source))
    }
}

/// Reads the records in `metrics.jsonl` of `directory`; a missing file has none.
///
/// # Errors
/// Errors of the operating system; a log of more than 1 GiB.
pub fn read<T: DeserializeOwned>(directory: &Path) -> Result<LogContent<T>> {
    read_log(&directory.join(METRICS_JSONL))
}

/// Reads the records in a log of JSON lines; a missing file has none.
///
/// # Errors
/// Errors of the operating system; a log of more than 1 GiB.
pub fn read_log<T: DeserializeOwned>(path: &Path) -> Result<LogContent<T>> {
    let mut content = LogContent {
        records: Vec::new(),
        damaged: 0,
    };
    if file_type(path)?.is_none() {
        return Ok(content);
    }
    let bytes = read_capped(path, LOG_CAP)?;
    for line in bytes.split(|&byte| byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        let record = std::str::from_utf8(line)
            .ok()
            .and_then(|line| json::parse(line).ok());
        match record {
            Some(record) => content.records.push(record),
            None => content.damaged += 1,
        }
    }
    Ok(content)
}

/// Encodes a record as a line of JSON and as a row of CSV; the first row is preceded by the header.
fn encode<T: Serialize>(record: &T, columns: &mut Vec<String>) -> (String, String) {
    let mut line = json::line(record);
    // Parsed back from the line, so that the two logs cannot differ.
    let value = serde_json::from_str(&line).expect("a line that was just written is JSON");
    line.push('\n');
    let mut cells = Vec::new();
    flatten("", &value, &mut cells);
    let mut rows = String::new();
    if columns.is_empty() {
        *columns = cells.iter().map(|(name, _)| name.clone()).collect();
        push_row(&mut rows, columns.iter().map(String::as_str));
    }
    let cell = |column: &String| {
        let found = cells.iter().find(|(name, _)| name == column);
        found.map_or("", |(_, cell)| cell.as_str())
    };
    push_row(&mut rows, columns.iter().map(cell));
    (line, rows)
}

/// Appends the leaves of `value` to `cells`, with their dotted names.
fn flatten(name: &str, value: &Value, cells: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let dot = if name.is_empty() { "" } else { "." };
                flatten(&format!("{name}{dot}{key}"), value, cells);
            }
        }
        Value::Null => cells.push((name.to_owned(), String::new())),
        Value::String(text) => cells.push((name.to_owned(), text.clone())),
        other => cells.push((name.to_owned(), other.to_string())),
    }
}

fn push_row<'a>(rows: &mut String, cells: impl Iterator<Item = &'a str>) {
    for (index, cell) in cells.enumerate() {
        if index > 0 {
            rows.push(',');
        }
        if cell.contains([',', '"', '\n', '\r']) {
            rows.push('"');
            rows.push_str(&cell.replace('"', "\"\""));
            rows.push('"');
        } else {
            rows.push_str(cell);
        }
    }
    rows.push('\n');
}

/// A file that grows by whole lines.
#[derive(Debug)]
struct Log {
    file: File,
    path: PathBuf,
}

impl Log {
    fn replace(path: PathBuf, text: &str) -> Result<Self> {
        write_atomically(&path, text.as_bytes())?;
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(|source| Error::io("write", &path, source))?;
        Ok(Self { file, path })
    }

    /// Writes a line with one unbuffered write, so that lines are never interleaved.
    fn append(&mut self, line: &str) -> Result<()> {
        disk::write_all(&self.path, &self.file, line.as_bytes())
            .map_err(|source| Error::io("write", &self.path, source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_csv_has_a_column_per_leaf_and_quotes_cells_that_need_it() {
        let mut columns = Vec::new();
        let record = json!({"epoch": 1, "loss": null, "tally": {"a": 2}, "note": "x,\"y\""});
        let (_, first) = encode(&record, &mut columns);
        assert_eq!(first, "epoch,loss,tally.a,note\n1,,2,\"x,\"\"y\"\"\"\n");
        // Fields in another order, and one missing, still go to their columns.
        let (_, second) = encode(&json!({"tally": {"a": 3}, "epoch": 2}), &mut columns);
        assert_eq!(second, "2,,3,\n");
    }
}
