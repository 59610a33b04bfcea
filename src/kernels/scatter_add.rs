//! Sums over the lines of panels: P numbers side by side, one unit each.
//!
//! Finite differences compute a line of changes for each input *value*; these kernels add it to the
//! line of every input that has this value.

use super::panels::width;
use super::sparse::SparseRows;
use super::{Kernel, Vector};
use crate::numeric::Real;

/// `sums[position − first] += table[byte]` for the non-zero bytes of one row whose position is in
/// `first..first + lines of sums`.
pub struct AddBytes<'a, R> {
    /// The inputs.
    pub records: &'a SparseRows<R>,
    /// The row.
    pub row: u32,
    /// Position of the first line of `sums`.
    pub first: usize,
    /// 256 lines, one a byte.
    pub table: &'a [R],
    /// A line a position.
    pub sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for AddBytes<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert!(self.table.len() >= 256 * width && self.sums.len().is_multiple_of(width));
        let own = self.first..self.first + self.sums.len() / width;
        let (table, sums) = (self.table.as_ptr(), self.sums.as_mut_ptr());
        for &word in self.records.words_at(self.row, own) {
            let line = ((word >> 8) as usize - self.first) * width;
            let byte = (word & 255) as usize * width;
            for lane in (0..width).step_by(V::LANES) {
                // SAFETY: the position is in `first..end`, so its line lies in `sums`; `table`
                // holds a line for every byte.
                unsafe {
                    let sum = V::load(sums.add(line + lane));
                    let change = V::load(table.add(byte + lane));
                    sum.add(change).store(sums.add(line + lane));
                }
            }
        }
    }
}

/// An input that is exactly 0, whose change is exactly 0.
pub const NO_SLOT: u32 = u32::MAX;

/// `sums[i] += table[slots[i]]` wherever there is a slot.
pub struct AddSlots<'a, R> {
    /// A slot a line of `sums`, or [`NO_SLOT`].
    pub slots: &'a [u32],
    /// A line a slot.
    pub table: &'a [R],
    /// As many lines as `slots`.
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
                let line = &self.table[slot as usize * width..][..width];
                add::<V>(line, sums);
            }
        }
    }
}

/// `sums[i] += values[i]·changes`, fused: a line of P changes, one input a line of sums.
pub struct AddProducts<'a, R> {
    /// One a line of `sums`.
    pub values: &'a [R],
    /// One line.
    pub changes: &'a [R],
    /// Whole lines.
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

/// `sums[position − first] += byte·changes`, fused, for the non-zero bytes of one row whose position
/// is in `first..first + lines of sums`: [`AddProducts`] with the zeros left out.
pub struct AddByteProducts<'a, R> {
    /// The inputs.
    pub records: &'a SparseRows<R>,
    /// The row.
    pub row: u32,
    /// Position of the first line of `sums`.
    pub first: usize,
    /// One line.
    pub changes: &'a [R],
    /// A line a position.
    pub sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for AddByteProducts<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let width = width::<R>();
        assert!(self.changes.len() == width && self.sums.len().is_multiple_of(width));
        let own = self.first..self.first + self.sums.len() / width;
        for &word in self.records.words_at(self.row, own) {
            let line = ((word >> 8) as usize - self.first) * width;
            let value = self.records.value(word);
            let sums = &mut self.sums[line..line + width];
            add_product::<V>(value, self.changes, sums);
        }
    }
}

/// One line: `sums += value·changes`.
#[inline(always)]
fn add_product<V: Vector>(value: V::Element, changes: &[V::Element], sums: &mut [V::Element]) {
    let width = width::<V::Element>();
    assert!(changes.len() == width && sums.len() == width);
    for lane in (0..width).step_by(V::LANES) {
        // SAFETY: both hold a line.
        unsafe {
            let sum = V::load(sums.as_ptr().add(lane));
            let change = V::load(changes.as_ptr().add(lane));
            V::splat(value)
                .fma(change, sum)
                .store(sums.as_mut_ptr().add(lane));
        }
    }
}

/// `sums += values`, element by element.
pub struct AddAll<'a, R> {
    /// As many.
    pub values: &'a [R],
    /// Whole lines.
    pub sums: &'a mut [R],
}

impl<R: Real> Kernel<R> for AddAll<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        add::<V>(self.values, self.sums);
    }
}

#[inline(always)]
fn add<V: Vector>(values: &[V::Element], sums: &mut [V::Element]) {
    assert!(values.len() == sums.len() && sums.len().is_multiple_of(width::<V::Element>()));
    for at in (0..sums.len()).step_by(V::LANES) {
        // SAFETY: both hold whole lines.
        unsafe {
            let sum = V::load(sums.as_ptr().add(at));
            let value = V::load(values.as_ptr().add(at));
            sum.add(value).store(sums.as_mut_ptr().add(at));
        }
    }
}

/// Multiplies each line of `values` by `factors`, one line, for use within a task.
#[inline(always)]
pub fn scale<V: Vector>(factors: &[V::Element], values: &mut [V::Element]) {
    let width = width::<V::Element>();
    assert!(factors.len() == width && values.len().is_multiple_of(width));
    for lane in (0..width).step_by(V::LANES) {
        // SAFETY: `factors` holds a line.
        let factor = unsafe { V::load(factors.as_ptr().add(lane)) };
        for line in (0..values.len()).step_by(width) {
            // SAFETY: line + lane + LANES ≤ the number of values.
            unsafe {
                let place = values.as_mut_ptr().add(line + lane);
                V::load(place).mul(factor).store(place);
            }
        }
    }
}

/// `out[c] = max |values[line][c]|` over all lines.
pub struct LargestOf<'a, R> {
    /// Whole lines.
    pub values: &'a [R],
    /// One line.
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
            let mut line = 0;
            while line < self.values.len() {
                for most in &mut most {
                    if line < self.values.len() {
                        // SAFETY: line + lane + LANES ≤ the number of values.
                        let value = unsafe { V::load(self.values.as_ptr().add(line + lane)) };
                        // A NaN stays.
                        *most = most.max(value.abs());
                        line += width;
                    }
                }
            }
            let most = most[0].max(most[1]).max(most[2].max(most[3]));
            // SAFETY: `out` holds a line.
            unsafe { most.store(self.out.as_mut_ptr().add(lane)) };
        }
    }
}

/// Σ values², column by column in the order of the lines, then the columns in order.
pub struct SquaresOf<'a, R> {
    /// Whole lines.
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
            for line in (0..self.values.len()).step_by(width) {
                // SAFETY: line + lane + LANES ≤ the number of values.
                let value = unsafe { V::load(self.values.as_ptr().add(line + lane)) };
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
