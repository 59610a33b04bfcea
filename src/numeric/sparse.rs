//! The first layer over inputs most of which are exactly 0: MNIST's pixels.
//!
//! A zero input adds exactly nothing to a pre-activation and to a gradient, so it is left out: the
//! sums keep their order and their bits. An image is a list of words, position · 256 + byte.

use super::elementary::sigmoid_pair;
use super::panels::width;
use super::update::{Rule, Rules};
use super::{Real, Task, Vector};

/// The non-zero bytes of each row, and what each byte is worth.
#[derive(Clone, Debug)]
pub struct Records<R> {
    features: usize,
    starts: Vec<u32>,
    words: Vec<u32>,
    masks: Vec<u64>,
    values: Vec<R>,
}

impl<R: Real> Records<R> {
    /// The non-zero bytes of `rows`, each `features` long; byte b is worth `values[b]`.
    ///
    /// # Panics
    /// With more than 2²⁴ features, 2³² non-zero bytes, or a number of values that is not 256.
    pub fn new<'a>(
        features: usize,
        rows: impl Iterator<Item = &'a [u8]> + Clone,
        values: Vec<R>,
    ) -> Self {
        assert!(features <= 1 << 24 && values.len() == 256);
        let total = rows
            .clone()
            .map(|row| row.iter().filter(|&&byte| byte != 0).count())
            .sum();
        let mut starts = vec![0];
        let mut words = Vec::with_capacity(total);
        let mut masks = Vec::new();
        for row in rows {
            let mask = masks.len();
            masks.resize(mask + features.div_ceil(64), 0);
            for (position, &byte) in row.iter().enumerate() {
                if byte != 0 {
                    words.push((position as u32) << 8 | u32::from(byte));
                    masks[mask + position / 64] |= 1 << (position % 64);
                }
            }
            starts.push(u32::try_from(words.len()).expect("fewer than 2³² non-zero bytes"));
        }
        Self {
            features,
            starts,
            words,
            masks,
            values,
        }
    }

    /// Number of features, zeros included.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The words of row `row`.
    #[inline(always)]
    pub fn row(&self, row: u32) -> &[u32] {
        let row = row as usize;
        &self.words[self.starts[row] as usize..self.starts[row + 1] as usize]
    }

    /// What word `word` is worth.
    #[inline(always)]
    pub fn value(&self, word: u32) -> R {
        self.values[(word & 255) as usize]
    }

    #[inline(always)]
    fn mask(&self, row: u32) -> &[u64] {
        let words = self.features.div_ceil(64);
        &self.masks[row as usize * words..][..words]
    }

    /// Non-zero inputs of `rows`, and features that are non-zero in any of them.
    pub fn filled(&self, rows: &[u32]) -> (usize, usize) {
        let mut union = vec![0; self.features.div_ceil(64)];
        let mut filled = 0;
        for &row in rows {
            filled += self.row(row).len();
            for (all, mask) in union.iter_mut().zip(self.mask(row)) {
                *all |= mask;
            }
        }
        (
            filled,
            union
                .iter()
                .map(|bits: &u64| bits.count_ones() as usize)
                .sum(),
        )
    }

    /// Asks the caches for row `row`, which will be needed soon.
    #[inline(always)]
    pub fn prefetch(&self, row: u32) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let words = self.row(row);
            for at in (0..words.len()).step_by(16) {
                // SAFETY: a prefetch reads nothing and the address lies within `words`.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(words.as_ptr().add(at).cast()) };
            }
            let mask = self.mask(row);
            for at in (0..mask.len()).step_by(8) {
                // SAFETY: as above, within `mask`.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(mask.as_ptr().add(at).cast()) };
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = row;
    }
}

/// `z[s] = bias + Σ x·W` of own panels over the non-zero inputs.
pub struct SparseForward<'a, R> {
    /// The inputs.
    pub records: &'a Records<R>,
    /// The mini-batch: row numbers.
    pub rows: &'a [u32],
    /// Own panels, each `(features, P)`.
    pub weights: &'a [R],
    /// Own biases.
    pub biases: &'a [R],
    /// y (or z) out: own panels, `stride` apart.
    pub activations: &'a mut [R],
    /// σ′ out, laid out the same; `None`: z is wanted, not σ(z).
    pub slopes: Option<&'a mut [R]>,
    /// Distance between panels of the result.
    pub stride: usize,
}

impl<R: Real> Task<R> for SparseForward<'_, R> {
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
        let vectors = panels * width / V::LANES;
        let mut vector = 0;
        while vector < vectors {
            // More rows at once where there are fewer columns: eight chains hide an addition's latency.
            let taken = match vectors - vector {
                4.. => self.columns::<V, 4, 2>(vector),
                2.. => self.columns::<V, 2, 4>(vector),
                _ => self.columns::<V, 1, 5>(vector),
            };
            vector += taken;
        }
    }
}

