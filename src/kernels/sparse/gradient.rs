//! The gradient of the first layer for a range of features, summed over some rows at a time.

use std::ops::Range;

use super::SparseRows;
use crate::kernels::panels::width;
use crate::kernels::{Kernel, Vector};
use crate::numeric::Real;

/// Adds `x·δ` of one row to `C` panels of the gradient, `panel` numbers apart, at `lane` numbers
/// from `gradient` on: `gradient[position·P]` for each word.
///
/// # Safety
/// `values` must hold 256 numbers, and the panels P numbers for each word's position.
#[inline(always)]
pub(super) unsafe fn add_row<V: Vector, const C: usize>(
    words: &[u32],
    values: *const V::Element,
    errors: [V; C],
    gradient: *mut V::Element,
    panel: usize,
) {
    for &word in words {
        // SAFETY: the caller guarantees both extents.
        unsafe {
            let x = V::splat(*values.add((word & 255) as usize));
            let at = (word >> 8) as usize * width::<V::Element>();
            for c in 0..C {
                let to = gradient.wrapping_add(c * panel + at);
                x.fma(errors[c], V::load(to)).store(to);
            }
        }
    }
}

/// Finds the words of each row whose position is in `positions`.
pub struct FindWords<'a, 'r, R> {
    /// The inputs.
    pub records: &'r SparseRows<R>,
    /// The mini-batch, as row numbers.
    pub rows: &'a [u32],
    /// A range of features.
    pub positions: Range<usize>,
    /// The words out, row by row.
    pub words: &'a mut Vec<&'r [u32]>,
}

impl<R: Real> Kernel<R> for FindWords<'_, '_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        self.words.clear();
        for &row in self.rows {
            let words = self.records.words_at(row, self.positions.clone());
            self.words.push(words);
        }
    }
}

/// Adds `Σ_s x[s]·δ[s]` over some rows to the gradient of one or two panels of weights, for a range
/// of features.
pub struct SparseGradient<'a, R> {
    /// The inputs.
    pub records: &'a SparseRows<R>,
    /// A range of features.
    pub positions: Range<usize>,
    /// The words of each row, with positions in this range.
    pub words: &'a [&'a [u32]],
    /// Errors of the panels, each `(rows, P)`, `stride` numbers apart.
    pub errors: &'a [R],
    /// Distance between panels of errors, in numbers.
    pub stride: usize,
    /// The gradient: one or two panels, each `(positions, P)`.
    pub gradient: &'a mut [R],
}

impl<R: Real> Kernel<R> for SparseGradient<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        match self.gradient.len() / (self.positions.len() * width::<R>()).max(1) {
            0 => {}
            1 => self.panels::<V, 1>(),
            _ => self.panels::<V, 2>(),
        }
    }
}

impl<R: Real> SparseGradient<'_, R> {
    /// Adds to `C` panels.
    #[inline(always)]
    fn panels<V: Vector<Element = R>, const C: usize>(self) {
        let width = width::<R>();
        let panel = self.positions.len() * width;
        assert!(self.gradient.len() == C * panel);
        assert!(self.errors.len() >= (C - 1) * self.stride + self.words.len() * width);
        let values = self.records.values.as_ptr();
        for lane in (0..width).step_by(V::LANES) {
            // `add_row` counts positions from 0.
            let gradient = self.gradient.as_mut_ptr().wrapping_add(lane);
            let gradient = gradient.wrapping_sub(self.positions.start * width);
            for (s, &words) in self.words.iter().enumerate() {
                let inside = |word: &u32| self.positions.contains(&((word >> 8) as usize));
                assert!(words.first().is_none_or(inside) && words.last().is_none_or(inside));
                let mut errors = [V::splat(R::ZERO); C];
                // SAFETY: the extents were checked. Words are sorted by position, so all positions
                // are in the range, and `SparseRows::new` made 256 values.
                unsafe {
                    for c in 0..C {
                        let at = c * self.stride + s * width + lane;
                        errors[c] = V::load(self.errors.as_ptr().add(at));
                    }
                    add_row::<V, C>(words, values, errors, gradient, panel);
                }
            }
        }
    }
}
