//! The summary of a scaling study: one row per cell, fitted laws, and predictions.

use serde::{Deserialize, Serialize};

use super::placement::{Placement, Placements};
use super::plan::{Cell, PlannedDivision, ScalingPlan, ScalingSample, splits};
use crate::gradient::backprop::limits::DivisionLimits;
use crate::numeric::statistics;
use crate::parallel::Split;
use crate::study::fits::{Amdahl, SpeedupPoint, Universal, Unsupported};

/// The summary of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingRow {
    /// The method's label.
    pub method: String,
    /// What the threads divide; `None` for methods with one partition of their own.
    pub split: Option<Split>,
    /// Whether `run.split = "auto"` takes this split with so many threads: it is the fastest.
    pub auto: bool,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    pub threads: usize,
    /// Where the threads of the samples ran.
    pub placements: Placements,
    /// Median seconds of a gradient.
    pub seconds: f64,
    /// Seconds of a gradient in each round.
    pub samples: Vec<f64>,
    /// Median CPU seconds of all threads together.
    pub cpu_seconds: Option<f64>,
    /// Smallest completed share of a gradient in any sample.
    pub share: f64,
    /// The time of the fastest split on 1 thread divided by this time: the median over the rounds;
    /// absent if 1 thread was not measured.
    pub speedup: Option<f64>,
    /// The smallest and the largest speedup of any round.
    pub speedup_range: Option<[f64; 2]>,
    /// The speedup divided by the number of threads.
    pub efficiency: Option<f64>,
    /// The efficiency of the samples whose two threads ran on cores that share a cache, and of
    /// those whose cores share none.
    pub efficiency_near: Option<f64>,
    /// See `efficiency_near`.
    pub efficiency_far: Option<f64>,
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
    pub(super) fn of(threads: usize, samples: &[ScalingSample]) -> Option<Self> {
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
    /// What the threads divide; `None` for methods with one partition of their own.
    pub split: Option<Split>,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Amdahl's law, if the samples hold it.
    pub amdahl: Option<Amdahl>,
    /// The reason why they do not.
    pub amdahl_unsupported: Option<Unsupported>,
    /// The universal scalability law, if the samples hold it.
    pub universal: Option<Universal>,
    /// The reason why they do not.
    pub universal_unsupported: Option<Unsupported>,
    /// The fastest of the measured numbers of threads.
    pub fastest_threads: usize,
}

/// The predicted time of a gradient on more threads than there are processors: the time of one
/// thread divided as the counted work is, and the meetings. No cost of moving data is in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingPrediction {
    /// The method's label.
    pub method: String,
    /// What the threads divide; `None` for methods with one partition of their own.
    pub split: Option<Split>,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    pub threads: usize,
    /// Predicted seconds of a gradient.
    pub seconds: f64,
    /// The measured time of the fastest split on 1 thread divided by this time.
    pub speedup: f64,
}

/// The summary of a scaling study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingSummary {
    /// The cells that have samples.
    pub rows: Vec<ScalingRow>,
    /// A fit for each method, split and mini-batch.
    pub fits: Vec<ScalingFit>,
    /// Times for numbers of threads above the processors.
    pub predictions: Vec<ScalingPrediction>,
    /// Synchronization times for each number of threads above 1.
    #[serde(default)]
    pub meetings: Vec<SynchronizationTime>,
}

impl ScalingSummary {
    /// Summarizes the samples taken so far.
    pub fn of(plan: &ScalingPlan, samples: &[ScalingSample]) -> Self {
        let cells = plan.cells();
        let samples = &without_shared_cores(samples);
        let mut rows: Vec<ScalingRow> = (cells.iter())
            .filter_map(|cell| row(cell, samples))
            .collect();
        mark_auto(&mut rows);
        let mut fits: Vec<ScalingFit> = Vec::new();
        for cell in cells {
            let known = |fit: &ScalingFit| {
                (&fit.method, fit.split, fit.batch_rows)
                    == (&cell.method, cell.split, cell.batch_rows)
            };
            if !fits.iter().any(known) {
                fits.extend(fit(&cell, samples, &rows));
            }
        }
        let several = plan.threads.iter().filter(|&&threads| threads > 1);
        let meetings: Vec<_> = several
            .filter_map(|&threads| SynchronizationTime::of(threads, &samples.kept))
            .collect();
        let meeting = meetings.iter().map(|meeting| meeting.seconds);
        let meeting = meeting.fold(0.0, f64::max);
        let predictions = (plan.divisions.iter())
            .filter(|division| plan.predicted_threads.contains(&division.threads))
            .filter_map(|division| predict(division, &rows, meeting))
            .collect();
        Self {
            rows,
            fits,
            predictions,
            meetings,
        }
    }

