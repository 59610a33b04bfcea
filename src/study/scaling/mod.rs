//! The scaling study: how the speed of each method depends on the number of threads.
//!
//! A *cell* is a method with a mini-batch size and a number of threads. Each round takes one sample
//! of every cell (A B C A B C), so that a change of the machine's speed affects all cells. A
//! speedup is the median over the rounds of the ratio of two times of the same round. With each
//! sample the machine's peak rates are measured on the same threads ([`super::machine_peaks`]),
//! because a method may miss its ideal speedup when the clock rate drops.
//!
//! This module does not measure: samples come from a closure, for which tests substitute
//! arithmetic.

pub mod measurement;
pub mod summary;

use serde::{Deserialize, Serialize};

use super::fits::{Amdahl, SpeedupPoint, Universal};
use crate::error::Result;
use crate::numeric::statistics;
use summary::counted;

/// The parameters of a scaling study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingPlan {
    /// Labels of the methods.
    pub methods: Vec<String>,
    /// Numbers of rows of the mini-batches.
    pub batches: Vec<usize>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Number of samples of each cell.
    pub rounds: usize,
    /// Whether mini-batches proportional to the number of threads are measured as well.
    pub weak: bool,
    /// Whether each thread is pinned to a processor.
    pub pinned: bool,
    /// Seconds after which a gradient is interrupted; its time is then extrapolated from the
    /// completed evaluations.
    pub limit_seconds: f64,
}

/// A method with a mini-batch size and a number of threads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// The method's label.
    pub method: String,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    pub threads: usize,
}

impl ScalingPlan {
    /// Returns all cells without duplicates: threads vary fastest, then methods, then mini-batches.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &batch in &self.batches {
            for method in &self.methods {
                for &threads in &self.threads {
                    let factors: &[usize] = if self.weak { &[1, threads] } else { &[1] };
                    for factor in factors {
                        let cell = Cell {
                            method: method.clone(),
                            batch_rows: batch * factor,
                            threads,
                        };
                        if !cells.contains(&cell) {
                            cells.push(cell);
                        }
                    }
                }
            }
        }
        cells
    }
}

/// One sample of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingSample {
    /// The round, from 1.
    pub round: usize,
    /// The method's label.
    pub method: String,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    pub threads: usize,
    /// Wall-clock seconds of one gradient.
    pub seconds: f64,
    /// CPU seconds of all threads together for one gradient.
    pub cpu_seconds: Option<f64>,
    /// Number of gradients in the sample.
    pub gradients: usize,
    /// Completed share of the gradient: 1, or less if it was interrupted at the limit.
    pub share: f64,
    /// Multiplications and additions of one gradient.
    pub operations: u64,
    /// Bytes of θ and of the mini-batch, which a gradient reads at least once.
    pub least_bytes: u64,
    /// The machine's peak rate of multiply-adds on these threads, in operations per second.
    pub peak_operations: f64,
    /// Bytes per second that the machine reads from memory on these threads.
    pub peak_bytes: f64,
    /// Seconds of a synchronization of these threads; absent from studies of earlier versions.
    #[serde(default)]
    pub meeting_seconds: Option<f64>,
    /// SHA-256 of θ after one step; absent if that step was interrupted.
    pub weights_sha256: Option<String>,
}

impl ScalingSample {
    /// Returns whether this is a sample of `cell`.
    pub fn is_of(&self, cell: &Cell) -> bool {
        (self.method.as_str(), self.batch_rows, self.threads)
            == (cell.method.as_str(), cell.batch_rows, cell.threads)
    }
}

