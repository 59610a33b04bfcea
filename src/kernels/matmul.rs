//! The register-blocked matrix product of the dense layers.
//!
//! `out[m][c] = start[c] + Σ_k left(m, k) · right[k][c]`. Each element is one chain of fused
//! multiply-adds in the order of k, so its bits depend neither on the register block, nor on the
//! vector's width, nor on the worker that computes it.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

use super::panels::width;
use super::{Isa, Kernel, Vector};
use crate::numeric::Real;

/// The left operand of a product: numbers with strides that give the address of element (m, k).
#[derive(Clone, Copy)]
pub struct LeftOperand<'a, R> {
    /// The numbers.
    pub values: &'a [R],
    /// Distance from row m to row m + 1.
    pub row: usize,
    /// Distance from k to k + 1 within a run of consecutive k.
    pub inner: usize,
    /// Number of k in a run.
    pub run: usize,
    /// Distance from the start of a run to the next.
    pub outer: usize,
}

impl<'a, R: Real> LeftOperand<'a, R> {
    /// Creates an operand whose rows are those of a matrix in panels, `panel_stride` numbers apart:
    /// k is the column.
    pub fn rows_of(values: &'a [R], panel_stride: usize) -> Self {
        Self {
            values,
            row: width::<R>(),
            inner: 1,
            run: width::<R>(),
            outer: panel_stride,
        }
    }

    /// Creates an operand whose rows are the columns of one panel: k is the row.
    pub fn columns_of(values: &'a [R]) -> Self {
        Self {
            values,
            row: 1,
            inner: width::<R>(),
            run: usize::MAX,
            outer: 0,
        }
    }

    /// Returns the length that `values` must have at least for `rows` rows of `depth` numbers.
    fn end(&self, rows: usize, depth: usize) -> usize {
        if rows == 0 || depth == 0 {
            return 0;
        }
        let k = depth - 1;
        (rows - 1) * self.row + k / self.run * self.outer + k % self.run * self.inner + 1
    }
}

/// The initial values of the sums of a product.
#[derive(Clone, Copy)]
pub enum Start<'a, R> {
    /// Zero.
    Zero,
    /// One number per column: P numbers per panel.
    Columns(&'a [R]),
    /// The numbers in the result: each chain continues, so that a sum over k can be computed part
    /// by part.
    Result,
}

/// Computes a matrix product into `panels` panels of `out`.
pub struct Product<'a, R> {
    /// The left operand.
    pub left: LeftOperand<'a, R>,
    /// Rows of the result.
    pub rows: usize,
    /// Number of terms of each sum.
    pub depth: usize,
    /// Panels of the right operand, each `(depth, P)`.
    pub right: &'a [R],
    /// Distance between panels of the right operand.
    pub right_stride: usize,
    /// Initial values of the sums.
    pub start: Start<'a, R>,
    /// Panels of the result, each `(rows, P)`.
    pub out: &'a mut [R],
    /// Distance between panels of the result.
    pub out_stride: usize,
    /// Number of panels.
    pub panels: usize,
}

/// Bytes of the left operand that stay in the second-level cache while all panels are multiplied
/// with it.
const ROW_BLOCK_BYTES: usize = 768 * 1024;
/// Multiplications of a piece of a product that can be stopped: a few milliseconds.
const PIECE: usize = 1 << 26;
/// Rows of the right operand that stay in the first-level cache.
const DEPTH_BLOCK: usize = 256;

impl<R: Real> Kernel<R> for Product<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        let width = width::<R>();
        if self.panels == 0 || self.rows == 0 {
            return;
        }
        assert!(self.left.values.len() >= self.left.end(self.rows, self.depth));
        assert!(self.right.len() >= (self.panels - 1) * self.right_stride + self.depth * width);
        assert!(self.out.len() >= (self.panels - 1) * self.out_stride + self.rows * width);
        if let Start::Columns(start) = self.start {
            assert!(start.len() >= self.panels * width);
        }
        let block = self.row_block();
        let mut row = 0;
        while row < self.rows {
            let rows = block.min(self.rows - row);
            let vectors = self.panels * width / V::LANES;
            let mut vector = 0;
            while vector < vectors {
                if vector + 2 <= vectors {
                    self.columns::<V, 2>(row..row + rows, vector);
                    vector += 2;
                } else {
                    self.columns::<V, 1>(row..row + rows, vector);
                    vector += 1;
                }
            }
            row += rows;
        }
    }
}

