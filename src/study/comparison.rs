//! Compares two results of the same study, from two machines or two versions, and finds the rows
//! that differ by more than their noise.
//!
//! Timings are skewed and have outliers, so their ranks are compared: a row counts as faster or
//! slower if the rank sum test gives p ≤ 0.01. The ratio is that of the medians. Samples of one
//! process share its memory layout and clock, so a difference of a few percent may have the
//! opposite sign in the next process.

use std::path::Path;

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::file::read_capped;
use crate::numeric::statistics;
use crate::open::file_type;
use crate::run::directory::RESULTS;
use crate::run::json;

/// The fields that identify a row.
const KEY: [&str; 7] = [
    "label",
    "method",
    "split",
    "layers",
    "batch_rows",
    "threads",
    "case",
];
/// Significance level: the probability of a false difference.
const SIGNIFICANCE: f64 = 0.01;
/// Size of the largest file that is read, in bytes.
const MAX_BYTES: u64 = 256 << 20;

/// The timings of one row.
#[derive(Clone, Debug, PartialEq)]
pub struct TimedRow {
    /// The identifying fields, such as `threads 2`.
    pub key: Vec<String>,
    /// Seconds of each sample.
    pub samples: Vec<f64>,
}

/// The verdict on the difference of two rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TimingVerdict {
    /// The second is faster.
    Faster,
    /// The second is slower.
    Slower,
    /// The difference is within the noise.
    Same,
    /// There are too few samples to distinguish any difference from noise.
    TooFewSamples,
}

impl TimingVerdict {
    /// Returns the verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Faster => "faster",
            Self::Slower => "slower",
            Self::Same => "within noise",
            Self::TooFewSamples => "too few samples",
        }
    }
}

/// A row that both results have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRow {
    /// The identifying fields.
    pub key: Vec<String>,
    /// Median seconds in the first and in the second result.
    pub seconds: [f64; 2],
    /// The second median divided by the first.
    pub ratio: f64,
    /// Probability of such a difference of ranks, or a larger one, if nothing differs.
    pub p: f64,
    /// The verdict.
    pub verdict: TimingVerdict,
}

/// The comparison of two results.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ResultComparison {
    /// Rows that both results have, in the order of the first.
    pub rows: Vec<ComparedRow>,
    /// Number of rows that only the first, and only the second, result has.
    pub unmatched: [usize; 2],
}

impl ResultComparison {
    /// Compares the rows of `other` with those of `one`.
    pub fn compare(one: &[TimedRow], other: &[TimedRow]) -> Self {
        let rows: Vec<ComparedRow> = (one.iter())
            .filter_map(|row| {
                let matching = other.iter().find(|other| other.key == row.key)?;
                compare(row, matching)
            })
            .collect();
        let unmatched = [one.len() - rows.len(), other.len() - rows.len()];
        Self { rows, unmatched }
    }
}

/// Compares two rows; returns `None` if either has no samples.
fn compare(one: &TimedRow, other: &TimedRow) -> Option<ComparedRow> {
    let seconds = [
        statistics::median(&one.samples)?,
        statistics::median(&other.samples)?,
    ];
    let p = statistics::rank_sum_p(&one.samples, &other.samples)?;
    // The smallest possible p: every sample of one row is below every sample of the other.
    let ranks = |count: usize, from: usize| -> Vec<f64> {
        (from..from + count).map(|value| value as f64).collect()
    };
    let (few, many) = (one.samples.len(), other.samples.len());
    let least = statistics::rank_sum_p(&ranks(few, 0), &ranks(many, few))?;
    let verdict = if least > SIGNIFICANCE {
        TimingVerdict::TooFewSamples
    } else if p > SIGNIFICANCE {
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

/// Reads the rows with timings from `path`, a `results.json` or a study's directory.
///
/// # Errors
/// Returns an error if the file is absent, is not JSON, or has no row with `samples`.
pub fn read(path: &Path) -> Result<Vec<TimedRow>> {
    let file = if path.is_dir() {
        path.join(RESULTS)
    } else {
        path.to_path_buf()
    };
    if path.is_dir() && file_type(&file)?.is_none() {
        return Err(
            Error::refused(path, format!("no {RESULTS} in this folder")).help(
                "give the directory of a completed study; an interrupted one continues with --resume",
            ),
        );
    }
    let text = String::from_utf8(read_capped(&file, MAX_BYTES)?)
        .map_err(|_| Error::refused(&file, "is not UTF-8 text"))?;
    let document: Value = json::parse(&text)
        .map_err(|error| Error::refused(&file, format!("cannot be read: {error}")))?;
    let rows = document["rows"].as_array();
    let timed: Vec<TimedRow> = rows.into_iter().flatten().filter_map(timed).collect();
    if timed.is_empty() {
        return Err(Error::refused(&file, "no `rows` with `samples` in seconds")
            .help("compare results of `nplus1 scale`, or of `nplus1 cost --measure`"));
    }
    Ok(timed)
}

/// Reads one row; returns `None` if it has no samples.
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
    // A label contains the method and its variant.
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
    fn a_difference_beyond_the_noise_is_detected_and_noise_is_not() {
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
        let found = ResultComparison::compare(&one, &other);
        let verdicts: Vec<TimingVerdict> = found.rows.iter().map(|row| row.verdict).collect();
        use TimingVerdict::{Faster, Same, Slower, TooFewSamples};
        assert_eq!(verdicts, [Same, Faster, Slower, TooFewSamples]);
        assert_eq!(found.unmatched, [1, 1]);
        assert!((found.rows[1].ratio - 0.5).abs() < 1e-12);
    }

    #[test]
    fn rows_are_identified_by_their_key_fields() {
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