/// Takes the missing samples, round by round, and passes each to `keep` at once. Returns whether
/// all samples are present; they are not if `take` returned `None`, which ends the study.
///
/// # Errors
/// Returns the first error of `take` or `keep`; samples passed to `keep` before remain valid.
pub fn take_in_turns(
    plan: &ScalingPlan,
    recorded: &[ScalingSample],
    mut take: impl FnMut(&Cell, usize) -> Result<Option<ScalingSample>>,
    mut keep: impl FnMut(ScalingSample) -> Result<()>,
) -> Result<bool> {
    let cells = plan.cells();
    for round in 1..=plan.rounds {
        for cell in &cells {
            let has = |sample: &ScalingSample| sample.round == round && sample.is_of(cell);
            if recorded.iter().any(has) {
                continue;
            }
            match take(cell, round)? {
                Some(sample) => keep(sample)?,
                None => return Ok(false),
            }
        }
    }
    Ok(true)
}

/// The summary of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingRow {
    /// The method's label.
    pub method: String,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    pub threads: usize,
    /// Median seconds of a gradient.
    pub seconds: f64,
    /// Seconds of a gradient in each round.
    pub samples: Vec<f64>,
    /// Median CPU seconds of all threads together.
    pub cpu_seconds: Option<f64>,
    /// Smallest completed share of a gradient in any sample.
    pub share: f64,
    /// The time on 1 thread divided by this time: the median over the rounds; absent if 1 thread
    /// was not measured.
    pub speedup: Option<f64>,
    /// The smallest and the largest speedup of any round.
    pub speedup_range: Option<[f64; 2]>,
    /// The speedup divided by the number of threads.
    pub efficiency: Option<f64>,
    /// The efficiency of pure multiply-adds, the limit set by the hardware.
    pub peak_efficiency: Option<f64>,
    /// The time of 1 thread on 1/`threads` of the rows divided by this time; 1 means that threads
    /// cost nothing.
    pub weak_efficiency: Option<f64>,
    /// Multiplications and additions per second.
    pub operations_per_second: f64,
    /// That rate divided by the machine's peak rate on these threads.
    pub of_peak: f64,
    /// The shortest time that the machine's rates allow (every operation at the peak rate, every
    /// byte read once) divided by this time.
    pub of_roofline: f64,
    /// SHA-256 of θ after one step.
    pub weights_sha256: Option<String>,
}

/// The time to synchronize a number of threads: the cost of a superstep beside its work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SynchronizationTime {
    /// Number of threads.
    pub threads: usize,
    /// Median seconds of all samples.
    pub seconds: f64,
    /// The 10 % and the 90 % quantile of the samples.
    pub range: [f64; 2],
}

impl SynchronizationTime {
    fn of(threads: usize, samples: &[ScalingSample]) -> Option<Self> {
        let same = samples.iter().filter(|sample| sample.threads == threads);
        let seconds: Vec<f64> = same.filter_map(|sample| sample.meeting_seconds).collect();
        let at = |quantile| statistics::quantile(&seconds, quantile);
        Some(Self {
            threads,
            seconds: at(0.5)?,
            range: [at(0.1)?, at(0.9)?],
        })
    }
}

/// The laws fitted to the speedups of a method on a mini-batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingFit {
    /// The method's label.
    pub method: String,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Amdahl's law.
    pub amdahl: Option<Amdahl>,
    /// The universal scalability law.
    pub universal: Option<Universal>,
    /// The fastest of the measured numbers of threads.
    pub fastest_threads: usize,
}

/// The summary of a scaling study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingSummary {
    /// The cells that have samples.
    pub rows: Vec<ScalingRow>,
    /// A fit for each method and mini-batch.
    pub fits: Vec<ScalingFit>,
    /// Synchronization times for each number of threads above 1.
    #[serde(default)]
    pub meetings: Vec<SynchronizationTime>,
}

impl ScalingSummary {
    /// Summarizes the samples taken so far.
    pub fn of(plan: &ScalingPlan, samples: &[ScalingSample]) -> Self {
        let cells = plan.cells();
        let rows: Vec<ScalingRow> = (cells.iter())
            .filter_map(|cell| row(cell, samples))
            .collect();
        let mut fits = Vec::new();
        for cell in cells {
            let known =
                |fit: &ScalingFit| (&fit.method, fit.batch_rows) == (&cell.method, cell.batch_rows);
            if !fits.iter().any(known) {
                fits.extend(fit(&cell.method, cell.batch_rows, samples, &rows));
            }
        }
        let several = plan.threads.iter().filter(|&&threads| threads > 1);
        let meetings = several.filter_map(|&threads| SynchronizationTime::of(threads, samples));
        Self {
            rows,
            fits,
            meetings: meetings.collect(),
        }
    }

