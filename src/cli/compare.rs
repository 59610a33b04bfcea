//! `nplus1 compare`: the times of two studies, row by row.

use std::io::Write;

use serde_json::json;

use super::arguments::CompareArguments;
use super::output::print;
use crate::error::{Error, Result};
use crate::study::comparison::{ResultComparison, TimingVerdict, read};
use crate::study::table::Table;

/// Prints how the second result differs from the first.
///
/// # Errors
/// Files that are not results of studies, or have no row in common; a failed write.
pub fn run(arguments: &CompareArguments, json: bool, out: &mut dyn Write) -> Result<()> {
    let [one, other] = [&arguments.one, &arguments.other];
    let comparison = ResultComparison::compare(&read(one)?, &read(other)?);
    if comparison.rows.is_empty() {
        return Err(Error::Usage(format!(
            "{} and {} have no row of the same method, mini-batch and threads\n  help: compare two studies of the same command; for training runs, use `nplus1 report A B`",
            one.display(),
            other.display()
        )));
    }
    if json {
        return print(out, &format!("{:#}\n", json!(comparison)));
    }
    let mut table = Table::new(["", "A", "B", "B ÷ A", "p", "B is"]);
    for row in &comparison.rows {
        let [a, b] = row.seconds.map(milliseconds);
        let (ratio, p) = (format!("{:.3}", row.ratio), format!("{:.3}", row.p));
        let verdict = row.verdict.words().to_owned();
        table.row([row.key.join(", "), a, b, ratio, p, verdict]);
    }
    let count = |verdict| {
        comparison
            .rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count()
    };
    let mut text = format!(
        "A: {}\nB: {}\n\n{table}\n{} faster, {} slower, {} within noise",
        one.display(),
        other.display(),
        count(TimingVerdict::Faster),
        count(TimingVerdict::Slower),
        count(TimingVerdict::Same),
    );
    if count(TimingVerdict::TooFewSamples) > 0 {
        let few = count(TimingVerdict::TooFewSamples);
        text.push_str(&format!(
            "; {few} with too few samples (at least 5 each are needed)"
        ));
    }
    if comparison.unmatched != [0, 0] {
        let [a, b] = comparison.unmatched;
        text.push_str(&format!("; left out: {a} rows only in A, {b} only in B"));
    }
    text.push_str(".\nSamples of one process share its clock and memory layout: repeat both studies before you trust a difference of a few percent.\n");
    print(out, &text)
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.4} ms", seconds * 1e3)
}