impl<R: Real> Product<'_, R> {
    /// Returns the number of rows that are multiplied with all panels before the next rows are.
    fn row_block(&self) -> usize {
        (ROW_BLOCK_BYTES / (self.depth.max(1) * R::BYTES)).max(64)
    }

    /// Computes the product as [`Isa::run`] does, unless `stop` is set: a product of more than some
    /// 2²⁶ multiplications is computed in pieces, and none is begun after that. The result is
    /// unspecified then, so a caller looks at `stop` before it uses one.
    pub fn run_unless_stopped(self, isa: Isa, stop: &AtomicBool) {
        let sums = self.rows * self.panels * width::<R>();
        if sums.saturating_mul(self.depth) > PIECE {
            self.run_in_pieces(isa, stop, PIECE);
        } else if !stop.load(Ordering::Relaxed) {
            isa.run(self);
        }
    }

    /// Computes the product in pieces of about `piece` multiplications.
    fn run_in_pieces(self, isa: Isa, stop: &AtomicBool, piece: usize) {
        let (width, block) = (width::<R>(), self.row_block());
        let of_panel = self.rows.min(block).max(1) * self.depth.max(1) * width;
        let panels_of_piece = (piece / of_panel).max(2) / 2 * 2;
        let blocks_of_piece = (piece / of_panel.saturating_mul(self.panels.max(1))).max(1);
        for row in (0..self.rows).step_by(block * blocks_of_piece) {
            for panel in (0..self.panels).step_by(panels_of_piece) {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                isa.run(Product {
                    left: LeftOperand {
                        values: &self.left.values[row * self.left.row..],
                        ..self.left
                    },
                    rows: (block * blocks_of_piece).min(self.rows - row),
                    depth: self.depth,
                    right: &self.right[panel * self.right_stride..],
                    right_stride: self.right_stride,
                    start: match self.start {
                        Start::Columns(start) => Start::Columns(&start[panel * width..]),
                        start => start,
                    },
                    out: &mut self.out[panel * self.out_stride + row * width..],
                    out_stride: self.out_stride,
                    panels: panels_of_piece.min(self.panels - panel),
                });
            }
        }
    }

    /// Computes `C` vectors of columns from vector `first` on, in rows `rows`.
    #[inline(always)]
    fn columns<V: Vector<Element = R>, const C: usize>(
        &mut self,
        rows: Range<usize>,
        first: usize,
    ) {
        let width = width::<R>();
        let mut right = [0; C];
        let mut out = [0; C];
        let mut start = [0; C];
        for c in 0..C {
            let column = (first + c) * V::LANES;
            right[c] = column / width * self.right_stride + column % width;
            out[c] = column / width * self.out_stride + column % width;
            start[c] = column;
        }
        let blocks = rows.len().div_ceil(V::BLOCK_ROWS);
        let mut depth = 0;
        loop {
            let until = self.depth.min(depth + DEPTH_BLOCK);
            for b in 0..blocks {
                let (from, to) = (rows.len() * b / blocks, rows.len() * (b + 1) / blocks);
                let position = BlockPosition {
                    row: rows.start + from,
                    from: depth,
                    until,
                    resumes: depth > 0 || matches!(self.start, Start::Result),
                    right,
                    out,
                    start,
                };
                macro_rules! by_height {
                    ($($height:literal)*) => {
                        match to - from {
                            // SAFETY: `run` checked every operand's extent.
                            $($height if $height <= V::BLOCK_ROWS => unsafe { self.block::<V, $height, C>(&position) },)*
                            _ => unreachable!("blocks have 1 to BLOCK_ROWS rows"),
                        }
                    };
                }
                by_height!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
            }
            depth = until;
            if depth == self.depth {
                break;
            }
        }
    }

    /// Computes a block of `M` rows and `C` vectors in registers.
    ///
    /// # Safety
    /// The block must lie within the extents that `run` has checked.
    #[inline(always)]
    unsafe fn block<V: Vector<Element = R>, const M: usize, const C: usize>(
        &mut self,
        position: &BlockPosition<C>,
    ) {
        let width = width::<R>();
        let LeftOperand {
            values,
            row,
            inner,
            run,
            outer,
        } = self.left;
        let out = self.out.as_mut_ptr();
        // SAFETY: `run` checked that (rows, depth, panels) fit all three operands.
        unsafe {
            let mut sums = [[V::splat(R::ZERO); C]; M];
            for m in 0..M {
                for c in 0..C {
                    if position.resumes {
                        sums[m][c] = V::load(out.add(position.out[c] + (position.row + m) * width));
                    } else if let Start::Columns(start) = self.start {
                        sums[m][c] = V::load(start.as_ptr().add(position.start[c]));
                    }
                }
            }
            let mut k = position.from;
            while k < position.until {
                let end = position.until.min(k - k % run + run.min(position.until));
                let mut left = values
                    .as_ptr()
                    .add(position.row * row + k / run * outer + k % run * inner);
                let mut right = [values.as_ptr(); C];
                for c in 0..C {
                    right[c] = self.right.as_ptr().add(position.right[c] + k * width);
                }
                for _ in k..end {
                    let mut columns = [V::splat(R::ZERO); C];
                    for c in 0..C {
                        columns[c] = V::load(right[c]);
                        right[c] = right[c].add(width);
                    }
                    for m in 0..M {
                        let factor = V::splat(*left.add(m * row));
                        for c in 0..C {
                            sums[m][c] = factor.fma(columns[c], sums[m][c]);
                        }
                    }
                    left = left.wrapping_add(inner);
                }
                k = end;
            }
            for m in 0..M {
                for c in 0..C {
                    sums[m][c].store(out.add(position.out[c] + (position.row + m) * width));
                }
            }
        }
    }
}

