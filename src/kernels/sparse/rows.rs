//! The records of sparse rows.

use std::ops::Range;

use crate::numeric::Real;

/// The non-zero bytes of each row, and the value of each byte.
///
/// The record of a row is one block of memory: its mask (one bit per feature), then its words.
/// Mini-batches pick rows at random, so a record needs one address and can be prefetched.
#[derive(Clone, Debug)]
pub struct SparseRows<R> {
    pub(super) features: usize,
    pub(super) starts: Vec<u32>,
    pub(super) records: Vec<u32>,
    pub(super) values: Vec<R>,
    /// Number of rows in which each feature is not 0.
    pub(super) counts: Vec<u32>,
}

impl<R: Real> SparseRows<R> {
    /// Stores the non-zero bytes of `rows`, each `features` long. Byte b has the value `values[b]`;
    /// byte 0 has the value 0, whatever `values[0]` is.
    ///
    /// # Panics
    /// With more than 2²⁴ features, with 2³² words or more in all, or unless there are 256 values.
    pub fn new<'a>(
        features: usize,
        rows: impl Iterator<Item = &'a [u8]> + Clone,
        mut values: Vec<R>,
    ) -> Self {
        assert!(features <= 1 << 24 && values.len() == 256);
        values[0] = R::ZERO;
        let words = |row: &[u8]| mask_words(features) + nonzero_bytes(row);
        let total: usize = rows.clone().map(words).sum();
        let mut starts = vec![0];
        let mut records = Vec::with_capacity(total + BYTES);
        crate::kernels::pages::prefer_huge(&raw mut *records.spare_capacity_mut());
        records.resize(total + BYTES, 0);
        let mut counts = FeatureCounts::new(features);
        let mut end = 0;
        for row in rows {
            counts.add(row);
            let mask = end;
            end += mask_words(features);
            let (words, rest) = row.as_chunks::<BYTES>();
            for (index, word) in words.iter().enumerate() {
                // Most are 0.
                if u64::from_le_bytes(*word) != 0 {
                    end = store(&mut records, [mask, end], BYTES * index, *word);
                }
            }
            if !rest.is_empty() {
                let mut word = [0; BYTES];
                word[..rest.len()].copy_from_slice(rest);
                end = store(&mut records, [mask, end], BYTES * words.len(), word);
            }
            starts.push(u32::try_from(end).expect("fewer than 2³² words in all"));
        }
        records.truncate(end);
        let counts = counts.finish();
        Self {
            features,
            starts,
            records,
            values,
            counts,
        }
    }

    /// Returns the number of features, zeros included.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Returns the words of row `row`.
    #[inline(always)]
    pub fn row(&self, row: u32) -> &[u32] {
        &self.record(row)[mask_words(self.features)..]
    }

    /// Returns the words of row `row` whose position is in `positions`.
    #[inline(always)]
    pub fn words_at(&self, row: u32, positions: Range<usize>) -> &[u32] {
        let words = self.row(row);
        let end = if positions.end < self.features {
            self.words_before(row, positions.end)
        } else {
            words.len()
        };
        &words[self.words_before(row, positions.start)..end]
    }

    /// Counts the words of row `row` whose position is below `position`: the bits of its mask,
    /// without a branch that depends on the row.
    #[inline(always)]
    fn words_before(&self, row: u32, position: usize) -> usize {
        let mask = self.mask(row);
        let position = position.min(32 * mask.len());
        let whole = &mask[..position / 32];
        let rest = mask
            .get(position / 32)
            .map_or(0, |bits| bits & !(u32::MAX << (position % 32)));
        let ones = |bits: &u32| bits.count_ones() as usize;
        whole.iter().map(ones).sum::<usize>() + ones(&rest)
    }

    /// Returns the value of the byte in `word`.
    #[inline(always)]
    pub fn value(&self, word: u32) -> R {
        self.values[(word & 255) as usize]
    }

    /// Returns the mask and the words of row `row`.
    #[inline(always)]
    fn record(&self, row: u32) -> &[u32] {
        let row = row as usize;
        &self.records[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// Returns the mask of row `row`: one bit per feature, set if the input is not 0.
    #[inline(always)]
    pub(super) fn mask(&self, row: u32) -> &[u32] {
        &self.record(row)[..mask_words(self.features)]
    }

    /// Returns the share of rows in which `feature` is not 0.
    pub fn density(&self, feature: usize) -> f64 {
        f64::from(self.counts[feature]) / (self.starts.len() - 1).max(1) as f64
    }

    /// Returns the mean number of non-zero inputs per row.
    pub fn mean_nonzeros(&self) -> f64 {
        let rows = self.starts.len() - 1;
        (self.records.len() as f64 / rows.max(1) as f64) - mask_words(self.features) as f64
    }

    /// Returns the number of non-zero inputs of `rows`, and the number of features that are
    /// non-zero in at least one of them.
    pub fn nonzeros(&self, rows: &[u32]) -> (usize, usize) {
        let mut union = vec![0; mask_words(self.features)];
        let mut nonzeros = 0;
        for &row in rows {
            nonzeros += self.row(row).len();
            for (any, mask) in union.iter_mut().zip(self.mask(row)) {
                *any |= mask;
            }
        }
        let ones = |bits: &u32| bits.count_ones() as usize;
        (nonzeros, union.iter().map(ones).sum())
    }

    /// Prefetches the records of `next` into the second-level cache, and the addresses of the
    /// records of `later`.
    ///
    /// The first level would not keep the records: the weights of the pass in between would evict
    /// them.
    #[inline(always)]
    pub fn prefetch(&self, next: &[u32], later: &[u32]) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _MM_HINT_T1, _mm_prefetch};
            for &row in next {
                for line in self.record(row).chunks(16) {
                    // SAFETY: a prefetch has no effect on memory.
                    unsafe { _mm_prefetch::<_MM_HINT_T1>(line.as_ptr().cast()) };
                }
            }
            for &row in later {
                // SAFETY: as above.
                unsafe {
                    _mm_prefetch::<_MM_HINT_T0>((&raw const self.starts[row as usize]).cast())
                };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (next, later);
    }
}

