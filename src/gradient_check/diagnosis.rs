//! Finds the mistake in a wrong gradient: a factor, a sign, swapped or transposed tensors, other
//! rows.
//!
//! A mistake explains a gradient if undoing it leaves at most a hundredth of the error.

use std::fmt;

use super::external::{Tensor, WrongTensor, tensors};
use super::tolerances::Tolerances;
use super::{CheckSubject, ReferencePoint};
use crate::data::Batch;
use crate::gradient::{Backprop, Control, GradientEngine, Stopped};
use crate::model::Parameters;

/// The share of the error that may be left.
const UNEXPLAINED: f64 = 0.01;
/// Factors this close are taken for equal.
const SAME_FACTOR: f64 = 1e-3;
/// Training rows of which every beginning and every mini-batch is tried.
const MOST_ROWS: usize = 2000;
/// Rows of one gradient, which bounds its memory.
const ROWS_AT_ONCE: usize = 100;

/// A mistake that explains the errors of a gradient.
#[derive(Clone, Debug, PartialEq)]
pub enum Mistake {
    /// Every element has this factor.
    Factor {
        /// The factor.
        factor: f64,
        /// Rows of the mini-batch.
        rows: usize,
    },
    /// The l2 term is missing.
    MissingPenalty,
    /// The elements are stored in the order `(fan_in, fan_out)`.
    Transposed,
    /// The tensor holds the gradient of another one.
    OtherTensor(String),
    /// One element has the wrong sign.
    Sign(String),
    /// Two elements are exchanged.
    Swapped(String, String),
    /// The gradient is the one of the training rows with these numbers, from 0.
    OtherRows(std::ops::Range<usize>),
}

/// A wrong gradient beside the exact one.
pub(super) struct Diagnosis<'a> {
    /// g, `(N,)`.
    pub exact: &'a [f64],
    /// ĝ, `(N,)`.
    pub found: &'a [f64],
    pub theta: &'a Parameters<f64>,
    pub l2: f64,
    /// Rows of the mini-batch.
    pub rows: usize,
    pub tolerances: &'a Tolerances,
}

