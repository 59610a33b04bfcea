//! How the methods use threads: samples taken in turns, and what they say.
//!
//! A *cell* is a method on a mini-batch of some rows with some threads. Rounds go through all cells,
//! one sample each (A B C A B C), so that a machine that slows down slows all of them down, and a
//! speedup is the median over the rounds of two times of the same round. Beside each sample the
//! machine's own rates are measured on the same threads ([`super::machine_peaks`]): a method can fall behind
//! its ideal because the clock does.
//!
//! Nothing here measures: samples come from a closure, which tests replace by arithmetic.

pub mod measurement;
pub mod summary;

use serde::{Deserialize, Serialize};

use super::fits::{Amdahl, SpeedupPoint, Universal};
use crate::error::Result;
use crate::numeric::statistics;
use summary::counted;

/// What is asked of a study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingPlan {
    /// Labels of the methods.
    pub methods: Vec<String>,
    /// Rows of the mini-batches.
    pub batches: Vec<usize>,
    /// Numbers of threads.
    pub threads: Vec<usize>,
    /// Samples of each cell.
    pub rounds: usize,
    /// Whether mini-batches that grow with the threads are measured, too.
    pub weak: bool,
    /// Whether threads are kept on a processor each.
    pub pinned: bool,
    /// A gradient that takes longer is broken off, and the rest told from the share that was made.
    pub limit_seconds: f64,
}

/// A method on a mini-batch with some threads.
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
    /// All cells, each once: threads change fastest, then methods, then mini-batches.
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
    /// Seconds of one gradient, on the wall's clock.
    pub seconds: f64,
    /// Seconds that all threads together were on a processor for it.
    pub cpu_seconds: Option<f64>,
    /// Gradients that were timed as one.
    pub gradients: usize,
    /// The share of the gradient that was made: 1, or less where it was broken off.
    pub share: f64,
    /// Multiplications and additions of one gradient.
    pub operations: u64,
    /// Bytes of θ and of the mini-batch, which a gradient reads once at least.
    pub least_bytes: u64,
    /// The machine's multiply-adds on these threads, as operations a second.
    pub peak_operations: f64,
    /// Bytes that it reads from memory a second.
    pub peak_bytes: f64,
    /// Seconds that these threads take to meet; absent from studies of earlier versions.
    #[serde(default)]
    pub meeting_seconds: Option<f64>,
    /// SHA-256 of θ after one step; absent where that step was broken off.
    pub weights_sha256: Option<String>,
}

impl ScalingSample {
    /// Whether it was taken of `cell`.
    pub fn is_of(&self, cell: &Cell) -> bool {
        (self.method.as_str(), self.batch_rows, self.threads)
            == (cell.method.as_str(), cell.batch_rows, cell.threads)
    }
}

