//! Numbered evaluations of an objective on several threads.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::failure::{EvaluationPoint, Failure};
use crate::gradient::Control;
use crate::model::Objective;
use crate::numeric::Precision;
use crate::parallel::{EvaluationThreads, PanicFlag};

/// A function, θ, and the threads that evaluate the function near θ.
pub(super) struct ObjectiveEvaluator<'a> {
    pub(super) objective: &'a dyn Objective,
    pub(super) theta: &'a [f64],
    pub(super) threads: EvaluationThreads<'a>,
    pub(super) control: &'a Control,
}

impl ObjectiveEvaluator<'_> {
    /// Returns the values of evaluations `0..count`. `perturb(number, θ)` changes a copy of θ to
    /// the point of that evaluation, and returns the range that it wrote, which is then restored.
    ///
    /// After a value that is not finite, the values of evaluations that were not started are NaN.
    pub(super) fn values(
        &self,
        count: usize,
        perturb: impl Fn(usize, &mut [f64]) -> Range<usize> + Sync,
    ) -> Result<Values, Failure> {
        let values: Vec<AtomicU64> = (0..count)
            .map(|_| AtomicU64::new(f64::NAN.to_bits()))
            .collect();
        let (next, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let failed = AtomicBool::new(false);
        let first_error = Mutex::new(None);
        let evaluate = || {
            let _panics = PanicFlag(&failed);
            let mut theta = self.theta.to_vec();
            while !failed.load(Ordering::Relaxed) && !self.control.is_stopped() {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(cell) = values.get(number) else {
                    break;
                };
                let changed = perturb(number, &mut theta);
                let value = self.objective.try_value(&theta).unwrap_or_else(|message| {
                    let mut first = first_error.lock().expect("no lock is held in a panic");
                    if first.as_ref().is_none_or(|&(other, _)| number < other) {
                        *first = Some((number, message));
                    }
                    f64::NAN
                });
                theta[changed.clone()].copy_from_slice(&self.theta[changed]);
                cell.store(value.to_bits(), Ordering::Relaxed);
                finished.fetch_add(1, Ordering::Relaxed);
                self.control.count(1);
                if !value.is_finite() {
                    failed.store(true, Ordering::Relaxed);
                }
            }
        };
        (self.threads.run(count, evaluate)).map_err(|error| Failure::Threads(error.to_string()))?;
        let finished = finished.into_inner();
        if finished < count && !failed.into_inner() {
            return Err(Failure::Stopped {
                evaluations: finished as u64,
                planned: count as u64,
            });
        }
        let number = |bits: AtomicU64| f64::from_bits(bits.into_inner());
        let error = first_error.into_inner();
        Ok(Values {
            values: values.into_iter().map(number).collect(),
            error: error.expect("no lock is held in a panic"),
        })
    }

    /// Evaluates the objective at the given distances along a line, as [`noise`] requires.
    pub(super) fn values_on_line(
        &self,
        distances: &[f64],
        values: &mut [f64],
        perturb: impl Fn(f64, &mut [f64]) -> Range<usize> + Sync,
    ) -> Result<(), Failure> {
        let precision = self.objective.precision();
        let line_values = self.values(distances.len(), |number, theta| {
            let changed = perturb(distances[number], theta);
            for value in &mut theta[changed.clone()] {
                *value = rounded(precision, *value);
            }
            changed
        })?;
        let finite = line_values.finite(|number| EvaluationPoint::Line {
            distance: distances[number],
        })?;
        values.copy_from_slice(&finite);
        Ok(())
    }
}

/// The values of numbered evaluations, NaN where the function failed, and its first error.
pub(super) struct Values {
    values: Vec<f64>,
    error: Option<(usize, String)>,
}

impl Values {
    /// Returns the values, or the first failure, which `place` locates.
    pub(super) fn finite(
        self,
        place: impl Fn(usize) -> EvaluationPoint,
    ) -> Result<Vec<f64>, Failure> {
        let first = self.values.iter().position(|value| !value.is_finite());
        let Some(number) = first else {
            return Ok(self.values);
        };
        let place = place(number);
        match self.error {
            Some((failed, message)) if failed == number => {
                Err(Failure::Function { message, place })
            }
            _ => Err(Failure::NotFinite {
                value: self.values[number],
                place,
            }),
        }
    }
}

/// Returns the nearest number of `precision`.
pub(super) fn rounded(precision: Precision, number: f64) -> f64 {
    match precision {
        Precision::F32 => f64::from(number as f32),
        Precision::F64 => number,
    }
}
