//! The Jacobian of a function ℝᴺ → ℝᵐ by the N + 1 (or 2N) evaluations that the gradient of one
//! output takes; by as few as the groups of a known sparsity pattern, plus 1.

use std::fmt::Display;
use std::ops::ControlFlow;

use ndarray::{Array1, Array2};

use super::failure::{EvaluationPoint, Failure};
use super::objective_evaluation::ObjectiveEvaluator;
use super::{Differences, Scheme, SparsityPattern, quotient};
use crate::gradient::Control;
use crate::model::Function;
use crate::parallel::EvaluationThreads;

/// What a vector-valued function may return: `Vec<f64>`, `Array1<f64>`, or a [`Result`] of one of
/// them with an error that can be shown.
pub trait Outputs {
    /// Returns the numbers, or the message of the error.
    ///
    /// # Errors
    /// The message.
    fn outputs(self) -> Result<Vec<f64>, String>;
}

impl Outputs for Vec<f64> {
    fn outputs(self) -> Result<Vec<f64>, String> {
        Ok(self)
    }
}

impl Outputs for Array1<f64> {
    fn outputs(self) -> Result<Vec<f64>, String> {
        Ok(self.to_vec())
    }
}

impl<T: Outputs, E: Display> Outputs for Result<T, E> {
    fn outputs(self) -> Result<Vec<f64>, String> {
        self.map_err(|error| error.to_string())?.outputs()
    }
}

/// A Jacobian and its cost.
#[derive(Clone, Debug, PartialEq)]
pub struct JacobianEstimate<M> {
    /// The Jacobian: `Array2<f64>` of shape `(m, N)`, or the entries of a pattern.
    pub jacobian: M,
    /// The function's outputs at θ, `(m,)`, if the scheme evaluates it.
    pub outputs: Option<Vec<f64>>,
    /// The number of evaluations.
    pub evaluations: u64,
}

/// The entries of a Jacobian with a known pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct SparseJacobian {
    /// The pattern.
    pub pattern: SparsityPattern,
    /// The partial derivatives, column by column, in the order of the pattern's entries.
    pub entries: Vec<f64>,
}

impl SparseJacobian {
    /// Returns ∂fᵣ/∂θ_c, 0 outside the pattern.
    pub fn get(&self, row: usize, column: usize) -> f64 {
        let place = self.pattern.column(column).binary_search(&row);
        place.map_or(0.0, |place| {
            self.entries[self.pattern.start(column) + place]
        })
    }

    /// Returns the matrix `(m, N)` with its zeros.
    pub fn to_dense(&self) -> Array2<f64> {
        let shape = (self.pattern.rows(), self.pattern.columns());
        let mut dense = Array2::zeros(shape);
        for column in 0..shape.1 {
            let start = self.pattern.start(column);
            for (place, &row) in self.pattern.column(column).iter().enumerate() {
                dense[(row, column)] = self.entries[start + place];
            }
        }
        dense
    }
}

/// Returns the Jacobian ∂fᵣ/∂θ_c of `function` at `theta`, `(m, N)`, by forward differences: N + 1
/// evaluations, spread over the processor's cores. [`Jacobian`] has more choices.
///
/// ```
/// use nplus1::finite_difference;
///
/// let polar = |x: &[f64]| vec![x[0] * x[1].cos(), x[0] * x[1].sin()];
/// let j = finite_difference::jacobian(polar, &[2.0, 0.0])?;
/// assert!((j[(0, 0)] - 1.0).abs() < 1e-6 && (j[(1, 1)] - 2.0).abs() < 1e-6);
/// # Ok::<(), nplus1::error::Error>(())
/// ```
///
/// # Errors
/// Those of [`Jacobian::dense`].
pub fn jacobian<V: Outputs>(
    function: impl Fn(&[f64]) -> V + Sync,
    theta: &[f64],
) -> Result<Array2<f64>, Failure> {
    let threads = shared()?;
    let estimate = Jacobian::FORWARD.dense(function, theta, threads, &Control::default())?;
    Ok(estimate.jacobian)
}

/// Returns the entries of a Jacobian whose pattern is known, by forward differences: one evaluation
/// for each of [`SparsityPattern::groups`], and one at θ.
///
/// ```
/// use nplus1::finite_difference::{self, SparsityPattern};
///
/// // Each output reads its neighbors only: 4 evaluations for any N.
/// let n = 1000;
/// let heat = |x: &[f64]| -> Vec<f64> {
///     let at = |i: usize| x.get(i).copied().unwrap_or(0.0);
///     (0..x.len()).map(|i| at(i.wrapping_sub(1)) - 2.0 * x[i] + at(i + 1)).collect()
/// };
/// let pattern = SparsityPattern::band(n, 1, 1);
/// let j = finite_difference::sparse_jacobian(heat, &vec![0.5; n], &pattern)?;
/// assert!((j.get(7, 7) + 2.0).abs() < 1e-6 && (j.get(7, 8) - 1.0).abs() < 1e-6);
/// # Ok::<(), nplus1::error::Error>(())
/// ```
///
/// # Errors
/// Those of [`Jacobian::sparse`].
pub fn sparse_jacobian<V: Outputs>(
    function: impl Fn(&[f64]) -> V + Sync,
    theta: &[f64],
    pattern: &SparsityPattern,
) -> Result<SparseJacobian, Failure> {
    let (method, control) = (Jacobian::FORWARD, Control::default());
    let estimate = method.sparse(function, theta, pattern, shared()?, &control)?;
    Ok(estimate.jacobian)
}