/// Takes the samples that are missing, round by round, and hands each on as soon as it is there.
/// Returns whether all are there: `take` may end it by taking none.
///
/// # Errors
/// Whatever `take` or `keep` refuses, at once: what was handed on is kept.
pub fn take_in_turns(
    plan: &ScalingPlan,
    there: &[ScalingSample],
    mut take: impl FnMut(&Cell, usize) -> Result<Option<ScalingSample>>,
    mut keep: impl FnMut(ScalingSample) -> Result<()>,
) -> Result<bool> {
    let cells = plan.cells();
    for round in 1..=plan.rounds {
        for cell in &cells {
            let has = |sample: &ScalingSample| sample.round == round && sample.is_of(cell);
            if there.iter().any(has) {
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

/// A cell, summed up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingRow {
    /// The method's label.
    pub method: String,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    pub threads: usize,
    /// Seconds of a gradient: the median.
    pub seconds: f64,
    /// Every one, by round.
    pub samples: Vec<f64>,
    /// Seconds that all threads together were on a processor: the median.
    pub cpu_seconds: Option<f64>,
    /// The least share of a gradient that was made in a sample.
    pub share: f64,
    /// The time on 1 thread over this: the median over the rounds; absent without 1 thread.
    pub speedup: Option<f64>,
    /// The least and the largest of the rounds' speedups.
    pub speedup_range: Option<[f64; 2]>,
    /// The speedup over the number of threads.
    pub efficiency: Option<f64>,
    /// The same, of the machine's multiply-adds: what the hardware lets anyone reach.
    pub peak_efficiency: Option<f64>,
    /// With a mini-batch of `threads` times as many rows as one on 1 thread: that one's time over
    /// this, which is 1 where threads cost nothing.
    pub weak_efficiency: Option<f64>,
    /// Multiplications and additions a second.
    pub operations_per_second: f64,
    /// The same over the machine's multiply-adds on these threads.
    pub of_peak: f64,
    /// The time of a gradient that the machine's rates allow (each operation at its peak, each byte
    /// read once) over this.
    pub of_roofline: f64,
    /// SHA-256 of θ after one step.
    pub weights_sha256: Option<String>,
}

/// How soon so many threads meet: what a superstep costs beside its work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SynchronizationTime {
    /// Number of threads.
    pub threads: usize,
    /// Seconds: the median of all samples.
    pub seconds: f64,
    /// The lowest and the highest tenth of them.
    pub range: [f64; 2],
}

impl SynchronizationTime {
    fn of(threads: usize, samples: &[ScalingSample]) -> Option<Self> {
        let own = samples.iter().filter(|sample| sample.threads == threads);
        let seconds: Vec<f64> = own.filter_map(|sample| sample.meeting_seconds).collect();
        let at = |quantile| statistics::quantile(&seconds, quantile);
        Some(Self {
            threads,
            seconds: at(0.5)?,
            range: [at(0.1)?, at(0.9)?],
        })
    }
}

/// What fits to the speedups of a method on a mini-batch.
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
    /// Of the numbers of threads that were measured, the fastest.
    pub fastest_threads: usize,
}

/// Everything that the samples say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingSummary {
    /// The cells that have samples.
    pub rows: Vec<ScalingRow>,
    /// A fit for each method and mini-batch.
    pub fits: Vec<ScalingFit>,
    /// Meetings of each number of threads beyond 1.
    #[serde(default)]
    pub meetings: Vec<SynchronizationTime>,
}

impl ScalingSummary {
    /// Sums up what there is.
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

    /// The fewest rows from which two threads are faster than one, of those mini-batches that were
    /// measured: of all larger ones, too. The second value says whether that is all of them.
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

    /// The method and mini-batch whose θ depends on the number of threads, if there is one: never.
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
                both.is_some_and(|(other, own)| other != own)
            })
        };
        let found = self.rows.iter().find(differs)?;
        Some((&found.method, found.batch_rows))
    }
}