impl Diagnosis<'_> {
    /// Lists the tensors with elements beyond their bounds.
    pub(super) fn wrong_tensors(&self) -> Vec<WrongTensor> {
        let all = tensors(self.theta.layout());
        let mut wrong_tensors = Vec::new();
        for tensor in &all {
            let wrong: Vec<usize> = tensor
                .range
                .clone()
                .filter(|&at| self.is_wrong(at))
                .collect();
            if wrong.is_empty() {
                continue;
            }
            let exact = &self.exact[tensor.range.clone()];
            let found = &self.found[tensor.range.clone()];
            wrong_tensors.push(WrongTensor {
                name: tensor.name.clone(),
                wrong: wrong.len(),
                elements: exact.len(),
                relative_error: distance(found, exact.iter().copied()) / norm(exact),
                mistake: self
                    .of_elements(&wrong)
                    .or_else(|| self.of_tensor(tensor, &all)),
            });
        }
        wrong_tensors
    }

    /// Finds a mistake that all elements share.
    pub(super) fn of_all_elements(&self) -> Option<Mistake> {
        if self.l2 == 0.0 {
            return self.factor(self.exact, self.found);
        }
        let penalty = self.penalty();
        let subtract = |from: &[f64]| -> Vec<f64> {
            from.iter()
                .zip(&penalty)
                .map(|(x, penalty)| x - penalty)
                .collect()
        };
        let data = subtract(self.exact);
        if explains(self.found, &data, self.exact) {
            return Some(Mistake::MissingPenalty);
        }
        // The factor is that of the whole, or of the rows' part alone.
        self.factor(self.exact, self.found)
            .or_else(|| self.factor(&data, &subtract(self.found)))
    }

    /// Finds the mistake in one or two wrong elements.
    fn of_elements(&self, wrong: &[usize]) -> Option<Mistake> {
        let name = |index| self.theta.layout().name(index);
        let is = |at: usize, value: f64| {
            let bound = self.tolerances.bound(at) + UNEXPLAINED * SAME_FACTOR * value.abs();
            (self.found[at] - value).abs() <= bound
        };
        match *wrong {
            [at] if is(at, -self.exact[at]) => Some(Mistake::Sign(name(at))),
            [one, other] if is(one, self.exact[other]) && is(other, self.exact[one]) => {
                Some(Mistake::Swapped(name(one), name(other)))
            }
            _ => None,
        }
    }

    /// Finds the mistake in one tensor.
    fn of_tensor(&self, tensor: &Tensor, all: &[Tensor]) -> Option<Mistake> {
        let part = |tensor: &Tensor| &self.exact[tensor.range.clone()];
        let (exact, found) = (part(tensor), &self.found[tensor.range.clone()]);
        if exact.len() < 2 {
            return None;
        }
        if let Some(mistake) = self.factor(exact, found) {
            return Some(mistake);
        }
        if let Some(fan_in) = tensor.fan_in {
            let fan_out = exact.len() / fan_in;
            let transposed: Vec<f64> = (0..exact.len())
                .map(|at| exact[at % fan_out * fan_in + at / fan_out])
                .collect();
            if explains(found, &transposed, exact) {
                return Some(Mistake::Transposed);
            }
        }
        let others = all
            .iter()
            .filter(|other| other.range != tensor.range && other.range.len() == tensor.range.len());
        let mut same = others.filter(|other| explains(found, part(other), exact));
        same.next()
            .map(|other| Mistake::OtherTensor(other.name.clone()))
    }

    /// Finds the factor between two vectors.
    fn factor(&self, exact: &[f64], found: &[f64]) -> Option<Mistake> {
        let dot: f64 = exact.iter().zip(found).map(|(g, found)| g * found).sum();
        let factor = dot / norm(exact).powi(2);
        let scaled: Vec<f64> = exact.iter().map(|g| factor * g).collect();
        let rows = self.rows;
        explains(found, &scaled, exact).then_some(Mistake::Factor { factor, rows })
    }

    /// Returns the gradient of the l2 term, `(N,)`.
    fn penalty(&self) -> Vec<f64> {
        penalty(self.theta, self.l2)
    }

    fn is_wrong(&self, at: usize) -> bool {
        let error = (self.found[at] - self.exact[at]).abs();
        // NaN is wrong.
        error != 0.0 && (error.is_nan() || error > self.tolerances.bound(at))
    }
}

