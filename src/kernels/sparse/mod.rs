//! The first layer over sparse inputs, most of which are exactly 0, such as MNIST's pixels.
//!
//! A zero input adds exactly nothing to a pre-activation or a gradient, so it is left out: the sums
//! keep their order and their bits. A row is a list of 32-bit words, position · 256 + byte, one for
//! each non-zero byte.

mod gradient;
mod rows;

pub use gradient::{FindWords, SparseGradient};
pub use rows::{SparseRows, nonzero_bytes};

use self::gradient::add_row;
use self::rows::mask_words;
use super::elementary::sigmoid_pair;
use super::panels::width;
use super::update::{Rule, Rules};
use super::{Kernel, Vector};
use crate::numeric::Real;

/// Computes `z[s] = bias + Σ x·W` of a worker's panels over the non-zero inputs x of each sample s,
/// and activates the result unless z is wanted.
pub struct SparseForward<'a, R> {
    /// The inputs.
    pub records: &'a SparseRows<R>,
    /// The mini-batch, as row numbers.
    pub rows: &'a [u32],
    /// The worker's panels of weights, each `(features, P)`.
    pub weights: &'a [R],
    /// The worker's biases, P per panel.
    pub biases: &'a [R],
    /// y (or z) out: the worker's panels, each `(rows, P)`, `stride` numbers apart.
    pub activations: &'a mut [R],
    /// σ′ out, in the same layout; `None` to compute z instead of σ(z).
    pub slopes: Option<&'a mut [R]>,
    /// Distance between panels of the result, in numbers.
    pub stride: usize,
    /// The inputs' bytes out, transposed as in [`Workspace::transposed`], for the update. Writing
    /// them costs nothing beside the reads of weights.
    pub transposed: Option<&'a mut [u8]>,
}

impl<R: Real> Kernel<R> for SparseForward<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        let panel = self.records.features * width;
        let panels = self.weights.len() / panel;
        assert!(self.biases.len() == panels * width && self.weights.len() == panels * panel);
        assert!(
            panels == 0
                || self.activations.len() >= (panels - 1) * self.stride + self.rows.len() * width
        );
        assert!(
            self.slopes
                .as_ref()
                .is_none_or(|slopes| slopes.len() == self.activations.len())
        );
        assert!(self.transposed.as_ref().is_none_or(|bytes| {
            self.rows.len() <= SMALL_BATCH && bytes.len() == self.records.features * SMALL_BATCH
        }));
        let vectors = panels * width / V::LANES;
        let mut order = [0; SORTED_ROWS];
        for start in (0..self.rows.len()).step_by(SORTED_ROWS) {
            let rows = &self.rows[start..self.rows.len().min(start + SORTED_ROWS)];
            let order = &mut order[..rows.len()];
            sort_by_length(self.records, rows, order);
            let mut vector = 0;
            while vector < vectors {
                let taken = match vectors - vector {
                    4.. => self.columns::<V, 4>(vector, start, order),
                    3 => self.columns::<V, 3>(vector, start, order),
                    2 => self.columns::<V, 2>(vector, start, order),
                    _ => self.columns::<V, 1>(vector, start, order),
                };
                vector += taken;
                self.transposed = None;
            }
        }
    }
}

/// Rows that are sorted by their length at a time.
const SORTED_ROWS: usize = 1024;

/// Writes the indices of `rows` in the order of their numbers of words, roughly. Rows of one block
/// should be alike: what a row has beyond the shortest is summed in one chain, which waits for each
/// sum. Few rows stay in their order; sorting would take longer than it saves.
#[inline(always)]
fn sort_by_length<R: Real>(records: &SparseRows<R>, rows: &[u32], order: &mut [u16]) {
    const LENGTHS: usize = 64;
    if rows.len() <= SMALL_BATCH {
        for (index, at) in order.iter_mut().enumerate() {
            *at = index as u16;
        }
        return;
    }
    let longest = rows.iter().map(|&row| records.row(row).len()).max();
    let shift = (longest.unwrap_or(0) / LENGTHS)
        .checked_ilog2()
        .map_or(0, |bits| bits + 1);
    let length = |row: u32| records.row(row).len() >> shift;
    let mut ends = [0u16; LENGTHS];
    for &row in rows {
        ends[length(row)] += 1;
    }
    let mut end = 0;
    for count in &mut ends {
        end += *count;
        *count = end;
    }
    for (index, &row) in rows.iter().enumerate().rev() {
        let end = &mut ends[length(row)];
        *end -= 1;
        order[usize::from(*end)] = index as u16;
    }
}

