//! Matrices in panels: the layout of every kernel's operands.
//!
//! A matrix of R rows and C columns is stored as ⌈C/P⌉ panels, each `(R, P)` row-major, where P
//! numbers fill a cache line. So a register block reads its columns in one unbroken stream, and a
//! worker that owns some units owns one range of memory. Padding columns stay 0.

use crate::numeric::Real;

/// Columns of a panel: a cache line of numbers.
pub const fn width<R: Real>() -> usize {
    64 / R::BYTES
}

/// Panels that `columns` columns need.
pub const fn count<R: Real>(columns: usize) -> usize {
    columns.div_ceil(width::<R>())
}

/// Two cache lines: prefetchers fetch them in pairs, and a pair that two workers write to is in the
/// way of both.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct CacheLinePair([u64; 16]);

/// Panels between whose parts two workers are cut are so many lines of P numbers apart, 512 bytes: a
/// processor reads ahead of a stream, and would take from its neighbor what that is writing.
pub const APART: usize = 8;

/// Numbers that begin on a pair of cache lines.
pub struct Aligned<R> {
    lines: Vec<CacheLinePair>,
    len: usize,
    element: std::marker::PhantomData<R>,
}

impl<R: Real> Aligned<R> {
    /// So many zeros.
    pub fn zeros(len: usize) -> Self {
        Self {
            lines: vec![CacheLinePair([0; 16]); (len * R::BYTES).div_ceil(128)],
            len,
            element: std::marker::PhantomData,
        }
    }
}

impl<R: Real> std::ops::Deref for Aligned<R> {
    type Target = [R];
    fn deref(&self) -> &[R] {
        // SAFETY: the lines hold `len` numbers, every bit pattern of which is valid.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<R: Real> std::ops::DerefMut for Aligned<R> {
    fn deref_mut(&mut self) -> &mut [R] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Copies rows `rows` of one panel, each `width` wide, transposed: `to[column][row]`, with `to`'s
/// rows `width` apart.
pub fn transpose<R: Real>(from: &[R], to: &mut [R], rows: usize) {
    let width = width::<R>();
    for (row, values) in from.chunks_exact(width).take(rows).enumerate() {
        for (column, &value) in values.iter().enumerate() {
            to[column * width + row] = value;
        }
    }
}
