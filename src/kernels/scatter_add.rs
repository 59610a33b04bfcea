//! Scatter-add: adds table rows of P numbers, one per unit of a panel, to the rows of a panel.
//!
//! Finite differences compute one table row of changes for each input *value*; these kernels add it
//! to the row of every input that has this value.

use super::panels::width;
use super::sparse::SparseRows;
use super::{Kernel, Vector};
use crate::numeric::Real;

/// Adds `table[byte]` to `sums[position − first]` for the non-zero bytes of one sample whose
/// position is in `first..first + n`, where `sums` has n rows.
pub struct AddBytes<'a, R> {
    /// The samples' inputs.
    pub records: &'a SparseRows<R>,
    /// The sample.
    pub row: u32,
    /// Position of the first row of `sums`.
    pub first: usize,
    /// One row per byte, `(256, P)`.
    pub table: &'a [R],
    /// One row per position, `(n, P)`.
    pub sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for AddBytes<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert!(self.table.len() >= 256 * width && self.sums.len().is_multiple_of(width));
        let positions = self.first..self.first + self.sums.len() / width;
        let (table, sums) = (self.table.as_ptr(), self.sums.as_mut_ptr());
        for &word in self.records.words_at(self.row, positions) {
            let to = ((word >> 8) as usize - self.first) * width;
            let from = (word & 255) as usize * width;
            for lane in (0..width).step_by(V::LANES) {
                // SAFETY: the position is in `positions`, so its row lies in `sums`; `table` has a
                // row for every byte.
                unsafe {
                    let sum = V::load(sums.add(to + lane));
                    let change = V::load(table.add(from + lane));
                    sum.add(change).store(sums.add(to + lane));
                }
            }
        }
    }
}

/// The slot of an input that is exactly 0: its change is exactly 0, so it has no table row.
pub const NO_SLOT: u32 = u32::MAX;

/// Adds `table[slots[i]]` to `sums[i]` for every i that has a slot.
pub struct AddSlots<'a, R> {
    /// A slot or [`NO_SLOT`] for each of the n rows of `sums`.
    pub slots: &'a [u32],
    /// One row per slot, `(slots, P)`.
    pub table: &'a [R],
    /// The sums, `(n, P)`.
    pub sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for AddSlots<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert_eq!(self.sums.len(), self.slots.len() * width);
        for (sums, &slot) in self.sums.chunks_exact_mut(width).zip(self.slots) {
            if slot != NO_SLOT {
                let changes = &self.table[slot as usize * width..][..width];
                add::<V>(changes, sums);
            }
        }
    }
}

/// Adds `values[i]·changes` to `sums[i]` by fused multiply-adds, for every input i.
pub struct AddProducts<'a, R> {
    /// The n inputs.
    pub values: &'a [R],
    /// One row of P changes.
    pub changes: &'a [R],
    /// One row per input, `(n, P)`.
    pub sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for AddProducts<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert!(self.changes.len() == width && self.sums.len() == self.values.len() * width);
        for (sums, &value) in self.sums.chunks_exact_mut(width).zip(self.values) {
            add_product::<V>(value, self.changes, sums);
        }
    }
}

/// Adds `value·changes` to `sums[position − first]` by fused multiply-adds, for the non-zero inputs
/// of one sample whose position is in `first..first + n`: [`AddProducts`] with the zeros left out.
pub struct AddByteProducts<'a, R> {
    /// The samples' inputs.
    pub records: &'a SparseRows<R>,
    /// The sample.
    pub row: u32,
    /// Position of the first row of `sums`.
    pub first: usize,
    /// One row of P changes.
    pub changes: &'a [R],
    /// One row per position, `(n, P)`.
    pub sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for AddByteProducts<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert!(self.changes.len() == width && self.sums.len().is_multiple_of(width));
        let positions = self.first..self.first + self.sums.len() / width;
        for &word in self.records.words_at(self.row, positions) {
            let to = ((word >> 8) as usize - self.first) * width;
            let value = self.records.value(word);
            let sums = &mut self.sums[to..to + width];
            add_product::<V>(value, self.changes, sums);
        }
    }
}