fn shared() -> Result<EvaluationThreads<'static>, Failure> {
    EvaluationThreads::shared().map_err(|error| Failure::Threads(error.to_string()))
}

/// The options of a Jacobian by finite differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Jacobian<'h> {
    /// One-sided or two-sided.
    pub scheme: Scheme,
    /// h of each parameter, `(N,)`; `None` chooses it for each from its size, as `auto` does.
    pub increments: Option<&'h [f64]>,
}

/// A place where the function failed, in the order of evaluations, or a column's outputs.
type Evaluated = Result<Vec<f64>, Failure>;

impl<'h> Jacobian<'h> {
    /// Forward differences: N + 1 evaluations, or groups + 1.
    pub const FORWARD: Self = Self {
        scheme: Scheme::Forward,
        increments: None,
    };
    /// Central differences: 2N evaluations, or 2·groups.
    pub const CENTRAL: Self = Self {
        scheme: Scheme::Central,
        ..Self::FORWARD
    };

    /// Returns the Jacobian, `(m, N)`, by N + 1 or 2N evaluations on `threads`; checks and updates
    /// `control` at each. m is the number of outputs of the first evaluation.
    ///
    /// # Errors
    /// [`Failure`]: θ, an increment or a value is refused, the function fails, or returns vectors
    /// of different lengths; the first in the order of parameters.
    pub fn dense<'t, V: Outputs>(
        &self,
        function: impl Fn(&[f64]) -> V + Sync,
        theta: &[f64],
        threads: impl Into<EvaluationThreads<'t>>,
        control: &Control,
    ) -> Result<JacobianEstimate<Array2<f64>>, Failure> {
        let groups: Vec<Vec<usize>> = (0..theta.len()).map(|column| vec![column]).collect();
        let system = VectorFunction::new(self, &function, theta, threads.into(), control)?;
        let values = system.evaluate(&groups)?;
        let rows = values[0].len();
        let mut jacobian = Array2::zeros((rows, theta.len()));
        for column in 0..theta.len() {
            for row in 0..rows {
                jacobian[(row, column)] = system.quotient(&values, column, column, row);
            }
        }
        Ok(system.estimate(jacobian, values))
    }

    /// Returns the entries of a Jacobian outside of whose `pattern` all is 0, by groups + 1 or
    /// 2·groups evaluations.
    ///
    /// # Errors
    /// Those of [`Jacobian::dense`], and [`Failure::Pattern`].
    pub fn sparse<'t, V: Outputs>(
        &self,
        function: impl Fn(&[f64]) -> V + Sync,
        theta: &[f64],
        pattern: &SparsityPattern,
        threads: impl Into<EvaluationThreads<'t>>,
        control: &Control,
    ) -> Result<JacobianEstimate<SparseJacobian>, Failure> {
        let (columns, parameters) = (pattern.columns(), theta.len());
        if columns != parameters {
            return Err(Failure::Pattern {
                columns,
                parameters,
            });
        }
        let groups = pattern.groups();
        let system = VectorFunction::new(self, &function, theta, threads.into(), control)?;
        let values = system.evaluate(&groups)?;
        if let Some(found) = values
            .first()
            .map(Vec::len)
            .filter(|&m| m != pattern.rows())
        {
            return Err(Failure::Outputs {
                found,
                expected: pattern.rows(),
                place: EvaluationPoint::Theta,
            });
        }
        let mut entries = vec![0.0; pattern.len()];
        for (group, columns) in groups.iter().enumerate() {
            for &column in columns {
                for (place, &row) in pattern.column(column).iter().enumerate() {
                    entries[pattern.start(column) + place] =
                        system.quotient(&values, group, column, row);
                }
            }
        }
        let pattern = pattern.clone();
        Ok(system.estimate(SparseJacobian { pattern, entries }, values))
    }
}

/// A vector-valued function near θ, with h of each parameter.
struct VectorFunction<'a, F> {
    scheme: Scheme,
    function: &'a F,
    theta: &'a [f64],
    increments: Vec<f64>,
    threads: EvaluationThreads<'a>,
    control: &'a Control,
}