impl<R: Real> SparseForward<'_, R> {
    #[inline(always)]
    fn columns<V: Vector<Element = R>, const C: usize, const S: usize>(
        &mut self,
        first: usize,
    ) -> usize {
        let mut row = 0;
        while row + S <= self.rows.len() {
            self.block::<V, C, S>(first, row);
            row += S;
        }
        while row < self.rows.len() {
            self.block::<V, C, 1>(first, row);
            row += 1;
        }
        C
    }

    #[inline(always)]
    fn block<V: Vector<Element = R>, const C: usize, const S: usize>(
        &mut self,
        first: usize,
        row: usize,
    ) {
        let width = width::<R>();
        let panel = self.records.features * width;
        let mut weights = [self.weights.as_ptr(); C];
        let mut sums = [[V::splat(R::ZERO); C]; S];
        let mut words: [&[u32]; S] = [&[]; S];
        let mut shortest = usize::MAX;
        for s in 0..S {
            words[s] = self.records.row(self.rows[row + s]);
            shortest = shortest.min(words[s].len());
        }
        let values = self.records.values.as_ptr();
        // SAFETY: `run` checked the panels; every word's position is below `features`, its byte
        // below 256, as `Records::new` made them.
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
            for t in 0..shortest {
                for s in 0..S {
                    let word = *words[s].as_ptr().add(t);
                    let x = V::splat(*values.add((word & 255) as usize));
                    let at = (word >> 8) as usize * width;
                    for c in 0..C {
                        sums[s][c] = x.fma(V::load(weights[c].add(at)), sums[s][c]);
                    }
                }
            }
            for s in 0..S {
                for t in shortest..words[s].len() {
                    let word = *words[s].as_ptr().add(t);
                    let x = V::splat(*values.add((word & 255) as usize));
                    let at = (word >> 8) as usize * width;
                    for c in 0..C {
                        sums[s][c] = x.fma(V::load(weights[c].add(at)), sums[s][c]);
                    }
                }
                for c in 0..C {
                    let column = (first + c) * V::LANES;
                    let at = column / width * self.stride + (row + s) * width + column % width;
                    match &mut self.slopes {
                        Some(slopes) => {
                            let (y, complement) = sigmoid_pair(sums[s][c]);
                            y.store(self.activations.as_mut_ptr().add(at));
                            y.mul(complement).store(slopes.as_mut_ptr().add(at));
                        }
                        None => sums[s][c].store(self.activations.as_mut_ptr().add(at)),
                    }
                }
            }
        }
    }
}

/// Mini-batches up to this size keep their errors in registers.
pub const SMALL_BATCH: usize = 16;

/// What a worker needs to update the first layer: allocated once.
pub struct Workspace<R> {
    /// Small batches: inputs transposed, `(features, SMALL_BATCH)`, 0 between steps.
    /// Others: the gradient of two panels, `(features, P)` each.
    numbers: super::panels::Aligned<R>,
    union: Vec<u64>,
    touched: Vec<u32>,
    untouched: Vec<u32>,
}

impl<R: Real> Workspace<R> {
    /// For inputs with `features` features.
    pub fn new(features: usize) -> Self {
        Self {
            numbers: super::panels::Aligned::zeros(features * SMALL_BATCH.max(2 * width::<R>())),
            union: vec![0; features.div_ceil(64)],
            touched: Vec::with_capacity(features),
            untouched: Vec::with_capacity(features),
        }
    }
}

/// `W ← rule(W, Σ_s x[s]·δ[s])` of own panels over the non-zero inputs.
pub struct SparseUpdate<'a, R> {
    /// The inputs.
    pub records: &'a Records<R>,
    /// The mini-batch: row numbers.
    pub rows: &'a [u32],
    /// Errors of own panels, `(rows, P)` each, `stride` apart.
    pub errors: &'a [R],
    /// Distance between panels of errors.
    pub stride: usize,
    /// The rule.
    pub rule: Rule<R>,
    /// Own panels, each `(features, P)`.
    pub weights: &'a mut [R],
    /// Laid out as the weights.
    pub velocity: Option<&'a mut [R]>,
    /// Scratch.
    pub workspace: &'a mut Workspace<R>,
}