fn row(cell: &Cell, samples: &[ScalingSample]) -> Option<ScalingRow> {
    let own: Vec<&ScalingSample> = samples.iter().filter(|sample| sample.is_of(cell)).collect();
    let median = |of: fn(&ScalingSample) -> f64| {
        let values: Vec<f64> = own.iter().map(|sample| of(sample)).collect();
        statistics::median(&values)
    };
    let seconds = median(|sample| sample.seconds)?;
    let first = own.first()?;
    let peak_operations = median(|sample| sample.peak_operations)?;
    let peak_bytes = median(|sample| sample.peak_bytes)?;
    let one = |batch_rows| Cell {
        method: cell.method.clone(),
        batch_rows,
        threads: 1,
    };
    let ratios = |base: &Cell, of: fn(&ScalingSample) -> f64| -> Vec<f64> {
        own.iter()
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
    let cpu: Vec<f64> = own.iter().filter_map(|sample| sample.cpu_seconds).collect();
    let operations = first.operations as f64;
    let roofline = (operations / peak_operations).max(first.least_bytes as f64 / peak_bytes);
    Some(ScalingRow {
        method: cell.method.clone(),
        batch_rows: cell.batch_rows,
        threads: cell.threads,
        seconds,
        samples: own.iter().map(|sample| sample.seconds).collect(),
        cpu_seconds: statistics::median(&cpu),
        share: own.iter().map(|sample| sample.share).fold(1.0, f64::min),
        speedup,
        speedup_range: speedup.map(|_| range(&speedups)),
        efficiency: speedup.map(|speedup| speedup / threads),
        peak_efficiency: statistics::median(&slowdowns).map(|slowdown| 1.0 / slowdown / threads),
        weak_efficiency: weak.and_then(|ratios| statistics::median(&ratios)),
        operations_per_second: operations / seconds,
        of_peak: operations / seconds / peak_operations,
        of_roofline: roofline / seconds,
        weights_sha256: own.iter().find_map(|sample| sample.weights_sha256.clone()),
    })
}

fn range(values: &[f64]) -> [f64; 2] {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    [least, largest]
}

/// Both laws through every round's speedups, not through their medians: the intervals need the
/// spread.
fn fit(
    method: &str,
    batch_rows: usize,
    samples: &[ScalingSample],
    rows: &[ScalingRow],
) -> Option<ScalingFit> {
    let own = |sample: &&ScalingSample| sample.method == method && sample.batch_rows == batch_rows;
    let own: Vec<&ScalingSample> = samples.iter().filter(own).collect();
    let points: Vec<SpeedupPoint> = (own.iter())
        .filter_map(|sample| {
            let base = own
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

/// What makes the figures doubtful, in words.
///
/// `others` is how many processors' time other processes took meanwhile, where the system tells;
/// `[cores, processors]` is how many physical cores and logical processors the process may use.
pub fn warnings(
    plan: &ScalingPlan,
    samples: &[ScalingSample],
    others: Option<f64>,
    [cores, processors]: [usize; 2],
) -> Vec<String> {
    /// A processor's share below which other processes do not matter.
    const QUIET: f64 = 0.05;
    /// Relative change of the clock that no figure here notices.
    const STEADY: f64 = 0.05;
    /// Slowest meetings over fastest ones: between neighbors they differ by less, and by three to five
    /// where threads move apart.
    const APART: f64 = 2.0;
    let mut warnings = Vec::new();
    if let Some(others) = others.filter(|&others| others > QUIET) {
        warnings.push(format!(
            "other processes took the time of {others:.2} processors meanwhile: expect noise, and speedups that are too low"
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
            "more threads than {} to use: {}; the work is cut for so many, and done by one thread a processor, several shares in turn",
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
            "the clock changed, or {fewest} {} did not stay on a core: {:.1} to {:.1} GFLOP/s at best from sample to sample",
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
        if high > APART * low {
            warnings.push(format!(
                "{} threads met in {:.0} to {:.0} ns from sample to sample: the processors that they ran on did not always share a cache, or another process held one",
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

    /// A machine whose gradient of B rows takes B·(1 + α(p − 1) + β·p(p − 1))/p plus a join of
    /// `join` seconds with more than one thread, and which is `round` times as slow in every round.
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
    fn speedups_are_of_the_same_round_whatever_the_machine_does_meanwhile() {
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
    fn weak_scaling_compares_as_many_rows_a_thread() {
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
    fn load_shared_cores_and_a_changing_clock_are_warned_of() {
        let plan = plan();
        let samples = taken(&plan, 0.0);
        let all = warnings(&plan, &samples, Some(0.8), [1, 2]);
        assert_eq!(all.len(), 5, "{all:?}");
        assert!(all[0].contains("0.80 processors"));
        assert!(all[1].contains("than 1 physical core to use: 2;"));
        assert!(all[2].contains("than 2 logical processors to use: 4;"));
        assert!(all[3].contains("clock changed"));
        assert!(all[4].contains("2 threads met in 90 to 350 ns"));
        let meetings = ScalingSummary::of(&plan, &samples).meetings;
        assert_eq!((meetings[1].threads, meetings[1].seconds), (4, 90e-9));
        let steady: Vec<ScalingSample> = samples
            .into_iter()
            .filter(|sample| sample.round == 1)
            .collect();
        assert!(warnings(&plan, &steady, Some(0.01), [4, 8]).is_empty());
    }
}
