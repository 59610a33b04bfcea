//! The report of a scaling study: tables and summary sentences.

use serde::Serialize;

use super::{
    ScalingFit, ScalingPlan, ScalingRow, ScalingSample, ScalingSummary, SynchronizationTime,
    warnings,
};
use crate::run::Environment;
use crate::study::fits::Coefficient;
use crate::study::table::Table;

/// The summary of a scaling study, with sentences.
#[derive(Clone, Debug, Serialize)]
pub struct ScalingReport<'a> {
    /// The config's name.
    pub name: &'a str,
    /// The study's directory.
    pub study: String,
    /// One row per method, mini-batch and number of threads.
    pub rows: Vec<ScalingRow>,
    /// One fit per method and mini-batch.
    pub fits: Vec<ScalingFit>,
    /// Synchronization times of the threads.
    pub meetings: Vec<SynchronizationTime>,
    /// The machine and the program.
    pub machine: &'a Environment,
    /// The parameters of the study.
    pub plan: &'a ScalingPlan,
    /// Summary sentences.
    pub findings: Vec<String>,
    /// Conditions that make the results doubtful.
    pub warnings: Vec<String>,
}

impl<'a> ScalingReport<'a> {
    /// Summarizes `samples`; `others` is the processor time that other processes used meanwhile, in
    /// processors.
    pub fn new(
        name: &'a str,
        study: String,
        machine: &'a Environment,
        plan: &'a ScalingPlan,
        samples: &[ScalingSample],
        others: Option<f64>,
    ) -> Self {
        let summary = ScalingSummary::of(plan, samples);
        let cores = machine.physical_cores.min(machine.logical_cores);
        let findings = sentences(plan, &summary);
        Self {
            name,
            study,
            rows: summary.rows,
            fits: summary.fits,
            meetings: summary.meetings,
            machine,
            plan,
            findings,
            warnings: warnings(plan, samples, others, [cores, machine.logical_cores]),
        }
    }

    /// Returns the table of times and, with more than one number of threads, that of the fitted
    /// laws, each with its heading.
    pub fn tables(&self) -> Vec<(&'static str, Table)> {
        let mut tables = vec![("Times", rows_table(&self.rows))];
        if self.plan.threads.len() > 1 {
            tables.push(("Laws of scaling", fits_table(&self.fits)));
        }
        tables
    }

    /// Renders the report as text; `table` renders each table.
    pub fn render(&self, table: impl Fn(&Table) -> String) -> String {
        let mut text = String::new();
        for (_, contents) in self.tables() {
            text.push_str(&table(&contents));
            text.push('\n');
        }
        for finding in &self.findings {
            text.push_str(finding);
            text.push_str("\n\n");
        }
        for warning in &self.warnings {
            text.push_str(&format!("Doubtful: {warning}.\n\n"));
        }
        text.push_str(&format!("Study: {}\n", self.study));
        text
    }
}

/// Formats a sample as a line of progress.
pub fn line(sample: &ScalingSample) -> String {
    format!(
        "round {}: {}, {} rows, {}: {}",
        sample.round,
        sample.method,
        sample.batch_rows,
        counted(sample.threads, "thread"),
        duration(sample.seconds)
    )
}

fn rows_table(rows: &[ScalingRow]) -> Table {
    let weak = rows
        .iter()
        .any(|row| row.weak_efficiency.is_some() && row.threads > 1);
    let mut header = vec![
        "method",
        "rows",
        "threads",
        "time",
        "CPU time",
        "speedup",
        "least … most",
        "efficiency",
        "of the peak's",
        "GFLOP/s",
        "of peak",
        "of roofline",
        "weights",
    ];
    if weak {
        header.insert(9, "weak");
    }
    let mut table = Table::new(header);
    let ratio = |ratio: Option<f64>| ratio.map_or_else(none, |ratio| format!("{ratio:.2}"));
    for row in rows {
        let range = row.speedup_range.filter(|_| row.threads > 1);
        let mark = if row.share < 1.0 { "*" } else { "" };
        let mut cells = vec![
            row.method.clone(),
            row.batch_rows.to_string(),
            row.threads.to_string(),
            format!("{}{mark}", duration(row.seconds)),
            row.cpu_seconds.map_or_else(none, duration),
            ratio(row.speedup),
            range.map_or_else(none, |[low, high]| format!("{low:.2} … {high:.2}")),
            ratio(row.efficiency),
            ratio(row.peak_efficiency),
            format!("{:.1}", row.operations_per_second / 1e9),
            percent(row.of_peak),
            percent(row.of_roofline),
            row.weights_sha256
                .as_ref()
                .map_or_else(none, |hash| hash[..8].to_owned()),
        ];
        if weak {
            cells.insert(9, ratio(row.weak_efficiency));
        }
        table.row(cells);
    }
    table
}

