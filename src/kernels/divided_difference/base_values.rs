//! Base values, from which perturbations start: activations y, 1 − y, and the losses of the rows.

use super::formulas::{
    ENTROPY, LINEAR, OutputRow, PLAIN, PerturbedOutputs, QUADRATIC, SOFTMAX, Units, kind, lane_of,
};
use crate::kernels::elementary::{exp, sigmoid, sigmoid_pair, softplus};
use crate::kernels::panels::width;
use crate::kernels::targets::Targets;
use crate::kernels::{Kernel, Vector};
use crate::numeric::Real;
use crate::numeric::output_loss::OutputLoss;

/// Computes y = σ(z) and ȳ = 1 − y, element by element.
pub struct Pairs<'a, R> {
    /// Pre-activations.
    pub z: &'a [R],
    /// Activations out, as many numbers.
    pub y: &'a mut [R],
    /// 1 − y out, as many numbers.
    pub one_minus_y: &'a mut [R],
}

impl<R: Real> Kernel<R> for Pairs<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.z.len();
        assert!(self.y.len() == len && self.one_minus_y.len() == len);
        assert!(len.is_multiple_of(width::<R>()));
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: all three hold `len` numbers, a multiple of LANES.
            unsafe {
                let (y, one_minus_y) = sigmoid_pair(V::load(self.z.as_ptr().add(at)));
                y.store(self.y.as_mut_ptr().add(at));
                one_minus_y.store(self.one_minus_y.as_mut_ptr().add(at));
            }
        }
    }
}

/// Computes the softmax of one row of outputs: p, and 1 − p as the sum of the other probabilities.
pub struct Probabilities<'a, R> {
    /// Number of outputs.
    pub count: usize,
    /// Pre-activations of the row, padded to a multiple of P.
    pub z: &'a [R],
    /// Probabilities out, as many numbers; padding becomes 0.
    pub y: &'a mut [R],
    /// 1 − p out, as many numbers; padding becomes 0.
    pub one_minus_y: &'a mut [R],
}

impl<R: Real> Kernel<R> for Probabilities<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(self) {
        let len = self.z.len();
        assert!(self.y.len() == len && self.one_minus_y.len() == len && self.count <= len);
        assert!(len.is_multiple_of(width::<R>()));
        let mut most = self.z[0];
        for &z in &self.z[..self.count] {
            if z > most || z.to_f64().is_nan() {
                most = z;
            }
        }
        let clamp = V::splat(R::from_f64(-R::SIGMOID_CLAMP));
        for at in (0..len).step_by(V::LANES) {
            // SAFETY: both hold `len` numbers, a multiple of LANES.
            unsafe {
                let z = V::load(self.z.as_ptr().add(at)).sub(V::splat(most));
                exp(clamp.max(z)).store(self.y.as_mut_ptr().add(at));
            }
        }
        self.y[self.count..].fill(R::ZERO);
        self.one_minus_y.fill(R::ZERO);
        // 1 − p from the sum of the outputs before and after, never from a subtraction.
        let mut before = R::ZERO;
        for unit in 0..self.count {
            self.one_minus_y[unit] = before;
            before = before + self.y[unit];
        }
        let mut after = R::ZERO;
        for unit in (0..self.count).rev() {
            let others = self.one_minus_y[unit] + after;
            after = after + self.y[unit];
            let sum = others + self.y[unit];
            self.one_minus_y[unit] = others / sum;
            self.y[unit] = self.y[unit] / sum;
        }
    }
}

/// Computes the loss of each row in precision `R`.
pub struct RowLosses<'a, R> {
    /// Kind of output units and loss.
    pub output_loss: OutputLoss,
    /// The outputs, of which only the pre-activations z are read.
    pub units: Units<'a, R>,
    /// The rows' targets. A row's factor multiplies its loss.
    pub targets: Targets<'a, R>,
    /// Losses out, one per row.
    pub losses: &'a mut [R],
}

impl<R: Real> Kernel<R> for RowLosses<'_, R> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vector<Element = R>>(mut self) {
        assert_eq!(self.targets.rows(), self.losses.len());
        self.targets.check(self.units.count);
        match kind(self.output_loss) {
            QUADRATIC => self.all_rows::<V, QUADRATIC>(),
            LINEAR => self.all_rows::<V, LINEAR>(),
            ENTROPY => self.all_rows::<V, ENTROPY>(),
            _ => {
                for row in 0..self.losses.len() {
                    self.losses[row] = self.softmax::<V>(row);
                }
            }
        }
        for (loss, &weight) in self.losses.iter_mut().zip(self.targets.weights) {
            *loss = *loss * weight;
        }
    }
}