impl<R: Real> Task<R> for SparseUpdate<'_, R> {
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
        // The loops below index the workspace unchecked.
        let room = self.records.features * SMALL_BATCH.max(2 * width);
        assert!(self.workspace.numbers.len() >= room);
        assert!(self.workspace.union.len() == self.records.features.div_ceil(64));
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
    #[inline(always)]
    fn velocity(&mut self) -> *mut R {
        self.velocity
            .as_mut()
            .map_or(std::ptr::null_mut(), |velocity| velocity.as_mut_ptr())
    }

    /// The errors of one panel in registers, the inputs transposed: a pixel at a time.
    #[inline(always)]
    fn small<V: Vector<Element = R>>(&mut self, panels: usize) {
        let Workspace {
            numbers,
            union,
            touched,
            untouched,
        } = &mut *self.workspace;
        union.fill(0);
        for (s, &row) in self.rows.iter().enumerate() {
            for (all, mask) in union.iter_mut().zip(self.records.mask(row)) {
                *all |= mask;
            }
            for &word in self.records.row(row) {
                // SAFETY: the position is below `features`, s below SMALL_BATCH.
                unsafe {
                    *numbers.get_unchecked_mut((word >> 8) as usize * SMALL_BATCH + s) =
                        *self.records.values.get_unchecked((word & 255) as usize);
                }
            }
        }
        let all_move = self.rule.moves_without_gradient() || self.velocity.is_some();
        touched.clear();
        untouched.clear();
        for (k, &bits) in union.iter().enumerate() {
            let first = k as u32 * 64;
            let mut ones = bits;
            while ones != 0 {
                touched.push(first + ones.trailing_zeros());
                ones &= ones - 1;
            }
            let mut zeros = !bits;
            while all_move && zeros != 0 {
                let position = first + zeros.trailing_zeros();
                if position as usize >= self.records.features {
                    break;
                }
                untouched.push(position);
                zeros &= zeros - 1;
            }
        }
        let vectors = panels * width::<R>() / V::LANES;
        let mut vector = 0;
        while vector < vectors {
            // Two vectors share each input they read, while their errors fit the registers.
            let pair = vector + 2 <= vectors && self.rows.len() <= 12;
            macro_rules! by_rows {
                ($($rows:literal)*) => {
                    match self.rows.len() {
                        $($rows if pair => self.pixels::<V, $rows, 2>(vector),)*
                        $($rows => self.pixels::<V, $rows, 1>(vector),)*
                        _ => unreachable!("a small batch has 1 to 16 rows"),
                    }
                };
            }
            by_rows!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16);
            vector += if pair { 2 } else { 1 };
        }
        let zero = V::splat(R::ZERO);
        for &position in &self.workspace.touched {
            for lane in (0..SMALL_BATCH).step_by(V::LANES) {
                // SAFETY: `numbers` holds SMALL_BATCH numbers a feature, a multiple of LANES.
                unsafe {
                    let to = self.workspace.numbers.as_mut_ptr();
                    zero.store(to.add(position as usize * SMALL_BATCH + lane));
                }
            }
        }
    }

    #[inline(always)]
    fn pixels<V: Vector<Element = R>, const B: usize, const C: usize>(&mut self, vector: usize) {
        let width = width::<R>();
        let panel = self.records.features * width;
        let rules = Rules::<V>::new(&self.rule);
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
            let numbers = self.workspace.numbers.as_ptr();
            for &position in &self.workspace.touched {
                let position = position as usize;
                let x = numbers.add(position * SMALL_BATCH);
                let mut sums = [V::splat(R::ZERO); C];
                for s in 0..B {
                    let x = V::splat(*x.add(s));
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
            for &position in &self.workspace.untouched {
                let zero = V::splat(R::ZERO);
                for start in base {
                    rules.apply(zero, weights, velocity, start + position as usize * width);
                }
            }
        }
    }

    /// The gradient of `C` panels in the cache, a sample at a time.
    #[inline(always)]
    fn large<V: Vector<Element = R>, const C: usize>(&mut self, first: usize) {
        let width = width::<R>();
        let features = self.records.features;
        let panel = features * width;
        self.workspace.numbers[..C * panel].fill(R::ZERO);
        let rules = Rules::<V>::new(&self.rule);
        let velocity = self.velocity();
        let weights = self.weights.as_mut_ptr();
        let gradient = self.workspace.numbers.as_mut_ptr();
        let values = self.records.values.as_ptr();
        // SAFETY: as in `pixels`; `numbers` holds C panels.
        unsafe {
            for lane in (0..width).step_by(V::LANES) {
                for (s, &row) in self.rows.iter().enumerate() {
                    let mut errors = [V::splat(R::ZERO); C];
                    for c in 0..C {
                        let at = (first + c) * self.stride + s * width + lane;
                        errors[c] = V::load(self.errors.as_ptr().add(at));
                    }
                    for &word in self.records.row(row) {
                        let x = V::splat(*values.add((word & 255) as usize));
                        let at = (word >> 8) as usize * width + lane;
                        for c in 0..C {
                            let to = gradient.add(c * panel + at);
                            x.fma(errors[c], V::load(to)).store(to);
                        }
                    }
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
        // Small batches find their inputs transposed here, and expect zeros.
        if first + C == self.weights.len() / panel {
            self.workspace.numbers.fill(R::ZERO);
        }
    }
}
