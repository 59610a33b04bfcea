//! The report of a scaling study: tables and summary sentences.

use serde::Serialize;

use super::{
    PlannedDivision, ScalingFit, ScalingPlan, ScalingPrediction, ScalingRow, ScalingSample,
    ScalingSummary, SynchronizationTime, warnings,
};
use crate::parallel::Split;
use crate::run::Environment;
use crate::study::fits::{Coefficient, Unsupported};
use crate::study::table::{Table, counted};
use crate::study::{StudyReport, closing};

/// The summary of a scaling study, with sentences.
#[derive(Clone, Debug, Serialize)]
pub struct ScalingReport<'a> {
    /// The config's name.
    pub name: &'a str,
    /// The study's directory.
    pub study: String,
    /// One row per method, split, mini-batch and number of threads.
    pub rows: Vec<ScalingRow>,
    /// One fit per method, split and mini-batch.
    pub fits: Vec<ScalingFit>,
    /// Times for numbers of threads above the processors.
    pub predictions: Vec<ScalingPrediction>,
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
            predictions: summary.predictions,
            meetings: summary.meetings,
            machine,
            plan,
            findings,
            warnings: warnings(plan, samples, others, [cores, machine.logical_cores]),
        }
    }

    /// Returns the table of times and, with more than one number of threads, those of what limits
    /// the splits of backprop, of the fitted laws and of the predictions, each with its heading.
    pub fn tables(&self) -> Vec<(&'static str, Table)> {
        let mut tables = vec![("Times", rows_table(&self.rows))];
        let limited =
            |division: &&PlannedDivision| division.split.is_some() && division.threads > 1;
        let divisions: Vec<_> = self.plan.divisions.iter().filter(limited).collect();
        if !divisions.is_empty() {
            tables.push(("What limits each split, counted", limits_table(&divisions)));
        }
        if !self.predictions.is_empty() {
            let heading = "Predicted, not measured: more threads than processors";
            tables.push((heading, predictions_table(&self.predictions)));
        }
        // With one number of threads beside 1 every law fits, and none is supported.
        if self
            .plan
            .threads
            .iter()
            .filter(|&&threads| threads > 1)
            .count()
            > 1
        {
            tables.push(("Laws of scaling", fits_table(&self.fits)));
        }
        tables
    }
}

impl StudyReport for ScalingReport<'_> {
    fn heading(&self) -> String {
        format!("Scaling: {}", self.name)
    }

    fn render(&self, _: &str, table: &dyn Fn(&Table) -> String) -> String {
        let sections = self.tables().into_iter();
        let sections =
            sections.map(|(heading, contents)| format!("{heading}\n{}\n", table(&contents)));
        let doubts: Vec<String> = (self.warnings.iter())
            .map(|warning| format!("Doubtful: {warning}."))
            .collect();
        let sentences = self.findings.iter().chain(&doubts);
        sections.collect::<String>() + &closing(sentences, &self.study)
    }
}

/// Formats a sample as a line of progress.
pub fn line(sample: &ScalingSample) -> String {
    format!(
        "round {}: {}{}, {} rows, {}: {}",
        sample.round,
        sample.method,
        sample
            .split
            .map_or_else(String::new, |split| format!(" by {}", split.name())),
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
        "split",
        "time",
        "CPU time",
        "speedup",
        "least … most",
        "efficiency",
        "of the peak's",
        "placement",
        "GFLOP/s",
        "of peak",
        "of roofline",
    ];
    if weak {
        header.insert(10, "weak");
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
            split_name(row.split)
                + if row.split.is_some() && row.auto {
                    " (auto)"
                } else {
                    ""
                },
            format!("{}{mark}", duration(row.seconds)),
            row.cpu_seconds.map_or_else(none, duration),
            ratio(row.speedup),
            range.map_or_else(none, |[low, high]| format!("{low:.2} … {high:.2}")),
            ratio(row.efficiency),
            ratio(row.peak_efficiency),
            row.placements.to_string(),
            format!("{:.1}", row.operations_per_second / 1e9),
            percent(row.of_peak),
            percent(row.of_roofline),
        ];
        if weak {
            cells.insert(10, ratio(row.weak_efficiency));
        }
        table.row(cells);
    }
    table
}

fn split_name(split: Option<Split>) -> String {
    split.map_or_else(none, |split| split.name().to_owned())
}

