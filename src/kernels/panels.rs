//! Panels: the memory layout of matrices that all kernels share.
//!
//! A matrix of R rows and C columns is stored as ⌈C/P⌉ panels, each `(R, P)` row-major, where P
//! numbers fill a cache line. A register block reads its columns from consecutive memory, and a
//! worker that owns some units owns one range of memory. Padding columns stay 0.

use crate::numeric::Real;

/// Returns P, the number of columns of a panel: the numbers in a cache line of 64 bytes.
pub const fn width<R: Real>() -> usize {
    64 / R::BYTES
}

/// Returns the number of panels that hold `columns` columns.
pub const fn count<R: Real>(columns: usize) -> usize {
    columns.div_ceil(width::<R>())
}

/// Two adjacent cache lines. Prefetchers fetch such pairs, so a pair that two workers write to
/// slows both down.
#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct CacheLinePair([u64; 16]);

/// Number of unused rows of P numbers between the parts of two workers in one buffer: 512 bytes. A
/// processor prefetches beyond the end of a stream; without this gap it would take cache lines away
/// from the worker that writes them.
pub const GAP_ROWS: usize = 8;

/// A slice of numbers that begins at a pair of cache lines (128 bytes).
pub struct Aligned<R> {
    lines: Vec<CacheLinePair>,
    len: usize,
    element: std::marker::PhantomData<R>,
}

impl<R: Real> Aligned<R> {
    /// Creates `len` zeros.
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
        // SAFETY: the lines hold `len` numbers; every bit pattern is a valid number.
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl<R: Real> std::ops::DerefMut for Aligned<R> {
    fn deref_mut(&mut self) -> &mut [R] {
        // SAFETY: as in `deref`.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

/// Transposes the first `rows` rows of one panel, at most P of them: `to[column·P + row] =
/// from[row·P + column]`, for as many columns as `to` has room for.
pub fn transpose<R: Real>(from: &[R], to: &mut [R], rows: usize) {
    let width = width::<R>();
    let columns = width.min(to.len() / width);
    for (row, values) in from.chunks_exact(width).take(rows).enumerate() {
        for (column, &value) in values[..columns].iter().enumerate() {
            to[column * width + row] = value;
        }
    }
}