    /// Returns the smallest measured mini-batch from which on, for it and all larger ones, two
    /// threads are faster than one, and whether that includes every measured mini-batch.
    pub fn second_thread_pays_from(&self, method: &str) -> Option<(usize, bool)> {
        let mut pairs: Vec<(usize, f64)> = (self.rows.iter())
            .filter(|row| row.method == method && row.threads == 2)
            .filter_map(|row| Some((row.batch_rows, row.speedup?)))
            .collect();
        pairs.sort_by_key(|&(rows, _)| rows);
        let paying = pairs.iter().rev().take_while(|(_, speedup)| *speedup > 1.0);
        let count = paying.count();
        let first = pairs.len().checked_sub(count)?;
        pairs.get(first).map(|&(rows, _)| (rows, first == 0))
    }

    /// Returns a method and mini-batch whose θ depends on the number of threads; there is none
    /// unless the engines have a defect.
    pub fn differing_weights(&self) -> Option<(&str, usize)> {
        let differs = |row: &&ScalingRow| {
            let same_work = |other: &&ScalingRow| {
                (&other.method, other.batch_rows) == (&row.method, row.batch_rows)
            };
            let mut others = self.rows.iter().filter(same_work);
            others.any(|other| {
                let both = other
                    .weights_sha256
                    .as_ref()
                    .zip(row.weights_sha256.as_ref());
                both.is_some_and(|(other, this)| other != this)
            })
        };
        let found = self.rows.iter().find(differs)?;
        Some((&found.method, found.batch_rows))
    }
}

/// Summarizes the samples of one cell; returns `None` if there are none.
fn row(cell: &Cell, samples: &[ScalingSample]) -> Option<ScalingRow> {
    let cell_samples: Vec<&ScalingSample> =
        samples.iter().filter(|sample| sample.is_of(cell)).collect();
    let median = |of: fn(&ScalingSample) -> f64| {
        let values: Vec<f64> = cell_samples.iter().map(|sample| of(sample)).collect();
        statistics::median(&values)
    };
    let seconds = median(|sample| sample.seconds)?;
    let first = cell_samples.first()?;
    let peak_operations = median(|sample| sample.peak_operations)?;
    let peak_bytes = median(|sample| sample.peak_bytes)?;
    let one = |batch_rows| Cell {
        method: cell.method.clone(),
        batch_rows,
        threads: 1,
    };
    let ratios = |base: &Cell, of: fn(&ScalingSample) -> f64| -> Vec<f64> {
        cell_samples
            .iter()
            .filter_map(|sample| {
                let same =
                    |other: &&ScalingSample| other.round == sample.round && other.is_of(base);
                samples
                    .iter()
                    .find(same)
                    .map(|other| of(other) / of(sample))
            })
            .collect()
    };
    let threads = cell.threads as f64;
    let speedups = ratios(&one(cell.batch_rows), |sample| sample.seconds);
    let speedup = statistics::median(&speedups);
    let slowdowns = ratios(&one(cell.batch_rows), |sample| sample.peak_operations);
    let weak = (cell.batch_rows.is_multiple_of(cell.threads)).then(|| {
        ratios(&one(cell.batch_rows / cell.threads), |sample| {
            sample.seconds
        })
    });
    let cpu: Vec<f64> = cell_samples
        .iter()
        .filter_map(|sample| sample.cpu_seconds)
        .collect();
    let operations = first.operations as f64;
    let roofline = (operations / peak_operations).max(first.least_bytes as f64 / peak_bytes);
    Some(ScalingRow {
        method: cell.method.clone(),
        batch_rows: cell.batch_rows,
        threads: cell.threads,
        seconds,
        samples: cell_samples.iter().map(|sample| sample.seconds).collect(),
        cpu_seconds: statistics::median(&cpu),
        share: cell_samples
            .iter()
            .map(|sample| sample.share)
            .fold(1.0, f64::min),
        speedup,
        speedup_range: speedup.map(|_| range(&speedups)),
        efficiency: speedup.map(|speedup| speedup / threads),
        peak_efficiency: statistics::median(&slowdowns).map(|slowdown| 1.0 / slowdown / threads),
        weak_efficiency: weak.and_then(|ratios| statistics::median(&ratios)),
        operations_per_second: operations / seconds,
        of_peak: operations / seconds / peak_operations,
        of_roofline: roofline / seconds,
        weights_sha256: cell_samples
            .iter()
            .find_map(|sample| sample.weights_sha256.clone()),
    })
}