impl<R: Real> SparseForward<'_, R> {
    /// Computes `C` vectors of columns for the rows from `start` on that `order` names; returns `C`.
    /// The blocks have as many rows as
    /// fit the registers, up to five, whose chains hide the latency of the caches; heights differ
    /// by at most one.
    #[inline(always)]
    fn columns<V: Vector<Element = R>, const C: usize>(
        &mut self,
        first: usize,
        start: usize,
        order: &[u16],
    ) -> usize {
        let rows = order.len();
        let most = (2 * V::BLOCK_ROWS / C).min(5);
        let blocks = rows.div_ceil(most);
        for b in 0..blocks {
            let (from, to) = (rows * b / blocks, rows * (b + 1) / blocks);
            macro_rules! by_height {
                ($($height:literal)*) => {
                    match (to - from, self.transposed.is_some()) {
                        $(($height, true) if $height <= most => {
                            self.block::<V, C, $height, true>(first, start, &order[from..to]);
                        }
                        ($height, false) if $height <= most => {
                            self.block::<V, C, $height, false>(first, start, &order[from..to]);
                        })*
                        _ => unreachable!("blocks have 1 to `most` rows"),
                    }
                };
            }
            by_height!(1 2 3 4 5);
        }
        C
    }

    /// Computes `S` rows and `C` vectors of columns; with `T`, also writes the transposed bytes.
    #[inline(always)]
    fn block<V: Vector<Element = R>, const C: usize, const S: usize, const T: bool>(
        &mut self,
        first: usize,
        start: usize,
        order: &[u16],
    ) {
        let width = width::<R>();
        let panel = self.records.features * width;
        let mut weights = [self.weights.as_ptr(); C];
        let mut sums = [[V::splat(R::ZERO); C]; S];
        let mut words: [&[u32]; S] = [&[]; S];
        let mut row = [0; S];
        let mut shortest = usize::MAX;
        for s in 0..S {
            row[s] = start + usize::from(order[s]);
            words[s] = self.records.row(self.rows[row[s]]);
            shortest = shortest.min(words[s].len());
        }
        let values = self.records.values.as_ptr();
        let transposed = match &mut self.transposed {
            // So few rows are in their order.
            Some(bytes) if T => bytes[row[0]..].as_mut_ptr(),
            _ => std::ptr::null_mut(),
        };
        // SAFETY: `run` checked the panels and the bytes; `SparseRows::new` made every word's
        // position less than `features` and its byte less than 256.
        unsafe {
            for c in 0..C {
                let column = (first + c) * V::LANES;
                weights[c] = self
                    .weights
                    .as_ptr()
                    .add(column / width * panel + column % width);
                let bias = V::load(self.biases.as_ptr().add(column));
                for s in 0..S {
                    sums[s][c] = bias;
                }
            }
            macro_rules! add {
                ($s:expr, $t:expr) => {
                    let word = *words[$s].as_ptr().add($t);
                    let position = (word >> 8) as usize;
                    if T {
                        *transposed.add(position * SMALL_BATCH + $s) = word as u8;
                    }
                    let x = V::splat(*values.add((word & 255) as usize));
                    for c in 0..C {
                        let weight = V::load(weights[c].add(position * width));
                        sums[$s][c] = x.fma(weight, sums[$s][c]);
                    }
                };
            }
            for t in 0..shortest {
                for s in 0..S {
                    add!(s, t);
                }
            }
            for s in 0..S {
                for t in shortest..words[s].len() {
                    add!(s, t);
                }
                for c in 0..C {
                    let column = (first + c) * V::LANES;
                    let at = column / width * self.stride + row[s] * width + column % width;
                    match &mut self.slopes {
                        Some(slopes) => {
                            let (y, one_minus_y) = sigmoid_pair(sums[s][c]);
                            y.store(self.activations.as_mut_ptr().add(at));
                            y.mul(one_minus_y).store(slopes.as_mut_ptr().add(at));
                        }
                        None => sums[s][c].store(self.activations.as_mut_ptr().add(at)),
                    }
                }
            }
        }
    }
}

/// Largest mini-batch for which the update keeps the errors in registers.
pub const SMALL_BATCH: usize = 16;

