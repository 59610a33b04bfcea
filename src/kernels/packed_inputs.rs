//! The first layer over a sparse mini-batch that many passes share.
//!
//! A gradient by whole passes reads the same inputs N + 1 times. They are gathered once, in the
//! order in which the product takes them: byte already converted to its value, position to the
//! offset of its weights. A pass then needs no table, and its sums keep the order and the bits of
//! [`super::sparse::SparseForward`].

use std::cmp::Reverse;

use super::elementary::sigmoid_pair;
use super::panels::width;
use super::sparse::SparseRows;
use super::{Kernel, Vector};
use crate::numeric::Real;

/// Number of rows of a block. With two vectors of columns they are eight chains of multiply-adds,
/// which hide a latency of four cycles on two units.
const BLOCK: usize = 4;

/// The non-zero inputs of a mini-batch.
///
/// The rows are sorted by their number of inputs, the longest first, and taken in blocks, so that
/// the chains of a block end nearly together. A block lists the first input of each of its rows,
/// then the second of each, and so on, without the rows that have ended.
pub struct PackedInputs<R> {
    features: usize,
    /// The rows' places in the mini-batch, the longest row first.
    order: Vec<u32>,
    /// The number of inputs of each row, in that order.
    lengths: Vec<usize>,
    /// The offset of an input's weights in a panel `(features, P)`.
    offsets: Vec<u32>,
    values: Vec<R>,
}

impl<R: Real> PackedInputs<R> {
    /// Allocates memory for `capacity` rows with `features` features, none of them 0.
    ///
    /// # Panics
    /// With 2²⁸ features or more.
    pub fn new(features: usize, capacity: usize) -> Self {
        assert!(features < 1 << 28);
        Self {
            features,
            order: Vec::with_capacity(capacity),
            lengths: Vec::with_capacity(capacity),
            offsets: Vec::with_capacity(features * capacity),
            values: Vec::with_capacity(features * capacity),
        }
    }

    /// Gathers the non-zero inputs of `rows`.
    ///
    /// # Panics
    /// If `records` has another number of features.
    pub fn read(&mut self, records: &SparseRows<R>, rows: &[u32]) {
        assert_eq!(records.features(), self.features);
        let words = |place: u32| records.row(rows[place as usize]);
        self.order.clear();
        self.order.extend(0..rows.len() as u32);
        self.order
            .sort_unstable_by_key(|&place| (Reverse(words(place).len()), place));
        self.lengths.clear();
        self.lengths
            .extend(self.order.iter().map(|&place| words(place).len()));
        self.offsets.clear();
        self.values.clear();
        for block in self.order.chunks(BLOCK) {
            for k in 0..words(block[0]).len() {
                for word in block.iter().map_while(|&place| words(place).get(k)) {
                    self.offsets.push((word >> 8) * width::<R>() as u32);
                    self.values.push(records.value(*word));
                }
            }
        }
    }
}

/// Computes `z = bias + Σ x·W` of all panels of units over the non-zero inputs x of each row, and
/// σ(z) if wanted.
pub struct PackedForward<'a, R> {
    /// The mini-batch.
    pub inputs: &'a PackedInputs<R>,
    /// The panels, each `(features + 1, P)`: weights, then biases.
    pub weights: &'a [R],
    /// Whether to compute σ(z) instead of z.
    pub activate: bool,
    /// z or σ(z) out: panels of `(rows, P)`, `stride` numbers apart.
    pub out: &'a mut [R],
    /// Distance between panels of the result, in numbers.
    pub stride: usize,
}

impl<R: Real> Kernel<R> for PackedForward<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        let panels = self.weights.len() / self.panel();
        assert!(self.weights.len() == panels * self.panel());
        let rows = self.inputs.order.len();
        assert!(panels == 0 || self.out.len() >= (panels - 1) * self.stride + rows * width);
        let vectors = panels * width / V::LANES;
        let mut vector = 0;
        while vector < vectors {
            vector += match vectors - vector {
                4.. if 4 * BLOCK <= 2 * V::BLOCK_ROWS => self.columns::<V, 4>(vector),
                2.. => self.columns::<V, 2>(vector),
                _ => self.columns::<V, 1>(vector),
            };
        }
    }
}