    /// Returns the smallest measured mini-batch from which on, for it and all larger ones, two
    /// threads are faster than one, and whether that includes every measured mini-batch.
    pub fn second_thread_pays_from(&self, method: &str) -> Option<(usize, bool)> {
        let mut pairs: Vec<(usize, f64)> = (self.rows.iter())
            .filter(|row| row.auto && row.method == method && row.threads == 2)
            .filter_map(|row| Some((row.batch_rows, row.speedup?)))
            .collect();
        pairs.sort_by_key(|&(rows, _)| rows);
        let paying = pairs.iter().rev().take_while(|(_, speedup)| *speedup > 1.0);
        let count = paying.count();
        let first = pairs.len().checked_sub(count)?;
        pairs.get(first).map(|&(rows, _)| (rows, first == 0))
    }

    /// Returns a method and mini-batch whose θ depends on the number of threads or on the split;
    /// there is none unless the engines have a defect.
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

/// The samples of a study with their placements, and those without the ones that ran on a shared
/// core, of every cell that has others.
struct PlacedSamples {
    all: Vec<(ScalingSample, Option<Placement>)>,
    kept: Vec<ScalingSample>,
}

impl PlacedSamples {
    /// Returns where the threads of `sample` ran.
    fn placement(&self, sample: &ScalingSample) -> Option<Placement> {
        let same = |(other, _): &&(ScalingSample, _)| {
            other.round == sample.round && other.is_of(&sample.cell())
        };
        self.all
            .iter()
            .find(same)
            .and_then(|(_, placement)| *placement)
    }