impl CheckSubject<'_> {
    /// Finds training rows whose gradient `found` is: all of them, a beginning, or a mini-batch.
    pub(super) fn other_rows(
        &self,
        point: &ReferencePoint<'_>,
        found: &Parameters<f64>,
        training_rows: &[u32],
        control: &Control,
    ) -> Result<Option<Mistake>, Stopped> {
        let exact = point.gradient.flat();
        let penalty = penalty(&point.theta, self.network.l2);
        let parameters = exact.len();
        let [mut beginning, mut batch] = [vec![0.0; parameters], vec![0.0; parameters]];
        let mut gradient = Parameters::zeros(std::sync::Arc::clone(&self.network.layout));
        let matches = |sum: &[f64], rows: usize| {
            let share = 1.0 / rows as f64;
            let mean: Vec<f64> = sum
                .iter()
                .zip(&penalty)
                .map(|(sum, penalty)| sum * share + penalty)
                .collect();
            explains(found.flat(), &mean, exact)
        };
        let size = self.rows.len();
        let few = training_rows.len().min(MOST_ROWS);
        let mut engine = Backprop::<f64>::new(self.network, self.workers, self.isa, 1);
        for (at, row) in training_rows[..few].iter().enumerate() {
            if at % size == 0 {
                batch.fill(0.0);
            }
            let rows = std::slice::from_ref(row);
            let samples = &self.double;
            engine.gradient(
                &point.theta,
                Batch { samples, rows },
                &mut gradient,
                control,
            )?;
            for (index, g) in gradient.flat().iter().enumerate() {
                let of_row = g - penalty[index];
                beginning[index] += of_row;
                batch[index] += of_row;
            }
            let seen = at + 1;
            if seen != size && matches(&beginning, seen) {
                return Ok(Some(Mistake::OtherRows(0..seen)));
            }
            if seen > size && seen.is_multiple_of(size) && matches(&batch, size) {
                return Ok(Some(Mistake::OtherRows(seen - size..seen)));
            }
        }
        let mut engine = Backprop::<f64>::new(self.network, self.workers, self.isa, ROWS_AT_ONCE);
        for rows in training_rows[few..].chunks(ROWS_AT_ONCE) {
            let samples = &self.double;
            engine.gradient(
                &point.theta,
                Batch { samples, rows },
                &mut gradient,
                control,
            )?;
            for (index, g) in gradient.flat().iter().enumerate() {
                beginning[index] += (g - penalty[index]) * rows.len() as f64;
            }
        }
        let all = training_rows.len();
        Ok((all > few && matches(&beginning, all)).then_some(Mistake::OtherRows(0..all)))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let close = |factor: f64, to: f64| (factor - to).abs() <= SAME_FACTOR * to.abs();
        match self {
            Self::Factor { factor, .. } if *factor == 0.0 => {
                write!(formatter, "all elements are 0")
            }
            Self::Factor { factor, .. } if close(*factor, -1.0) => {
                write!(formatter, "the sign of every element is wrong")
            }
            Self::Factor { factor, rows } if *rows > 1 && close(*factor, *rows as f64) => write!(
                formatter,
                "every element is {rows} times too large, which is the number of rows: a sum over the rows in place of their mean"
            ),
            Self::Factor { factor, rows } if *rows > 1 && close(*factor, 1.0 / *rows as f64) => {
                write!(
                    formatter,
                    "every element is {rows} times too small, which is the number of rows: divided by it twice"
                )
            }
            Self::Factor { factor, .. } => {
                write!(formatter, "every element has the factor {factor:.7}")
            }
            Self::MissingPenalty => write!(formatter, "the l2 term is missing"),
            Self::Transposed => write!(
                formatter,
                "transposed: the elements are in the order (fan_in, fan_out)"
            ),
            Self::OtherTensor(other) => write!(formatter, "holds the gradient of {other}"),
            Self::Sign(element) => write!(formatter, "the sign of {element} is wrong"),
            Self::Swapped(one, other) => write!(formatter, "{one} and {other} are swapped"),
            Self::OtherRows(rows) => write!(
                formatter,
                "the gradient of other rows: training rows {} to {}, counted from 0",
                rows.start,
                rows.end - 1
            ),
        }
    }
}

/// Returns whether `explanation` leaves at most a hundredth of the error of `found`.
fn explains(found: &[f64], explanation: &[f64], exact: &[f64]) -> bool {
    let left = distance(found, explanation.iter().copied());
    left <= UNEXPLAINED * distance(found, exact.iter().copied())
}

/// Returns the gradient of the l2 term at θ, `(N,)`.
fn penalty(theta: &Parameters<f64>, l2: f64) -> Vec<f64> {
    let layout = theta.layout();
    let mut penalty = vec![0.0; layout.len()];
    for index in (0..layout.layers()).flat_map(|layer| layout.weights(layer)) {
        penalty[index] = l2 * theta.flat()[index];
    }
    penalty
}

fn distance(from: &[f64], to: impl Iterator<Item = f64>) -> f64 {
    from.iter()
        .zip(to)
        .map(|(x, y)| (x - y).powi(2))
        .sum::<f64>()
        .sqrt()
}

fn norm(vector: &[f64]) -> f64 {
    distance(vector, std::iter::repeat(0.0))
}
