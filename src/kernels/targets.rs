//! The targets of rows in the form that kernels read: classes or numbers, and what each row counts.

use super::Vector;
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;

/// The targets of several rows.
#[derive(Clone, Copy)]
pub struct Targets<'a, R> {
    /// One class index per row; not used where the targets are numbers.
    pub labels: &'a [u16],
    /// The targets of linear outputs with the quadratic loss, `(rows, outputs)` row-major; empty if
    /// the targets are classes.
    pub numbers: &'a [R],
    /// The factor of each row's loss; empty if all rows count the same.
    pub weights: &'a [R],
}

/// The target of one row.
#[derive(Clone, Copy)]
pub struct RowTarget<'a, R> {
    /// Class index; not used where the target is numbers.
    pub label: u16,
    /// One number per output; empty if the target is a class.
    pub numbers: &'a [R],
    /// Factor of the row's loss; `None` if all rows count the same.
    pub weight: Option<R>,
}

impl<'a, R: Real> Targets<'a, R> {
    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.labels.len()
    }

    /// Returns the target of row `row` of a network with `outputs` outputs.
    #[inline(always)]
    pub fn row(&self, row: usize, outputs: usize) -> RowTarget<'a, R> {
        let numbers = if self.numbers.is_empty() {
            self.numbers
        } else {
            &self.numbers[row * outputs..][..outputs]
        };
        RowTarget {
            label: self.labels[row],
            numbers,
            weight: self.weight(row),
        }
    }

    /// Returns the factor of a row's loss, or `None` if all rows count the same.
    #[inline(always)]
    pub(super) fn weight(&self, row: usize) -> Option<R> {
        if self.weights.is_empty() {
            None
        } else {
            Some(self.weights[row])
        }
    }

    /// Asserts that there is a target for each output of each row.
    pub(super) fn check(&self, outputs: usize) {
        let rows = self.rows();
        assert!(self.numbers.is_empty() || self.numbers.len() == rows * outputs);
        assert!(self.weights.is_empty() || self.weights.len() == rows);
    }
}

impl<R: Real> RowTarget<'_, R> {
    /// Returns whether the target of output `unit` is 1, if the target is a class.
    #[inline(always)]
    pub(super) fn is_hot(&self, output_loss: OutputLoss, unit: usize) -> bool {
        match output_loss {
            OutputLoss::Logistic => self.label == 1,
            _ => usize::from(self.label) == unit,
        }
    }

    /// Returns the target of linear output `unit`: its number, or 1 or 0 by the class.
    #[inline(always)]
    pub(super) fn number(&self, unit: usize) -> R {
        match self.numbers {
            [] if usize::from(self.label) == unit => R::ONE,
            [] => R::ZERO,
            numbers => numbers[unit],
        }
    }

    /// Returns the targets of linear outputs, one per lane from output `first` on; 0 beyond the
    /// last output.
    #[inline(always)]
    pub(super) fn lanes<V: Vector<Element = R>>(&self, first: usize) -> V {
        let mut lanes = [R::ZERO; 16];
        if self.numbers.is_empty() {
            let lane = usize::from(self.label).wrapping_sub(first);
            if lane < V::LANES {
                lanes[lane] = R::ONE;
            }
        } else if first < self.numbers.len() {
            let used = V::LANES.min(self.numbers.len() - first);
            lanes[..used].copy_from_slice(&self.numbers[first..][..used]);
        }
        // SAFETY: no vector has more than 16 lanes.
        unsafe { V::load(lanes.as_ptr()) }
    }

    /// Returns a row's loss, or a change of it, times the row's factor.
    #[inline(always)]
    pub(super) fn weighted<V: Vector<Element = R>>(&self, value: V) -> V {
        match self.weight {
            None => value,
            Some(weight) => value.mul(V::splat(weight)),
        }
    }
}
