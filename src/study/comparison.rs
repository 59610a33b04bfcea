//! Two results of the same study, of two machines or two versions: which rows differ by more than
//! their noise.
//!
//! Timings are skewed and have outliers, so ranks are compared: a row is faster or slower where the
//! rank sum test would be mistaken once in a hundred times, and its ratio is that of medians. Samples
//! of one process share its memory layout and its clock; what differs by a few percent may differ
//! the other way in the next process.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::file::read_capped;
use crate::numeric::statistics;
use crate::open::file_type;
use crate::run::directory::RESULTS;
use crate::run::json;

/// The fields that say what a row is of.
const KEY: [&str; 6] = ["label", "method", "layers", "batch_rows", "threads", "case"];
/// How often a verdict may be mistaken where nothing differs.
const RISK: f64 = 0.01;
/// Largest file that is read.
const CAP: u64 = 256 << 20;

/// The timings of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedRow {
    /// What it is of: `threads 2`, field by field.
    pub key: Vec<String>,
    /// Seconds, sample by sample.
    pub samples: Vec<f64>,
}

/// How two rows differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimingVerdict {
    /// The second is faster.
    Faster,
    /// The second is slower.
    Slower,
    /// No difference that the noise would not make.
    Same,
    /// With so few samples no difference could be told from noise.
    TooFewSamples,
}

impl TimingVerdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Same => "no difference seen",
            Self::TooFewSamples => "too few samples",
        }
    }
}

/// A row that both have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRow {
    /// What it is of.
    pub key: Vec<String>,
    /// Median seconds in the first and in the second.
    pub seconds: [f64; 2],
    /// The second over the first.
    pub ratio: f64,
    /// How probable as large a difference of ranks is where nothing differs.
    pub p: f64,
    /// What that means.
    pub verdict: TimingVerdict,
}

/// The comparison of two results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultComparison {
    /// Rows that both have, in the order of the first.
    pub rows: Vec<ComparedRow>,
    /// How many rows only the first and only the second has.
    pub unmatched: [usize; 2],
}

impl ResultComparison {
    /// `other` against `one`.
    pub fn of(one: &[TimedRow], other: &[TimedRow]) -> Self {
        let rows: Vec<ComparedRow> = (one.iter())
            .filter_map(|row| {
                let same = other.iter().find(|other| other.key == row.key)?;
                compare(row, same)
            })
            .collect();
        let unmatched = [one.len() - rows.len(), other.len() - rows.len()];
        Self { rows, unmatched }
    }
}

fn compare(one: &TimedRow, other: &TimedRow) -> Option<ComparedRow> {
    let seconds = [
        statistics::median(&one.samples)?,
        statistics::median(&other.samples)?,
    ];
    let p = statistics::rank_sum_p(&one.samples, &other.samples)?;
    // What it would be if every sample of the one were below every one of the other.
    let apart = |count: usize, from: usize| -> Vec<f64> {
        (from..from + count).map(|value| value as f64).collect()
    };
    let (few, many) = (one.samples.len(), other.samples.len());
    let least = statistics::rank_sum_p(&apart(few, 0), &apart(many, few))?;
    let verdict = if least > RISK {
        TimingVerdict::TooFewSamples
    } else if p > RISK {
        TimingVerdict::Same
    } else if seconds[1] < seconds[0] {
        TimingVerdict::Faster
    } else {
        TimingVerdict::Slower
    };
    Some(ComparedRow {
        key: one.key.clone(),
        seconds,
        ratio: seconds[1] / seconds[0],
        p,
        verdict,
    })
}

/// The rows with timings in `path`, a `results.json` or a study's directory.
///
/// # Errors
/// No such file, no JSON, or no row with `samples` in it.
pub fn read(path: &Path) -> Result<Vec<TimedRow>> {
    let file = if path.is_dir() {
        path.join(RESULTS)
    } else {
        path.to_path_buf()
    };
    if path.is_dir() && file_type(&file)?.is_none() {
        return Err(
            Error::refused(path, format!("no {RESULTS} in this folder")).help(
                "give the directory of a study that has ended; an interrupted one goes on with --resume",
            ),
        );
    }
    let text = String::from_utf8(read_capped(&file, CAP)?)
        .map_err(|_| Error::refused(&file, "is not UTF-8 text"))?;
    let document: Value = json::parse(&text)
        .map_err(|error| Error::refused(&file, format!("cannot be read: {error}")))?;
    let rows = document["rows"].as_array();
    let timed: Vec<TimedRow> = rows.into_iter().flatten().filter_map(timed).collect();
    if timed.is_empty() {
        return Err(
            Error::refused(&file, "no `rows` with `samples` of seconds in it")
                .help("compare results of `nplus1 scale`, or of `nplus1 cost --measure`"),
        );
    }
    Ok(timed)
}