impl<'a, V: Outputs, F: Fn(&[f64]) -> V + Sync> VectorFunction<'a, F> {
    fn new(
        method: &Jacobian<'_>,
        function: &'a F,
        theta: &'a [f64],
        threads: EvaluationThreads<'a>,
        control: &'a Control,
    ) -> Result<Self, Failure> {
        let differences = Differences {
            scheme: method.scheme,
            ..Differences::FORWARD
        };
        let names = Function::new(theta.len(), |_: &[f64]| f64::NAN);
        let evaluator = ObjectiveEvaluator {
            objective: &names,
            theta,
            threads,
            control,
        };
        let increments = differences.checked_increments(&evaluator, method.increments)?;
        Ok(Self {
            scheme: method.scheme,
            function,
            theta,
            increments,
            threads,
            control,
        })
    }

    /// Returns the group and the sign of evaluation `number`; `None` for θ itself.
    fn place(&self, number: usize) -> Option<(usize, f64)> {
        match self.scheme {
            Scheme::Forward => Some((number.checked_sub(1)?, 1.0)),
            Scheme::Central => Some((
                number / 2,
                if number.is_multiple_of(2) { 1.0 } else { -1.0 },
            )),
        }
    }

    /// Returns the outputs of all evaluations, in order.
    fn evaluate(&self, groups: &[Vec<usize>]) -> Result<Vec<Vec<f64>>, Failure> {
        let count = self.scheme.evaluations(groups.len() as u64) as usize;
        let results = self.threads.numbered(
            count,
            || self.theta.to_vec(),
            |theta, number| {
                if self.control.is_stopped() {
                    let evaluations = self.control.evaluations();
                    let planned = count as u64;
                    return ControlFlow::Break(Err(Failure::Stopped {
                        evaluations,
                        planned,
                    }));
                }
                let place = self.place(number);
                let columns = place.map_or(&[][..], |(group, _)| &groups[group]);
                for &column in columns {
                    let sign = place.map_or(0.0, |(_, sign)| sign);
                    theta[column] += sign * self.increments[column];
                }
                let outputs = (self.function)(theta).outputs();
                for &column in columns {
                    theta[column] = self.theta[column];
                }
                self.control.count(1);
                match self.checked(outputs, columns, place.map_or(0.0, |(_, sign)| sign)) {
                    Ok(outputs) => ControlFlow::Continue(Ok(outputs)),
                    Err(failure) => ControlFlow::Break(Err(failure)),
                }
            },
        );
        let results = results.map_err(|error| Failure::Threads(error.to_string()))?;
        let values: Vec<Vec<f64>> = results.into_iter().flatten().collect::<Result<_, _>>()?;
        let expected = values.first().map_or(0, Vec::len);
        match values.iter().position(|outputs| outputs.len() != expected) {
            None => Ok(values),
            Some(number) => {
                let (group, sign) = self.place(number).unwrap_or((0, 0.0));
                Err(Failure::Outputs {
                    found: values[number].len(),
                    expected,
                    place: self.point(&groups[group], sign),
                })
            }
        }
    }

    /// Returns finite outputs, or the failure at θ with `columns` changed.
    fn checked(
        &self,
        outputs: Result<Vec<f64>, String>,
        columns: &[usize],
        sign: f64,
    ) -> Evaluated {
        let place = || self.point(columns, sign);
        match outputs {
            Err(message) => Err(Failure::Function {
                message,
                place: place(),
            }),
            Ok(outputs) => match outputs.iter().find(|output| !output.is_finite()) {
                None => Ok(outputs),
                Some(&value) => Err(Failure::NotFinite {
                    value,
                    place: place(),
                }),
            },
        }
    }

    /// Describes θ with `columns` changed by their first.
    fn point(&self, columns: &[usize], sign: f64) -> EvaluationPoint {
        match columns.first() {
            Some(&column) if sign != 0.0 => EvaluationPoint::Perturbed {
                parameter: format!("θ[{column}]"),
                value: self.theta[column],
                increment: sign * self.increments[column],
            },
            _ => EvaluationPoint::Theta,
        }
    }

    /// Returns ∂f_row/∂θ_column from the outputs of its group.
    fn quotient(&self, values: &[Vec<f64>], group: usize, column: usize, row: usize) -> f64 {
        let (value, h) = (self.theta[column], self.increments[column]);
        match self.scheme {
            Scheme::Forward => {
                quotient::quotient(values[group + 1][row] - values[0][row], (value + h) - value)
            }
            Scheme::Central => quotient::quotient(
                values[2 * group][row] - values[2 * group + 1][row],
                (value + h) - (value - h),
            ),
        }
    }

    fn estimate<M>(&self, jacobian: M, mut values: Vec<Vec<f64>>) -> JacobianEstimate<M> {
        let evaluations = values.len() as u64;
        let outputs = (self.scheme == Scheme::Forward).then(|| values.swap_remove(0));
        JacobianEstimate {
            jacobian,
            outputs,
            evaluations,
        }
    }
}