/// A worker's buffers for updating the first layer, allocated once.
pub struct Workspace<R> {
    /// For small batches: the inputs' bytes transposed, `(features, SMALL_BATCH)`; 0 between steps.
    transposed: Vec<u8>,
    /// For small batches: one bit per feature, set if it is non-zero in at least one row.
    union: Vec<u32>,
    /// For other batches: the gradient of two panels, each `(features, P)`.
    gradient: super::panels::Aligned<R>,
}

impl<R: Real> Workspace<R> {
    /// Allocates the buffers for inputs with `features` features.
    pub fn new(features: usize) -> Self {
        Self {
            transposed: vec![0; features * SMALL_BATCH],
            union: vec![0; mask_words(features)],
            gradient: super::panels::Aligned::zeros(features * 2 * width::<R>()),
        }
    }

    /// Returns a buffer for the gradient of two panels, each `(features, P)`.
    pub fn gradient(&mut self) -> &mut [R] {
        &mut self.gradient
    }

    /// Returns the buffer to which [`SparseForward`] writes the bytes of a mini-batch of `rows`
    /// rows; `None` if the batch is not small, so that the update does not need them.
    pub fn transposed(&mut self, rows: usize) -> Option<&mut [u8]> {
        (rows <= SMALL_BATCH).then_some(&mut self.transposed)
    }
}

/// Computes the gradient `Σ_s x[s]·δ[s]` of a worker's panels over the non-zero inputs, and applies
/// a rule to the weights.
pub struct SparseUpdate<'a, R> {
    /// The inputs.
    pub records: &'a SparseRows<R>,
    /// The mini-batch, as row numbers.
    pub rows: &'a [u32],
    /// Errors of the worker's panels, each `(rows, P)`, `stride` numbers apart.
    pub errors: &'a [R],
    /// Distance between panels of errors, in numbers.
    pub stride: usize,
    /// The rule.
    pub rule: Rule<R>,
    /// The worker's panels of weights, each `(features, P)`.
    pub weights: &'a mut [R],
    /// The velocity in the layout of the weights, if it is kept.
    pub velocity: Option<&'a mut [R]>,
    /// Buffers; for a small batch, [`SparseForward`] must have written the transposed bytes here.
    pub workspace: &'a mut Workspace<R>,
}

impl<R: Real> Kernel<R> for SparseUpdate<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        let panel = self.records.features * width;
        let panels = self.weights.len() / panel;
        assert!(self.weights.len() == panels * panel);
        assert!(
            panels == 0
                || self.errors.len() >= (panels - 1) * self.stride + self.rows.len() * width
        );
        assert!(
            self.velocity
                .as_ref()
                .is_none_or(|velocity| velocity.len() == self.weights.len())
        );
        // The loops below index the workspace without bounds checks.
        let features = self.records.features;
        assert!(self.workspace.transposed.len() == features * SMALL_BATCH);
        assert!(self.workspace.union.len() == mask_words(features));
        assert!(self.workspace.gradient.len() >= features * 2 * width);
        if panels == 0 {
            return;
        }
        if self.rows.len() <= SMALL_BATCH {
            self.small::<V>(panels);
        } else {
            let mut first = 0;
            while first < panels {
                if first + 2 <= panels {
                    self.large::<V, 2>(first);
                    first += 2;
                } else {
                    self.large::<V, 1>(first);
                    first += 1;
                }
            }
        }
    }
}