fn fits_table(fits: &[ScalingFit]) -> Table {
    let mut table = Table::new([
        "method",
        "rows",
        "serial part σ (Amdahl)",
        "at most",
        "contention α",
        "coherence β",
        "best threads (USL)",
        "fastest measured",
    ]);
    for fit in fits {
        let amdahl = fit.amdahl.as_ref();
        let universal = fit.universal.as_ref();
        table.row([
            fit.method.clone(),
            fit.batch_rows.to_string(),
            amdahl.map_or_else(none, |law| coefficient(&law.serial)),
            amdahl
                .and_then(|law| law.limit)
                .map_or_else(none, |limit| format!("{limit:.3}×")),
            universal.map_or_else(none, |law| coefficient(&law.contention)),
            universal.map_or_else(none, |law| coefficient(&law.coherence)),
            universal
                .and_then(|law| law.best_workers)
                .map_or_else(none, |best| format!("{best:.1}")),
            fit.fastest_threads.to_string(),
        ]);
    }
    table
}

/// Returns the summary sentences.
fn sentences(plan: &ScalingPlan, summary: &ScalingSummary) -> Vec<String> {
    let mut sentences = vec![match summary.differing_weights() {
        None => "The weights after a step are the same at every number of threads.".to_owned(),
        Some((method, rows)) => format!(
            "The weights after a step of {method} on {rows} rows depend on the number of threads: this is a defect of nplus1, please report it."
        ),
    }];
    if plan.threads.len() > 1 {
        sentences.extend(
            plan.methods
                .iter()
                .filter_map(|method| efficiency(method, summary)),
        );
    }
    if !summary.meetings.is_empty() {
        let times: Vec<String> = (summary.meetings.iter())
            .map(|meeting| {
                format!(
                    "{} idle threads takes {:.0} ns",
                    meeting.threads,
                    meeting.seconds * 1e9
                )
            })
            .collect();
        sentences.push(format!("Synchronizing {}.", times.join(", ")));
    }
    if plan.threads.contains(&1) && plan.threads.contains(&2) {
        sentences.extend(
            plan.methods
                .iter()
                .map(|method| second_thread(method, summary)),
        );
    }
    if summary.rows.iter().any(|row| row.share < 1.0) {
        sentences.push(
            "* interrupted at the limit: the time is extrapolated from the completed evaluations."
                .to_owned(),
        );
    }
    sentences
}

/// Puts the speedup and efficiency on the largest number of threads into words.
fn efficiency(method: &str, summary: &ScalingSummary) -> Option<String> {
    let measured = |row: &&ScalingRow| row.method == method && row.speedup.is_some();
    let most = summary
        .rows
        .iter()
        .filter(measured)
        .map(|row| row.threads)
        .max()?;
    let speedups: Vec<String> = (summary.rows.iter().filter(measured))
        .filter(|row| row.threads == most && most > 1)
        .filter_map(|row| {
            let (speedup, efficiency) = (row.speedup?, row.efficiency?);
            let peak = row.peak_efficiency?;
            Some(format!(
                "{speedup:.2}× on {} (efficiency {efficiency:.2}; pure arithmetic reaches {peak:.2})",
                counted(row.batch_rows, "row")
            ))
        })
        .collect();
    (!speedups.is_empty())
        .then(|| format!("{method} with {most} threads: {}.", speedups.join(", ")))
}

/// Puts the mini-batches on which a second thread pays into words.
fn second_thread(method: &str, summary: &ScalingSummary) -> String {
    match summary.second_thread_pays_from(method) {
        None => format!("{method}: a second thread does not pay on the mini-batches measured."),
        Some((rows, true)) => format!(
            "{method}: a second thread pays on every mini-batch measured, from {} on.",
            counted(rows, "row")
        ),
        Some((rows, false)) => format!(
            "{method}: a second thread pays from {} on, of the mini-batches measured.",
            counted(rows, "row")
        ),
    }
}

fn coefficient(coefficient: &Coefficient) -> String {
    let value = format!("{:.4}", coefficient.value);
    coefficient.interval.map_or(value.clone(), |[low, high]| {
        format!("{value} ({low:.4} … {high:.4})")
    })
}

fn none() -> String {
    "–".to_owned()
}

/// Formats a count with its noun, `2 rows`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 1.0 => format!("{seconds:.3} s"),
        seconds if seconds >= 1e-3 => format!("{:.3} ms", seconds * 1e3),
        seconds => format!("{:.2} µs", seconds * 1e6),
    }
}