fn range(values: &[f64]) -> [f64; 2] {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [least, largest]
}

/// Fits both laws to the speedups of all rounds rather than to their medians, because the
/// confidence intervals need the spread.
fn fit(
    method: &str,
    batch_rows: usize,
    samples: &[ScalingSample],
    rows: &[ScalingRow],
) -> Option<ScalingFit> {
    let belongs =
        |sample: &&ScalingSample| sample.method == method && sample.batch_rows == batch_rows;
    let group: Vec<&ScalingSample> = samples.iter().filter(belongs).collect();
    let points: Vec<SpeedupPoint> = (group.iter())
        .filter_map(|sample| {
            let base = group
                .iter()
                .find(|other| other.threads == 1 && other.round == sample.round)?;
            Some(SpeedupPoint {
                workers: sample.threads as f64,
                speedup: base.seconds / sample.seconds,
            })
        })
        .collect();
    let fastest = (rows.iter())
        .filter(|row| row.method == method && row.batch_rows == batch_rows)
        .min_by(|one, other| one.seconds.total_cmp(&other.seconds))?;
    Some(ScalingFit {
        method: method.to_owned(),
        batch_rows,
        amdahl: Amdahl::fit(&points),
        universal: Universal::fit(&points),
        fastest_threads: fastest.threads,
    })
}

