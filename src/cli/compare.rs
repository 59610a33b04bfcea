//! `nplus1 compare`: two results of a study, row by row.

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
/// Files that are no results, or have no row in common; a failed write.
pub fn run(arguments: &CompareArguments, json: bool, out: &mut dyn Write) -> Result<()> {
    let [one, other] = [&arguments.one, &arguments.other];
    let found = ResultComparison::compare(&read(one)?, &read(other)?);
    if found.rows.is_empty() {
        return Err(Error::Usage(format!(
            "{} and {} have no row of the same method, mini-batch and threads\n  help: compare two results of the same command",
            one.display(),
            other.display()
        )));
    }
    if json {
        return print(out, &format!("{:#}\n", json!(found)));
    }
    let mut table = Table::new(["", "A", "B", "B ÷ A", "p", "B is"]);
    for row in &found.rows {
        let [a, b] = row.seconds.map(milliseconds);
        let (ratio, p) = (format!("{:.3}", row.ratio), format!("{:.3}", row.p));
        let verdict = row.verdict.words().to_owned();
        table.row([row.key.join(", "), a, b, ratio, p, verdict]);
    }
    let count = |verdict| {
        found
            .rows
            .iter()
            .filter(|row| row.verdict == verdict)
            .count()
    };
    let mut text = format!(
        "A: {}\nB: {}\n\n{table}\n{} faster, {} slower, {} without a difference that the noise would not make",
        one.display(),
        other.display(),
        count(TimingVerdict::Faster),
        count(TimingVerdict::Slower),
        count(TimingVerdict::Same),
    );
    if count(TimingVerdict::TooFewSamples) > 0 {
        let few = count(TimingVerdict::TooFewSamples);
        text.push_str(&format!("; {few} with too few samples to tell (5 each do)"));
    }
    if found.unmatched != [0, 0] {
        let [a, b] = found.unmatched;
        text.push_str(&format!("; left out: {a} rows of A alone, {b} of B alone"));
    }
    text.push_str(".\nSamples of one process share its clock and memory layout: see a difference of a few percent twice before you believe it.\n");
    print(out, &text)
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.4} ms", seconds * 1e3)
}