impl<R: Real> SparseUpdate<'_, R> {
    /// Returns a pointer to the velocity, or null if it is not kept.
    #[inline(always)]
    fn velocity(&mut self) -> *mut R {
        self.velocity
            .as_mut()
            .map_or(std::ptr::null_mut(), |velocity| velocity.as_mut_ptr())
    }

    /// Updates the weights feature by feature, with the errors of one or two vectors in registers
    /// and the inputs transposed.
    #[inline(always)]
    fn small<V: Vector<Element = R>>(&mut self, panels: usize) {
        let union = &mut self.workspace.union;
        union.fill(0);
        for &row in self.rows {
            for (any, mask) in union.iter_mut().zip(self.records.mask(row)) {
                *any |= mask;
            }
        }
        let vectors = panels * width::<R>() / V::LANES;
        let mut vector = 0;
        while vector < vectors {
            // Two vectors share the reads of inputs if their errors fit the registers.
            let pair = vector + 2 <= vectors && self.rows.len() <= 12;
            macro_rules! by_rows {
                ($($rows:literal)*) => {
                    match self.rows.len() {
                        $($rows if pair => self.features::<V, $rows, 2>(vector),)*
                        $($rows => self.features::<V, $rows, 1>(vector),)*
                        _ => unreachable!("a small batch has 1 to 16 rows"),
                    }
                };
            }
            by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
            vector += if pair { 2 } else { 1 };
        }
        self.workspace.transposed.fill(0);
    }

    /// Updates `C` vectors of columns for a mini-batch of `B` rows.
    #[inline(always)]
    fn features<V: Vector<Element = R>, const B: usize, const C: usize>(&mut self, vector: usize) {
        let width = width::<R>();
        let panel = self.records.features * width;
        let rules = Rules::<V>::new(&self.rule);
        let updates_all = self.rule.moves_without_gradient() || self.velocity.is_some();
        let velocity = self.velocity();
        let weights = self.weights.as_mut_ptr();
        let mut errors = [[V::splat(R::ZERO); C]; B];
        let mut base = [0; C];
        // SAFETY: `run` checked the extents of errors, weights and velocity; positions are below
        // `features`.
        unsafe {
            for c in 0..C {
                let column = (vector + c) * V::LANES;
                base[c] = column / width * panel + column % width;
                for s in 0..B {
                    let at = column / width * self.stride + s * width + column % width;
                    errors[s][c] = V::load(self.errors.as_ptr().add(at));
                }
            }
            let bytes = self.workspace.transposed.as_ptr();
            let values = self.records.values.as_ptr();
            for (k, union) in self.workspace.union.chunks_exact(2).enumerate() {
                let union = u64::from(union[0]) | u64::from(union[1]) << 32;
                let mut nonzero = union;
                while nonzero != 0 {
                    let position = k * 64 + nonzero.trailing_zeros() as usize;
                    nonzero &= nonzero - 1;
                    let x = bytes.add(position * SMALL_BATCH);
                    let mut sums = [V::splat(R::ZERO); C];
                    for s in 0..B {
                        let x = V::splat(*values.add(usize::from(*x.add(s))));
                        for c in 0..C {
                            sums[c] = if s == 0 {
                                x.mul(errors[0][c])
                            } else {
                                x.fma(errors[s][c], sums[c])
                            };
                        }
                    }
                    for c in 0..C {
                        rules.apply(sums[c], weights, velocity, base[c] + position * width);
                    }
                }
                let features = u64::MAX >> 64usize.saturating_sub(self.records.features - k * 64);
                let mut empty = if updates_all { !union & features } else { 0 };
                while empty != 0 {
                    let position = k * 64 + empty.trailing_zeros() as usize;
                    empty &= empty - 1;
                    for start in base {
                        let zero = V::splat(R::ZERO);
                        rules.apply(zero, weights, velocity, start + position * width);
                    }
                }
            }
        }
    }

    /// Updates `C` panels: sums their gradient in the cache, sample by sample, then applies the
    /// rule.
    #[inline(always)]
    fn large<V: Vector<Element = R>, const C: usize>(&mut self, first: usize) {
        let width = width::<R>();
        let features = self.records.features;
        let panel = features * width;
        self.workspace.gradient[..C * panel].fill(R::ZERO);
        let rules = Rules::<V>::new(&self.rule);
        let velocity = self.velocity();
        let weights = self.weights.as_mut_ptr();
        let gradient = self.workspace.gradient.as_mut_ptr();
        let values = self.records.values.as_ptr();
        // SAFETY: as in `features`; `gradient` holds C panels.
        unsafe {
            for lane in (0..width).step_by(V::LANES) {
                for (s, &row) in self.rows.iter().enumerate() {
                    let mut errors = [V::splat(R::ZERO); C];
                    for c in 0..C {
                        let at = (first + c) * self.stride + s * width + lane;
                        errors[c] = V::load(self.errors.as_ptr().add(at));
                    }
                    let words = self.records.row(row);
                    add_row::<V, C>(words, values, errors, gradient.add(lane), panel);
                }
            }
            for at in (0..C * panel).step_by(V::LANES) {
                rules.apply(
                    V::load(gradient.add(at)),
                    weights,
                    velocity,
                    first * panel + at,
                );
            }
        }
    }
}
