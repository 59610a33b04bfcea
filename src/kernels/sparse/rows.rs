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
        let total = rows
            .clone()
            .map(|row| mask_words(features) + row.iter().filter(|&&byte| byte != 0).count())
            .sum();
        let mut starts = vec![0];
        let mut records = Vec::with_capacity(total);
        crate::kernels::pages::prefer_huge(&mut records);
        let mut counts = vec![0; features];
        for row in rows {
            let mask = records.len();
            records.resize(mask + mask_words(features), 0);
            let mut store = |position: usize, byte: u8| {
                records.push((position as u32) << 8 | u32::from(byte));
                records[mask + position / 32] |= 1 << (position % 32);
                counts[position] += 1;
            };
            // Eight bytes at a time, since most are 0.
            let (words, rest) = row.as_chunks::<8>();
            for (index, word) in words.iter().enumerate() {
                let mut left = u64::from_le_bytes(*word);
                while left != 0 {
                    let at = left.trailing_zeros() as usize / 8;
                    store(8 * index + at, word[at]);
                    left &= !(0xff << (8 * at));
                }
            }
            for (at, &byte) in rest.iter().enumerate().filter(|(_, byte)| **byte != 0) {
                store(8 * words.len() + at, byte);
            }
            starts.push(u32::try_from(records.len()).expect("fewer than 2³² words in all"));
        }
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

/// Returns the number of words of a mask: two per 64 features, rounded up.
#[inline(always)]
pub(super) fn mask_words(features: usize) -> usize {
    2 * features.div_ceil(64)
}