fn timed(row: &Value) -> Option<TimedRow> {
    let samples: Option<Vec<f64>> = row["samples"]
        .as_array()?
        .iter()
        .map(Value::as_f64)
        .collect();
    let samples = samples.filter(|samples| !samples.is_empty())?;
    let field = |name: &&str| {
        let value = match row.get(*name)? {
            Value::String(text) => return Some(text.clone()),
            value => value.to_string(),
        };
        Some(format!("{} {value}", name.replace('_', " ")))
    };
    // A label says more than the method that it begins with.
    let has_label = row.get("label").is_some();
    let names = KEY.iter().filter(|&&name| name != "method" || !has_label);
    Some(TimedRow {
        key: names.filter_map(field).collect(),
        samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(threads: usize, samples: &[f64]) -> TimedRow {
        TimedRow {
            key: vec![format!("threads {threads}")],
            samples: samples.to_vec(),
        }
    }

    #[test]
    fn a_difference_beyond_the_noise_is_told_and_noise_is_not() {
        let one = [
            row(1, &[1.0, 1.1, 1.2, 1.3, 1.4]),
            row(2, &[1.0, 1.1, 1.2, 1.3, 1.4]),
            row(3, &[1.0, 1.1, 1.2, 1.3, 1.4]),
            row(4, &[1.0, 1.1, 1.2]),
            row(5, &[1.0]),
        ];
        let other = [
            row(1, &[0.5, 0.55, 0.6, 0.65, 9.0]),
            row(2, &[0.5, 0.55, 0.6, 0.65, 0.7]),
            row(3, &[2.0, 2.2, 2.4, 2.6, 2.8]),
            row(4, &[2.0, 2.1, 2.2]),
            row(6, &[1.0]),
        ];
        let found = ResultComparison::of(&one, &other);
        let verdicts: Vec<TimingVerdict> = found.rows.iter().map(|row| row.verdict).collect();
        use TimingVerdict::{Faster, Same, Slower, TooFewSamples};
        assert_eq!(verdicts, [Same, Faster, Slower, TooFewSamples]);
        assert_eq!(found.unmatched, [1, 1]);
        assert!((found.rows[1].ratio - 0.5).abs() < 1e-12);
    }

    #[test]
    fn rows_are_read_by_what_they_are_of() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(RESULTS);
        let rows = json!({"rows": [
            {"method": "backprop", "batch_rows": 10, "threads": 2, "samples": [1.0, 2.0]},
            {"label": "a/b", "method": "a", "layers": [2, 3], "batch_rows": 1, "samples": [1.0]},
            {"label": "predicted", "samples": []},
        ]});
        std::fs::write(&file, rows.to_string()).unwrap();
        for path in [folder.path(), &file] {
            let read = read(path).unwrap();
            assert_eq!(read.len(), 2);
            assert_eq!(read[0].key, ["backprop", "batch rows 10", "threads 2"]);
            assert_eq!(read[1].key, ["a/b", "layers [2,3]", "batch rows 1"]);
        }
    }

    #[test]
    fn files_without_timings_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = read(folder.path()).unwrap_err();
        assert_eq!(refused.exit_code(), 2);
        assert!(refused.to_string().contains("--resume"), "{refused}");
        let file = folder.path().join("other.json");
        for (text, named) in [("{", "cannot be read"), ("{\"rows\": []}", "no `rows`")] {
            std::fs::write(&file, text).unwrap();
            let refused = read(&file).unwrap_err();
            assert_eq!(refused.exit_code(), 2);
            assert!(refused.to_string().contains(named), "{refused}");
        }
    }
}
