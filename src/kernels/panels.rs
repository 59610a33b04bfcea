//! Panels: the memory layout of matrices that all kernels share.
//!
//! A matrix of R rows and C columns is stored as ⌈C/P⌉ panels, each `(R, P)` row-major, where P
//! numbers fill a cache line. A register block reads its columns from consecutive memory, and a
//! worker that owns some units owns one range of memory. Padding columns stay 0.

use super::pages::prefer_huge;
use crate::numeric::Real;

/// Returns P, the number of columns of a panel: the numbers in a cache line of 64 bytes.
pub const fn width<R: Real>() -> usize {
    64 / R::BYTES
}

/// Returns the number of panels that hold `columns` columns.
pub const fn count<R: Real>(columns: usize) -> usize {
    columns.div_ceil(width::<R>())
}

/// Number of unused rows of P numbers between the parts of two workers in one buffer: 512 bytes. A
/// processor prefetches beyond the end of a stream; without this gap it would take cache lines away
/// from the worker that writes them.
pub const GAP_ROWS: usize = 8;

/// Bytes of two adjacent cache lines. Prefetchers fetch such pairs, so a pair that two workers write
/// to slows both down.
const LINE_PAIR: usize = 128;

/// Bytes of a buffer for which huge pages pay: its memory comes fresh from the system.
const LARGE: usize = 32 << 20;

/// A slice of numbers that begins at a pair of cache lines (128 bytes).
///
/// The system provides its memory page by page when it is first written: large buffers cost nothing
/// before their numbers are computed.
pub struct Aligned<R> {
    words: Vec<u64>,
    /// Position of the first number in `words`.
    start: usize,
    len: usize,
    element: std::marker::PhantomData<R>,
}

impl<R: Real> Aligned<R> {
    /// Creates `len` zeros.
    pub fn zeros(len: usize) -> Self {
        let words_of_pair = LINE_PAIR / size_of::<u64>();
        let pairs = (len * R::BYTES).div_ceil(LINE_PAIR);
        let (mut words, mut start) = (Vec::new(), 0);
        if pairs > 0 {
            words = vec![0; (pairs + 1) * words_of_pair - 1];
            if len * R::BYTES >= LARGE {
                prefer_huge(&raw mut words[..]);
            }
            start = words.as_ptr().align_offset(LINE_PAIR);
            assert!(start < words_of_pair);
        }
        Self {
            words,
            start,
            len,
            element: std::marker::PhantomData,
        }
    }
}

impl<R: Real> std::ops::Deref for Aligned<R> {
    type Target = [R];
    fn deref(&self) -> &[R] {
        // SAFETY: the words from `start` on hold `len` numbers, as `zeros` made them; the vector
        // never grows, so they stay where they are. Every bit pattern is a valid number.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().add(self.start).cast(), self.len) }
    }
}

impl<R: Real> std::ops::DerefMut for Aligned<R> {
    fn deref_mut(&mut self) -> &mut [R] {
        // SAFETY: as in `deref`.
        unsafe {
            std::slice::from_raw_parts_mut(self.words.as_mut_ptr().add(self.start).cast(), self.len)
        }
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