/// The position of a register block: its first row, its range of k, and the offsets of its vectors
/// of columns.
struct BlockPosition<const C: usize> {
    row: usize,
    from: usize,
    until: usize,
    /// Whether the sums continue from `out`.
    resumes: bool,
    right: [usize; C],
    out: [usize; C],
    start: [usize; C],
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Isa;
    use crate::kernels::panels::{Aligned, count};

    fn value(k: usize) -> f64 {
        ((k * 7919 % 1009) as f64 - 504.0) / 504.0
    }

    fn check<R: Real>(isa: Isa, rows: usize, depth: usize, columns: usize) {
        let (p, panels) = (width::<R>(), count::<R>(columns));
        let stride = rows * p + p;
        let mut left = Aligned::<R>::zeros(count::<R>(depth) * stride);
        for (k, x) in left.iter_mut().enumerate() {
            *x = R::from_f64(value(k));
        }
        let mut right = Aligned::<R>::zeros(panels * depth * p);
        for (k, x) in right.iter_mut().enumerate() {
            *x = R::from_f64(value(k + 5));
        }
        let start: Vec<R> = (0..panels * p).map(|k| R::from_f64(value(k))).collect();
        let mut out = vec![R::from_f64(f64::NAN); panels * rows * p];
        isa.run(Product {
            left: LeftOperand::rows_of(&left, stride),
            rows,
            depth,
            right: &right,
            right_stride: depth * p,
            start: Start::Columns(&start),
            out: &mut out,
            out_stride: rows * p,
            panels,
        });
        let whole = out.clone();
        // The same product in pieces, and one that is stopped.
        for stopped in [false, true] {
            out.fill(R::from_f64(f64::NAN));
            let product = Product {
                left: LeftOperand::rows_of(&left, stride),
                rows,
                depth,
                right: &right,
                right_stride: depth * p,
                start: Start::Columns(&start),
                out: &mut out,
                out_stride: rows * p,
                panels,
            };
            product.run_in_pieces(isa, &AtomicBool::new(stopped), 1);
            assert_eq!(out == whole, !stopped, "{isa:?}: pieces");
        }
        // The same sums in two parts: the second continues the chains of the first.
        let half = depth / 2 / p * p;
        let all = depth;
        for (from, depth) in [(0, half), (half, depth - half)] {
            isa.run(Product {
                left: LeftOperand::rows_of(&left[from / p * stride..], stride),
                rows,
                depth,
                right: &right[from * p..],
                right_stride: all * p,
                start: match from {
                    0 => Start::Columns(&start),
                    _ => Start::Result,
                },
                out: &mut out,
                out_stride: rows * p,
                panels,
            });
        }
        assert!(half == 0 || out == whole, "{isa:?}: a sum in two parts");
        for m in 0..rows {
            for c in 0..panels * p {
                let mut sum = start[c];
                for k in 0..depth {
                    let x = left[k / p * stride + m * p + k % p];
                    sum = x.mul_add(right[c / p * depth * p + k * p + c % p], sum);
                }
                assert!(
                    sum == out[c / p * rows * p + m * p + c % p],
                    "{isa:?} {m} {c}"
                );
            }
        }
    }

    #[test]
    fn every_element_is_one_chain_in_order_whatever_the_block_and_the_vector() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for (rows, depth, columns) in [
                (1, 1, 1),
                (10, 30, 10),
                (13, 300, 40),
                (15, 17, 33),
                (31, 600, 16),
                (140, 3001, 55),
            ] {
                check::<f32>(isa, rows, depth, columns);
                check::<f64>(isa, rows, depth, columns);
            }
        }
    }
}