/// Number of bytes that are stored at a time.
const BYTES: usize = 8;

/// Returns the number of bytes that are not 0.
pub fn nonzero_bytes(bytes: &[u8]) -> usize {
    let ones = |part: &[u8]| part.iter().map(|&byte| u8::from(byte != 0)).sum::<u8>();
    // Sums of 255 fit a byte, and whole vectors of them are added at a time.
    bytes.chunks(255).map(|part| usize::from(ones(part))).sum()
}

/// Stores the words of eight bytes at `end`, and their bits in the mask at `mask`; `first` is the
/// position of the first. Returns the end of the words. What is behind it stays 0.
///
/// Every byte is written, without a branch, and the next one is written over it if it is 0.
#[inline(always)]
fn store(records: &mut [u32], [mask, end]: [usize; 2], first: usize, bytes: [u8; BYTES]) -> usize {
    let words = &mut records[end..end + BYTES];
    let (mut stored, mut bits) = (0, 0);
    for (at, byte) in bytes.into_iter().enumerate() {
        words[stored % BYTES] = ((first + at) as u32) << 8 | u32::from(byte);
        bits |= u32::from(byte != 0) << at;
        stored += usize::from(byte != 0);
    }
    words[stored..].fill(0);
    records[mask + first / 32] |= bits << (first % 32);
    end + stored
}

/// Counts the rows in which each feature is not 0.
struct FeatureCounts {
    /// The counts but for the last rows, at most 255, whose counts fit bytes.
    counts: Vec<u32>,
    last: Vec<u8>,
    last_rows: u8,
}

impl FeatureCounts {
    fn new(features: usize) -> Self {
        Self {
            counts: vec![0; features],
            last: vec![0; features],
            last_rows: 0,
        }
    }

    fn add(&mut self, row: &[u8]) {
        for (count, &byte) in self.last.iter_mut().zip(row) {
            *count += u8::from(byte != 0);
        }
        self.last_rows += 1;
        if self.last_rows == u8::MAX {
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (count, last) in self.counts.iter_mut().zip(&mut self.last) {
            *count += u32::from(std::mem::take(last));
        }
        self.last_rows = 0;
    }

    fn finish(mut self) -> Vec<u32> {
        self.flush();
        self.counts
    }
}

/// Returns the number of words of a mask: two per 64 features, rounded up.
#[inline(always)]
pub(super) fn mask_words(features: usize) -> usize {
    2 * features.div_ceil(64)
}
