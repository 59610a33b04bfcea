//! The plan of a scaling study: its cells, and the order of its samples.

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::gradient::backprop::limits::DivisionLimits;
use crate::parallel::Split;
use crate::run::json;
use crate::study::methods;

/// The parameters of a scaling study.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingPlan {
    /// Labels of the methods.
    pub methods: Vec<String>,
    /// Numbers of rows of the mini-batches.
    pub batches: Vec<usize>,
    /// Numbers of threads that are measured, at most one thread per processor.
    pub threads: Vec<usize>,
    /// Numbers of threads above the processors, for which times are predicted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub predicted_threads: Vec<usize>,
    /// What limits each division, counted for the mini-batch that is measured; absent from studies
    /// of earlier versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub divisions: Vec<PlannedDivision>,
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

/// A division of a gradient among threads, and what limits it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedDivision {
    /// The method's label.
    pub method: String,
    /// What is divided; `None` for methods with one partition of their own.
    pub split: Option<Split>,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    pub threads: usize,
    /// The limits.
    #[serde(flatten)]
    pub limits: DivisionLimits,
}

/// A method and split with a mini-batch size and a number of threads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cell {
    /// The method's label.
    pub method: String,
    /// What the threads divide; `None` for methods with one partition of their own.
    pub split: Option<Split>,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    pub threads: usize,
}

impl ScalingPlan {
    /// Returns all cells without duplicates: splits vary fastest, then threads, then methods, then
    /// mini-batches.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &batch in &self.batches {
            for method in &self.methods {
                for &threads in &self.threads {
                    let factors: &[usize] = if self.weak { &[1, threads] } else { &[1] };
                    for factor in factors {
                        for split in splits(method) {
                            let cell = Cell {
                                method: method.clone(),
                                split,
                                batch_rows: batch.saturating_mul(*factor),
                                threads,
                            };
                            if !cells.contains(&cell) {
                                cells.push(cell);
                            }
                        }
                    }
                }
            }
        }
        cells
    }
}

/// Returns the splits of a method; `[None]` if it has one partition of its own.
pub(super) fn splits(method: &str) -> Vec<Option<Split>> {
    let splits = methods::by_name(method).map_or(&[][..], |method| method.gradient.splits());
    match splits {
        [] => vec![None],
        splits => splits.iter().copied().map(Some).collect(),
    }
}

/// One sample of a cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScalingSample {
    /// The round, from 1.
    pub round: usize,
    /// The method's label.
    pub method: String,
    /// What the threads divided; absent from studies of earlier versions, whose backprop was split
    /// by units.
    #[serde(default)]
    pub split: Option<Split>,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Number of threads.
    #[serde(deserialize_with = "json::positive")]
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
    /// Returns the cell of this sample.
    pub(super) fn cell(&self) -> Cell {
        Cell {
            method: self.method.clone(),
            split: self.split,
            batch_rows: self.batch_rows,
            threads: self.threads,
        }
    }

    /// Returns whether this is a sample of `cell`.
    pub fn is_of(&self, cell: &Cell) -> bool {
        let split =
            self.split == cell.split || (self.split.is_none() && cell.split == Some(Split::Units));
        split
            && (self.method.as_str(), self.batch_rows, self.threads)
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