/// Returns warnings about conditions that make the results doubtful.
///
/// `others` is the processor time that other processes used meanwhile, in processors, if the system
/// reports it; `[cores, processors]` are the numbers of physical cores and logical processors that
/// the process may use.
pub fn warnings(
    plan: &ScalingPlan,
    samples: &[ScalingSample],
    others: Option<f64>,
    [cores, processors]: [usize; 2],
) -> Vec<String> {
    /// Share of a processor below which other processes do not matter.
    const QUIET: f64 = 0.05;
    /// Relative change of the clock rate that does not matter.
    const STEADY: f64 = 0.05;
    /// Ratio of the slowest to the fastest synchronization: smaller between neighbors, three to
    /// five when threads move apart.
    const MAX_RATIO: f64 = 2.0;
    let mut warnings = Vec::new();
    if let Some(others) = others.filter(|&others| others > QUIET) {
        warnings.push(format!(
            "other processes used {others:.2} processors during the study: expect noise, and speedups that are too low"
        ));
    }
    let between = |most: usize, above: usize| -> Vec<String> {
        let counts = plan.threads.iter().copied();
        let within = counts.filter(|&threads| threads > above && threads <= most);
        within.map(|threads| threads.to_string()).collect()
    };
    let sharing = between(processors, cores);
    if !sharing.is_empty() {
        warnings.push(format!(
            "more threads than {} to use: {}; they share cores",
            counted(cores, "physical core"),
            sharing.join(", ")
        ));
    }
    let above = between(usize::MAX, processors);
    if !above.is_empty() {
        warnings.push(format!(
            "more threads than {} to use: {}; the work is partitioned for that number, but only one thread per processor runs, and computes several parts in turn",
            counted(processors, "logical processor"),
            above.join(", ")
        ));
    }
    let fewest = plan.threads.iter().min().copied().unwrap_or(1);
    let peaks: Vec<f64> = (samples.iter())
        .filter(|sample| sample.threads == fewest)
        .map(|sample| sample.peak_operations)
        .collect();
    let at = |quantile| statistics::quantile(&peaks, quantile);
    if let (Some(low), Some(high)) = (at(0.1), at(0.9))
        && low < (1.0 - STEADY) * high
    {
        warnings.push(format!(
            "the clock changed, or {fewest} {} did not stay on a core: the peak rate varied from {:.1} to {:.1} GFLOP/s between samples",
            if fewest == 1 { "thread" } else { "threads" },
            low / 1e9,
            high / 1e9
        ));
    }
    let within = plan
        .threads
        .iter()
        .filter(|&&threads| threads > 1 && threads <= processors);
    for meeting in within.filter_map(|&threads| SynchronizationTime::of(threads, samples)) {
        let [low, high] = meeting.range;
        if high > MAX_RATIO * low {
            warnings.push(format!(
                "synchronizing {} threads took {:.0} to {:.0} ns, depending on the sample: their processors did not always share a cache, or another process occupied one",
                meeting.threads,
                low * 1e9,
                high * 1e9
            ));
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> ScalingPlan {
        ScalingPlan {
            methods: vec!["backprop".to_owned(), "forward-difference/full".to_owned()],
            batches: vec![10, 40],
            threads: vec![1, 2, 4],
            rounds: 5,
            weak: false,
            pinned: false,
            limit_seconds: 1.0,
        }
    }

    /// Simulates a machine whose gradient of B rows takes B·(1 + α(p − 1) + β·p(p − 1))/p, plus
    /// `join` seconds with more than one thread, all multiplied by the number of the round.
    fn synthetic(cell: &Cell, round: usize, join: f64) -> ScalingSample {
        let (alpha, beta) = if cell.method == "backprop" {
            (0.1, 0.01)
        } else {
            (0.0, 0.0)
        };
        let p = cell.threads as f64;
        let lost = alpha * (p - 1.0) + beta * p * (p - 1.0);
        let joined = if cell.threads > 1 { join } else { 0.0 };
        let seconds = (cell.batch_rows as f64 * (1.0 + lost) / p + joined) * round as f64;
        ScalingSample {
            round,
            method: cell.method.clone(),
            batch_rows: cell.batch_rows,
            threads: cell.threads,
            seconds,
            cpu_seconds: Some(seconds * p),
            gradients: 1,
            share: 1.0,
            operations: 1000 * cell.batch_rows as u64,
            least_bytes: 1,
            peak_operations: 2000.0 * p / round as f64,
            peak_bytes: 1e9,
            meeting_seconds: Some(if round == 4 { 350e-9 } else { 90e-9 }),
            weights_sha256: Some(format!("{}-{}", cell.method, cell.batch_rows)),
        }
    }

    fn taken(plan: &ScalingPlan, join: f64) -> Vec<ScalingSample> {
        let mut samples = Vec::new();
        take_in_turns(
            plan,
            &[],
            |cell, round| Ok(Some(synthetic(cell, round, join))),
            |sample| {
                samples.push(sample);
                Ok(())
            },
        )
        .unwrap();
        samples
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }

    #[test]
    fn every_round_goes_through_all_cells_and_resumes_where_it_ended() {
        let plan = plan();
        let cells = plan.cells();
        assert_eq!(cells.len(), 12);
        let all = taken(&plan, 0.0);
        for (index, sample) in all.iter().enumerate() {
            assert_eq!(sample.round, index / 12 + 1);
            assert!(sample.is_of(&cells[index % 12]));
        }
        let mut rest = 0;
        let mut keep = |_| {
            rest += 1;
            Ok(())
        };
        let take = |cell: &Cell, round| Ok(Some(synthetic(cell, round, 0.0)));
        assert!(take_in_turns(&plan, &all[..17], take, &mut keep).unwrap());
        assert_eq!(rest, all.len() - 17);
        let interrupted = |_: &Cell, _| Ok(None);
        assert!(!take_in_turns(&plan, &all[..17], interrupted, |_| Ok(())).unwrap());
    }

    #[test]
    fn speedups_compare_the_same_round_and_ignore_the_machine_s_drift() {
        let plan = plan();
        let summary = ScalingSummary::of(&plan, &taken(&plan, 0.0));
        for row in &summary.rows {
            let p = row.threads as f64;
            let lost = if row.method == "backprop" {
                0.1 * (p - 1.0) + 0.01 * p * (p - 1.0)
            } else {
                0.0
            };
            let expected = p / (1.0 + lost);
            close(row.speedup.unwrap(), expected);
            close(row.efficiency.unwrap(), expected / p);
            let [low, high] = row.speedup_range.unwrap();
            close(low, expected);
            close(high, expected);
            close(row.peak_efficiency.unwrap(), 1.0);
            // The median round is the third: 3 times as slow as the first.
            close(row.seconds, 3.0 * row.batch_rows as f64 / expected);
            close(row.of_peak, row.of_roofline);
            close(row.of_peak, 1000.0 / (3.0 / expected) / (2000.0 * p / 3.0));
        }
        assert_eq!(summary.differing_weights(), None);
    }

    /// A machine without any law: least, median and largest of every figure differ, and the median of
    /// the rounds' ratios is not the ratio of the medians.
    #[test]
    fn every_figure_is_a_median_over_uneven_rounds() {
        let mut plan = plan();
        plan.methods.truncate(1);
        (plan.batches, plan.threads) = (vec![10], vec![1, 2]);
        plan.weak = true;
        // By round: seconds with 1 thread, with 2, and with 2 on twice the rows.
        const ONE: [f64; 5] = [4.0, 9.0, 7.5, 10.0, 5.0];
        const TWO: [f64; 5] = [2.0, 9.0, 3.0, 2.5, 4.0];
        const WEAK: [f64; 5] = [5.0, 9.0, 12.0, 5.0, 10.0];
        const CPU: [f64; 5] = [3.0, 9.0, 1.0, 2.0, 8.0];
        const PEAK: [f64; 5] = [1200.0, 2000.0, 1600.0, 1000.0, 1900.0];
        const MEETING: [f64; 5] = [7e-7, 1e-7, 9e-7, 3e-7, 2e-7];
        let mut samples = taken(&plan, 0.0);
        for sample in &mut samples {
            let round = sample.round - 1;
            sample.peak_operations = 1000.0;
            sample.seconds = match (sample.threads, sample.batch_rows) {
                (1, _) => ONE[round],
                (_, 10) => TWO[round],
                _ => WEAK[round],
            };
            if sample.threads == 2 {
                sample.cpu_seconds = Some(CPU[round]);
                sample.peak_operations = PEAK[round];
                sample.meeting_seconds = Some(MEETING[round]);
            }
        }
        let summary = ScalingSummary::of(&plan, &samples);
        let of = |batch_rows, threads| {
            let mut rows = summary.rows.iter();
            let own = |row: &&ScalingRow| (row.batch_rows, row.threads) == (batch_rows, threads);
            rows.find(own).unwrap()
        };
        let row = of(10, 2);
        close(row.seconds, 3.0);
        // 2, 1, 2.5, 4 and 1.25.
        close(row.speedup.unwrap(), 2.0);
        assert_eq!(row.speedup_range, Some([1.0, 4.0]));
        close(row.efficiency.unwrap(), 1.0);
        close(row.cpu_seconds.unwrap(), 3.0);
        close(row.peak_efficiency.unwrap(), 1.6 / 2.0);
        close(row.operations_per_second, 10_000.0 / 3.0);
        close(row.of_peak, 10_000.0 / 3.0 / 1600.0);
        close(row.of_roofline, 10_000.0 / 3.0 / 1600.0);
        // .8, 1, .625, 2 and .5.
        close(of(20, 2).weak_efficiency.unwrap(), 0.8);
        close(of(10, 1).seconds, 7.5);
        close(summary.meetings[0].seconds, 3e-7);
        assert_eq!(summary.fits[0].fastest_threads, 2);
    }

    #[test]
    fn fits_recover_the_machine_s_laws() {
        let plan = plan();
        let summary = ScalingSummary::of(&plan, &taken(&plan, 0.0));
        let fit = &summary.fits[0];
        assert_eq!((fit.method.as_str(), fit.fastest_threads), ("backprop", 4));
        let universal = fit.universal.unwrap();
        close(universal.contention.value, 0.1);
        close(universal.coherence.value, 0.01);
        close(universal.best_workers.unwrap(), (0.9f64 / 0.01).sqrt());
        close(summary.fits[1].amdahl.unwrap().serial.value, 0.0);
        assert_eq!(summary.fits.len(), 4);
    }

    #[test]
    fn the_second_thread_pays_once_the_join_costs_less_than_half_the_work() {
        let mut plan = plan();
        plan.batches = vec![10, 20, 40, 80];
        let summary = ScalingSummary::of(&plan, &taken(&plan, 9.0));
        let pays = |method| summary.second_thread_pays_from(method);
        // Differences: B > B/2 + 9 from 18 rows on. Backprop: B > .56·B + 9 from 20.5 on.
        assert_eq!(pays("forward-difference/full"), Some((20, false)));
        assert_eq!(pays("backprop"), Some((40, false)));
        let summary = ScalingSummary::of(&plan, &taken(&plan, 1.0));
        assert_eq!(
            summary.second_thread_pays_from("backprop"),
            Some((10, true))
        );
        let summary = ScalingSummary::of(&plan, &taken(&plan, 90.0));
        assert_eq!(summary.second_thread_pays_from("backprop"), None);
    }

    #[test]
    fn weak_scaling_compares_equal_rows_per_thread() {
        let mut plan = plan();
        plan.weak = true;
        plan.batches = vec![10];
        assert_eq!(plan.cells().len(), 2 * 5);
        let summary = ScalingSummary::of(&plan, &taken(&plan, 0.0));
        let of = |method: &str, batch_rows, threads| {
            let found = summary.rows.iter().find(|row| {
                (row.method.as_str(), row.batch_rows, row.threads) == (method, batch_rows, threads)
            });
            found.unwrap().weak_efficiency
        };
        close(of("forward-difference/full", 40, 4).unwrap(), 1.0);
        close(of("backprop", 20, 2).unwrap(), 1.0 / (1.0 + 0.1 + 0.02));
        assert_eq!(of("backprop", 10, 4), None);
    }

    #[test]
    fn weights_that_depend_on_the_threads_are_found() {
        let plan = plan();
        let mut samples = taken(&plan, 0.0);
        for sample in &mut samples {
            if sample.threads == 4 && sample.batch_rows == 40 && sample.method == "backprop" {
                sample.weights_sha256 = Some("another".to_owned());
            }
        }
        let summary = ScalingSummary::of(&plan, &samples);
        assert_eq!(summary.differing_weights(), Some(("backprop", 40)));
    }

    #[test]
    fn warnings_report_load_shared_cores_and_a_changing_clock() {
        let plan = plan();
        let samples = taken(&plan, 0.0);
        let all = warnings(&plan, &samples, Some(0.8), [1, 2]);
        assert_eq!(all.len(), 5, "{all:?}");
        assert!(all[0].contains("0.80 processors"));
        assert!(all[1].contains("than 1 physical core to use: 2;"));
        assert!(all[2].contains("than 2 logical processors to use: 4;"));
        assert!(all[3].contains("clock changed"));
        assert!(all[4].contains("synchronizing 2 threads took 90 to 350 ns"));
        let meetings = ScalingSummary::of(&plan, &samples).meetings;
        assert_eq!((meetings[1].threads, meetings[1].seconds), (4, 90e-9));
        let steady: Vec<ScalingSample> = samples
            .into_iter()
            .filter(|sample| sample.round == 1)
            .collect();
        assert!(warnings(&plan, &steady, Some(0.01), [4, 8]).is_empty());
    }
}