/// Adds `value·changes` to one row of P sums.
#[inline(always)]
fn add_product<V: Vector>(value: V::Element, changes: &[V::Element], sums: &mut [V::Element]) {
    let width = width::<V::Element>();
    assert!(changes.len() == width && sums.len() == width);
    for lane in (0..width).step_by(V::LANES) {
        // SAFETY: both hold P numbers.
        unsafe {
            let sum = V::load(sums.as_ptr().add(lane));
            let change = V::load(changes.as_ptr().add(lane));
            V::splat(value)
                .fma(change, sum)
                .store(sums.as_mut_ptr().add(lane));
        }
    }
}

/// Adds `values` to `sums`, element by element.
pub struct AddAll<'a, R> {
    /// Numbers to add, as many as `sums` has.
    pub values: &'a [R],
    /// Whole rows of P numbers.
    pub sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for AddAll<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        add::<V>(self.values, self.sums);
    }
}

/// Adds `values` to `sums`, element by element.
#[inline(always)]
fn add<V: Vector>(values: &[V::Element], sums: &mut [V::Element]) {
    assert!(values.len() == sums.len() && sums.len().is_multiple_of(width::<V::Element>()));
    for at in (0..sums.len()).step_by(V::LANES) {
        // SAFETY: both hold whole rows of P numbers.
        unsafe {
            let sum = V::load(sums.as_ptr().add(at));
            let value = V::load(values.as_ptr().add(at));
            sum.add(value).store(sums.as_mut_ptr().add(at));
        }
    }
}

/// Multiplies each row of `values` by the P numbers in `factors`; for use within a kernel.
#[inline(always)]
pub fn scale<V: Vector>(factors: &[V::Element], values: &mut [V::Element]) {
    let width = width::<V::Element>();
    assert!(factors.len() == width && values.len().is_multiple_of(width));
    for lane in (0..width).step_by(V::LANES) {
        // SAFETY: `factors` holds P numbers.
        let factor = unsafe { V::load(factors.as_ptr().add(lane)) };
        for row in (0..values.len()).step_by(width) {
            // SAFETY: row + lane + LANES ≤ the number of values.
            unsafe {
                let at = values.as_mut_ptr().add(row + lane);
                V::load(at).mul(factor).store(at);
            }
        }
    }
}

/// Computes `out[c] = max |values[row][c]|` over all rows.
pub struct LargestOf<'a, R> {
    /// Whole rows of P numbers.
    pub values: &'a [R],
    /// P maxima.
    pub out: &'a mut [R],
}

impl<R: Real> Kernel<R> for LargestOf<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert!(self.out.len() == width && self.values.len().is_multiple_of(width));
        for lane in (0..width).step_by(V::LANES) {
            let mut most = [V::splat(R::ZERO); 4];
            let mut row = 0;
            while row < self.values.len() {
                for most in &mut most {
                    if row < self.values.len() {
                        // SAFETY: row + lane + LANES ≤ the number of values.
                        let value = unsafe { V::load(self.values.as_ptr().add(row + lane)) };
                        // `max` returns its argument if that is NaN, but drops an earlier NaN.
                        *most = most.max(value.abs());
                        row += width;
                    }
                }
            }
            let most = most[0].max(most[1]).max(most[2].max(most[3]));
            // SAFETY: `out` holds P numbers.
            unsafe { most.store(self.out.as_mut_ptr().add(lane)) };
        }
    }
}

/// Computes Σ values²: each column in the order of the rows, then the columns in order.
pub struct SquaresOf<'a, R> {
    /// Whole rows of P numbers.
    pub values: &'a [R],
}

impl<R: Real> Kernel<R> for SquaresOf<'_, R> {
    type Output = R;

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) -> R {
        let width = width::<R>();
        assert!(self.values.len().is_multiple_of(width));
        let mut columns = [R::ZERO; 16];
        for lane in (0..width).step_by(V::LANES) {
            let mut sum = V::splat(R::ZERO);
            for row in (0..self.values.len()).step_by(width) {
                // SAFETY: row + lane + LANES ≤ the number of values.
                let value = unsafe { V::load(self.values.as_ptr().add(row + lane)) };
                sum = value.fma(value, sum);
            }
            // SAFETY: lane + LANES ≤ P ≤ 16.
            unsafe { sum.store(columns.as_mut_ptr().add(lane)) };
        }
        columns[..width]
            .iter()
            .fold(R::ZERO, |sum, &column| sum + column)
    }
}