    /// Counts the samples of a cell by placement.
    fn count(&self, cell: &Cell) -> Placements {
        let own = self.all.iter().filter(|(sample, _)| sample.is_of(cell));
        Placements::count(own.map(|(_, placement)| *placement))
    }
}

fn without_shared_cores(samples: &[ScalingSample]) -> PlacedSamples {
    let all: Vec<_> = (samples.iter())
        .map(|sample| (sample.clone(), Placement::of(sample, samples)))
        .collect();
    let shared = |placement: Option<Placement>| placement == Some(Placement::SharedCore);
    let kept = all.iter().filter(|(sample, placement)| {
        let cell = sample.cell();
        let has_others = || (all.iter()).any(|(other, at)| other.is_of(&cell) && !shared(*at));
        !shared(*placement) || !has_others()
    });
    PlacedSamples {
        kept: kept.map(|(sample, _)| sample.clone()).collect(),
        all,
    }
}

/// Marks the rows whose split `run.split = "auto"` takes: the fastest one for this number of
/// threads. One thread has nothing to divide; the first split stands for all.
fn mark_auto(rows: &mut [ScalingRow]) {
    for index in 0..rows.len() {
        let row = &rows[index];
        let same = |other: &&ScalingRow| {
            (&other.method, other.batch_rows, other.threads)
                == (&row.method, row.batch_rows, row.threads)
        };
        let others = rows.iter().filter(same);
        let best = match row.threads {
            1 => others.min_by_key(|other| other.split.map(|split| split as usize)),
            _ => others.min_by(|one, other| one.seconds.total_cmp(&other.seconds)),
        };
        let auto = best.is_some_and(|best| best.split == row.split);
        rows[index].auto = auto;
    }
}

/// Predicts the time of `division` from that of its split on one thread, and from the seconds of
/// a meeting.
fn predict(
    division: &PlannedDivision,
    rows: &[ScalingRow],
    meeting: f64,
) -> Option<ScalingPrediction> {
    let alone = rows.iter().filter(|row| {
        (&row.method, row.batch_rows, row.threads) == (&division.method, division.batch_rows, 1)
    });
    let own = alone.clone().find(|row| row.split == division.split)?;
    let fastest = alone.map(|row| row.seconds).fold(f64::INFINITY, f64::min);
    let DivisionLimits {
        shared_work,
        meetings,
        ..
    } = division.limits;
    let seconds = own.seconds / (division.threads as f64 * shared_work) + meetings as f64 * meeting;
    Some(ScalingPrediction {
        method: division.method.clone(),
        split: division.split,
        batch_rows: division.batch_rows,
        threads: division.threads,
        seconds,
        speedup: fastest / seconds,
    })
}

/// Returns the cell on one thread whose split has the smallest median time on `batch_rows` rows.
fn fastest_alone(
    method: &str,
    batch_rows: usize,
    samples: &[ScalingSample],
) -> Option<(Cell, f64)> {
    let cells = splits(method).into_iter().map(|split| Cell {
        method: method.to_owned(),
        split,
        batch_rows,
        threads: 1,
    });
    let timed = cells.filter_map(|cell| {
        let own = samples.iter().filter(|sample| sample.is_of(&cell));
        let seconds = statistics::median(&own.map(|sample| sample.seconds).collect::<Vec<_>>())?;
        Some((cell, seconds))
    });
    timed.min_by(|(_, one), (_, other)| one.total_cmp(other))
}

/// Summarizes the samples of one cell; returns `None` if there are none.
fn row(cell: &Cell, placed: &PlacedSamples) -> Option<ScalingRow> {
    let samples = &placed.kept;
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
    // Ratios of a sample on one thread, by its fastest split, to that of this cell in the same round.
    let ratios = |rows: usize, of: fn(&ScalingSample) -> f64, at: Option<Placement>| -> Vec<f64> {
        let Some((base, _)) = fastest_alone(&cell.method, rows, samples) else {
            return Vec::new();
        };
        (cell_samples.iter())
            .filter(|sample| at.is_none() || placed.placement(sample) == at)
            .filter_map(|sample| {
                let same =
                    |other: &&ScalingSample| other.round == sample.round && other.is_of(&base);
                let other = samples.iter().find(same)?;
                Some(of(other) / of(sample))
            })
            .collect()
    };
    let threads = cell.threads as f64;
    let seconds_of = |sample: &ScalingSample| sample.seconds;
    let speedups = ratios(cell.batch_rows, seconds_of, None);
    let speedup = statistics::median(&speedups);
    let efficiency_at = |at| {
        let speedups = ratios(cell.batch_rows, seconds_of, Some(at));
        statistics::median(&speedups).map(|speedup| speedup / threads)
    };
    let slowdowns = ratios(cell.batch_rows, |sample| sample.peak_operations, None);
    let weak = (cell.batch_rows.is_multiple_of(cell.threads))
        .then(|| ratios(cell.batch_rows / cell.threads, seconds_of, None));
    let cpu: Vec<f64> = cell_samples
        .iter()
        .filter_map(|sample| sample.cpu_seconds)
        .collect();
    let operations = first.operations as f64;
    let roofline = (operations / peak_operations).max(first.least_bytes as f64 / peak_bytes);
    Some(ScalingRow {
        method: cell.method.clone(),
        split: cell.split,
        auto: false,
        batch_rows: cell.batch_rows,
        threads: cell.threads,
        placements: placed.count(cell),
        seconds,
        samples: cell_samples.iter().map(|sample| sample.seconds).collect(),
        cpu_seconds: statistics::median(&cpu),
        share: cell_samples
            .iter()
            .map(|sample| sample.share)
            .fold(1.0, f64::min),
        speedup,
        speedup_range: statistics::range(&speedups),
        efficiency: speedup.map(|speedup| speedup / threads),
        efficiency_near: efficiency_at(Placement::Near),
        efficiency_far: efficiency_at(Placement::Far),
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

/// Fits both laws to the speedups of all rounds rather than to their medians, because the
/// confidence intervals need the spread.
fn fit(cell: &Cell, placed: &PlacedSamples, rows: &[ScalingRow]) -> Option<ScalingFit> {
    let samples = &placed.kept;
    let (base, _) = fastest_alone(&cell.method, cell.batch_rows, samples)?;
    let own = samples.iter().filter(|sample| {
        let threads = sample.threads;
        sample.is_of(&Cell {
            threads,
            ..cell.clone()
        })
    });
    let points: Vec<SpeedupPoint> = own
        .filter_map(|sample| {
            let mut alone = samples.iter().filter(|other| other.is_of(&base));
            let base = alone.find(|other| other.round == sample.round)?;
            Some(SpeedupPoint {
                workers: sample.threads as f64,
                speedup: base.seconds / sample.seconds,
            })
        })
        .collect();
    let same = |row: &&ScalingRow| {
        (&row.method, row.split, row.batch_rows) == (&cell.method, cell.split, cell.batch_rows)
    };
    let by_time = |one: &&ScalingRow, other: &&ScalingRow| one.seconds.total_cmp(&other.seconds);
    let fastest = rows.iter().filter(same).min_by(by_time)?;
    let (amdahl, universal) = (Amdahl::supported(&points), Universal::supported(&points));
    Some(ScalingFit {
        method: cell.method.clone(),
        split: cell.split,
        batch_rows: cell.batch_rows,
        amdahl: amdahl.ok(),
        amdahl_unsupported: amdahl.err(),
        universal: universal.ok(),
        universal_unsupported: universal.err(),
        fastest_threads: fastest.threads,
    })
}