impl<R: Real> PackedForward<'_, R> {
    /// Returns the numbers in a panel of weights.
    #[inline(always)]
    fn panel(&self) -> usize {
        (self.inputs.features + 1) * width::<R>()
    }

    /// Computes `C` vectors of columns from vector `first` on for all rows; returns `C`.
    #[inline(always)]
    fn columns<V: Vector<Element = R>, const C: usize>(&mut self, first: usize) -> usize {
        let width = width::<R>();
        let inputs = self.inputs;
        let mut weights = [self.weights.as_ptr(); C];
        let mut biases = [V::splat(R::ZERO); C];
        let mut offsets = inputs.offsets.as_ptr();
        let mut values = inputs.values.as_ptr();
        let blocks = inputs.order.chunks(BLOCK).zip(inputs.lengths.chunks(BLOCK));
        // SAFETY: `run` checked the panels and the result; `PackedInputs::read` made every offset
        // that of a feature, and as many offsets and values as the rows' lengths add up to.
        unsafe {
            for c in 0..C {
                let column = (first + c) * V::LANES;
                weights[c] = weights[c].add(column / width * self.panel() + column % width);
                biases[c] = V::load(weights[c].add(inputs.features * width));
            }
            for (places, lens) in blocks {
                let mut sums = [biases; BLOCK];
                let mut lengths = [0; BLOCK];
                lengths[..lens.len()].copy_from_slice(lens);
                let mut k = 0;
                macro_rules! add_to_the_longest {
                    ($($rows:literal)*) => {$(
                        for _ in k..lengths[$rows - 1] {
                            for s in 0..$rows {
                                let offset = *offsets.add(s) as usize;
                                let x = V::splat(*values.add(s));
                                for c in 0..C {
                                    let weight = V::load(weights[c].add(offset));
                                    sums[s][c] = x.fma(weight, sums[s][c]);
                                }
                            }
                            offsets = offsets.add($rows);
                            values = values.add($rows);
                        }
                        k = lengths[$rows - 1];
                    )*};
                }
                add_to_the_longest!(4 3 2 1);
                debug_assert_eq!(k, lengths[0]);
                for (s, &place) in places.iter().enumerate() {
                    for c in 0..C {
                        let column = (first + c) * V::LANES;
                        let at =
                            column / width * self.stride + place as usize * width + column % width;
                        let z = sums[s][c];
                        let value = if self.activate { sigmoid_pair(z).0 } else { z };
                        value.store(self.out.as_mut_ptr().add(at));
                    }
                }
            }
        }
        C
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::panels::count;
    use crate::kernels::sparse::SparseForward;

    /// Rows of 0, 1, all and some non-zero bytes, in no order of length.
    fn records<R: Real>(features: usize) -> SparseRows<R> {
        let row = |row: usize| -> Vec<u8> {
            (0..features)
                .map(|k| match row % 5 {
                    0 => 0,
                    1 => u8::from(k == features / 2) * 9,
                    2 => (1 + (k * 37 + row) % 255) as u8,
                    _ => ((k * 7919 + row * 31) % 300).saturating_sub(150 - row) as u8,
                })
                .collect()
        };
        let rows: Vec<_> = (0..23).map(row).collect();
        let values = (0..256).map(|byte| R::from_f64(f64::from(byte) / 255.0));
        SparseRows::new(features, rows.iter().map(Vec::as_slice), values.collect())
    }

    fn has_the_bits_of_the_unpacked_product<R: Real>(isa: Isa, units: usize, batch: &[u32]) {
        let (features, p, panels) = (45, width::<R>(), count::<R>(units));
        let records = records::<R>(features);
        let mut weights = vec![R::ZERO; panels * (features + 1) * p];
        for (k, weight) in weights.iter_mut().enumerate() {
            *weight = R::from_f64(((k * 7919 % 1009) as f64 - 504.0) / 504.0);
        }
        let stride = batch.len() * p + p;
        let mut inputs = PackedInputs::new(features, batch.len());
        // What was read before leaves no trace.
        inputs.read(&records, &[2, 7, 3]);
        inputs.read(&records, batch);
        for activate in [false, true] {
            let nan = R::from_f64(f64::NAN);
            let mut out = vec![nan; panels * stride];
            isa.run(PackedForward {
                inputs: &inputs,
                weights: &weights,
                activate,
                out: &mut out,
                stride,
            });
            for (panel, weights) in weights.chunks_exact((features + 1) * p).enumerate() {
                let (weights, biases) = weights.split_at(features * p);
                let mut expected = vec![nan; batch.len() * p];
                let mut slopes = expected.clone();
                isa.run(SparseForward {
                    records: &records,
                    rows: batch,
                    weights,
                    biases,
                    activations: &mut expected,
                    slopes: activate.then_some(&mut slopes[..]),
                    stride: 0,
                    transposed: None,
                });
                let out = &out[panel * stride..panel * stride + batch.len() * p];
                assert!(
                    out == expected,
                    "{isa:?} {units} units, {batch:?}, {activate}"
                );
            }
        }
    }

    #[test]
    fn packed_inputs_give_the_bits_of_the_sparse_product_in_blocks_of_every_size() {
        let batches: [&[u32]; 6] = [
            &[2],
            &[0, 5],
            &[3, 1, 2],
            &[8, 2, 0, 3, 13, 4, 7, 9],
            &[22, 4, 4, 1, 0, 2, 7, 18, 3, 12],
            &[19, 2, 5, 3, 4],
        ];
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for units in [1, 30, 40, 100] {
                for batch in batches {
                    has_the_bits_of_the_unpacked_product::<f32>(isa, units, batch);
                    has_the_bits_of_the_unpacked_product::<f64>(isa, units, batch);
                }
            }
        }
    }
}