fn limits_table(divisions: &[&PlannedDivision]) -> Table {
    let mut table = Table::new([
        "method",
        "rows",
        "threads",
        "split",
        "efficiency by shared work",
        "meetings a step",
        "θ moved a step",
    ]);
    for division in divisions {
        table.row([
            division.method.clone(),
            division.batch_rows.to_string(),
            division.threads.to_string(),
            split_name(division.split),
            format!("{:.2}", division.limits.shared_work),
            division.limits.meetings.to_string(),
            format!("{:.1} KB", division.limits.moved_bytes as f64 / 1e3),
        ]);
    }
    table
}

fn predictions_table(predictions: &[ScalingPrediction]) -> Table {
    let mut table = Table::new(["method", "rows", "threads", "split", "time", "speedup"]);
    for prediction in predictions {
        table.row([
            prediction.method.clone(),
            prediction.batch_rows.to_string(),
            prediction.threads.to_string(),
            split_name(prediction.split),
            duration(prediction.seconds),
            format!("{:.2}", prediction.speedup),
        ]);
    }
    table
}

fn fits_table(fits: &[ScalingFit]) -> Table {
    let mut table = Table::new([
        "method",
        "rows",
        "split",
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
            split_name(fit.split),
            law_cell(amdahl.map(|law| &law.serial), fit.amdahl_unsupported),
            amdahl
                .and_then(|law| law.limit)
                .map_or_else(none, |limit| format!("{limit:.3}×")),
            law_cell(
                universal.map(|law| &law.contention),
                fit.universal_unsupported,
            ),
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
        None => {
            "The weights after a step are the same at every number of threads and by every split."
                .to_owned()
        }
        Some((method, rows)) => format!(
            "The weights after a step of {method} on {rows} rows depend on the number of threads or on the split: this is a defect of nplus1, please report it."
        ),
    }];
    if plan.threads.len() > 1 {
        sentences.extend(
            plan.methods
                .iter()
                .filter_map(|method| efficiency(method, summary)),
        );
    }
    sentences.extend(
        summary
            .rows
            .iter()
            .filter_map(|row| taken_split(row, summary)),
    );
    if !summary.predictions.is_empty() {
        sentences.push(
            "Predictions divide the time of one thread as the work is divided, and add the measured time of the meetings; moving data between caches is not in them. Methods whose division is not counted are not predicted.".to_owned(),
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
    let noisy = |fit: &&ScalingFit| {
        [fit.amdahl_unsupported, fit.universal_unsupported].contains(&Some(Unsupported::TooNoisy))
    };
    let noisy = summary.fits.iter().filter(noisy).count();
    if noisy > 0 {
        sentences.push(format!(
            "{noisy} of {} fits are left out: the speedups scatter too much, or are none that the law allows. Measure on an idle machine, with more --runs, or on more rows.",
            summary.fits.len()
        ));
    }
    if summary.rows.iter().any(|row| row.share < 1.0) {
        sentences.push(
            "* interrupted at the limit: the time is extrapolated from the completed evaluations."
                .to_owned(),
        );
    }
    sentences
}

/// Says which split `auto` takes for the cell of `row`, and why; `None` for other rows.
fn taken_split(row: &ScalingRow, summary: &ScalingSummary) -> Option<String> {
    let split = row.split.filter(|_| row.auto && row.threads > 1)?;
    let other = summary.rows.iter().find(|other| {
        other.split.is_some_and(|other| other != split)
            && (&other.method, other.batch_rows, other.threads)
                == (&row.method, row.batch_rows, row.threads)
    })?;
    Some(format!(
        "{} on {} with {} threads: split = \"auto\" takes {}, {} against {} by {}.",
        row.method,
        counted(row.batch_rows, "row"),
        row.threads,
        split.name(),
        duration(row.seconds),
        duration(other.seconds),
        split_name(other.split)
    ))
}

/// Puts the speedup and efficiency on the largest number of threads into words.
fn efficiency(method: &str, summary: &ScalingSummary) -> Option<String> {
    let measured = |row: &&ScalingRow| row.auto && row.method == method && row.speedup.is_some();
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

/// Formats the first coefficient of a law, or the reason why there is none.
fn law_cell(value: Option<&Coefficient>, unsupported: Option<Unsupported>) -> String {
    let reason = || unsupported.map_or_else(none, |reason| reason.text().to_owned());
    value.map_or_else(reason, coefficient)
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