/// Number of rows whose losses are computed side by side: one row alone is one long dependency
/// chain.
const ROWS: usize = 4;

impl<R: Real> RowLosses<'_, R> {
    /// Computes the loss of every row.
    #[inline(always)]
    fn all_rows<V: Vector<Element = R>, const LOSS: u8>(&mut self) {
        let rows = self.losses.len();
        let in_blocks = rows - rows % ROWS;
        for row in (0..in_blocks).step_by(ROWS) {
            self.rows::<V, LOSS, ROWS>(row);
        }
        for row in in_blocks..rows {
            self.rows::<V, LOSS, 1>(row);
        }
    }

    /// Computes the losses of `S` rows from row `first` on: the terms of several outputs side by
    /// side, summed in order. They have the bits of [`OutputRow::total`] at the same z, so that a
    /// perturbation that leaves z unchanged changes the loss by exactly 0.
    #[inline(always)]
    fn rows<V: Vector<Element = R>, const LOSS: u8, const S: usize>(&mut self, first: usize) {
        let zero = V::splat(R::ZERO);
        let half = R::from_f64(0.5);
        let mut sums = [R::ZERO; S];
        for unit in (0..self.units.count).step_by(V::LANES) {
            let mut terms = [zero; S];
            for s in 0..S {
                let at = self.units.at(first + s, unit);
                let z = &self.units.z[at..at + V::LANES];
                // SAFETY: `z` holds LANES numbers.
                let z = unsafe { V::load(z.as_ptr()) };
                let hot = self.target_lanes::<V>(first + s, unit);
                terms[s] = match LOSS {
                    LINEAR => z.sub(hot),
                    _ => zero.sub(hot).select_negative(zero.sub(z), z),
                };
            }
            match LOSS {
                QUADRATIC => terms = sigmoid(terms),
                LINEAR => {}
                _ => terms = terms.map(softplus),
            }
            let mut lanes = [[R::ZERO; 16]; S];
            for s in 0..S {
                // SAFETY: no vector has more than 16 lanes.
                unsafe { terms[s].store(lanes[s].as_mut_ptr()) };
            }
            for lane in 0..V::LANES.min(self.units.count - unit) {
                for s in 0..S {
                    let term = lanes[s][lane];
                    sums[s] = match LOSS {
                        QUADRATIC => term.mul_add(term, sums[s]),
                        LINEAR => (half * term).mul_add(term, sums[s]),
                        _ => sums[s] + term,
                    };
                }
            }
        }
        for s in 0..S {
            self.losses[first + s] = if LOSS == QUADRATIC {
                half * sums[s]
            } else {
                sums[s]
            };
        }
    }

    /// Returns the targets of row `row`, one output per lane from output `unit` on: numbers, or 0
    /// and 1 by the class.
    #[inline(always)]
    fn target_lanes<V: Vector<Element = R>>(&self, row: usize, unit: usize) -> V {
        if !self.targets.numbers.is_empty() {
            return self.targets.row(row, self.units.count).lanes(unit);
        }
        let label = self.targets.labels[row];
        if self.output_loss == OutputLoss::Logistic {
            let target = if label == 1 { R::ONE } else { R::ZERO };
            return V::splat(target);
        }
        lane_of(usize::from(label), unit)
    }

    /// Returns the loss of row `row` with softmax outputs.
    #[inline(always)]
    fn softmax<V: Vector<Element = R>>(&self, row: usize) -> R {
        let outputs = OutputRow {
            output_loss: self.output_loss,
            units: self.units,
            row,
            target: self.targets.row(row, self.units.count),
            loss: R::ZERO,
        };
        let [loss] = outputs.total::<V, SOFTMAX, PLAIN, 1>(&FixedOutputs { outputs: &outputs });
        let mut lanes = [R::ZERO; 16];
        // SAFETY: no vector has more than 16 lanes.
        unsafe { loss.store(lanes.as_mut_ptr()) };
        lanes[0]
    }
}

/// Outputs at their base values.
struct FixedOutputs<'a, R> {
    outputs: &'a OutputRow<'a, R>,
}

impl<V: Vector> PerturbedOutputs<V, 1> for FixedOutputs<'_, V::Element> {
    #[inline(always)]
    fn at(&self, unit: usize) -> [V; 1] {
        [self.outputs.z(unit)]
    }
}
