//! L-BFGS: a quasi-Newton method that approximates the inverse Hessian H by the last few changes of
//! θ and of the gradient.
//!
//! Nocedal and Wright, "Numerical Optimization" (2nd edition), algorithms 7.4 (the two-loop
//! recursion) and 7.5, H₀ = γI by their equation 7.20, with a strong Wolfe line search. The
//! objective must be the same function at each call: the whole training set, rows in order.
//!
//! All sums are in double precision, in the order of θ, so the bits depend only on θ and the
//! gradients. θ, gradients and pairs are stored in the precision of the run.

use std::collections::VecDeque;
use std::sync::Arc;

use super::history::{History, dot, largest, product};
use super::line_search::{LineSearchResult, StepPoint, strong_wolfe};
use super::{Definition, OptimizerConfig, Schedule, Settings};
use crate::model::Parameters;
use crate::numeric::Real;

/// Configuration of `kind = "lbfgs"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LbfgsConfig {
    /// Number m of pairs of changes that are kept.
    pub memory: usize,
    /// Tolerance: converged once ‖g‖∞ is at most this.
    pub tolerance: f64,
}

impl Default for LbfgsConfig {
    /// Returns the defaults of scipy's L-BFGS-B.
    fn default() -> Self {
        Self {
            memory: 10,
            tolerance: 1e-5,
        }
    }
}

/// L-BFGS, as configs name it.
pub const DEFINITION: Definition = Definition {
    kind: "lbfgs",
    create: |given| {
        OptimizerConfig::Lbfgs(LbfgsConfig {
            memory: (given.number)("memory") as usize,
            tolerance: (given.number)("tolerance"),
        })
    },
};

impl Settings for LbfgsConfig {
    fn kind(&self) -> &'static str {
        DEFINITION.kind
    }

    fn number(&self, key: &str) -> Option<f64> {
        Some(match key {
            "memory" => self.memory as f64,
            "tolerance" => self.tolerance,
            _ => return None,
        })
    }

    fn schedule(&self) -> Option<Schedule> {
        None
    }

    fn rate_and_schedule(&mut self) -> Option<(&mut f64, &mut Schedule)> {
        None
    }
}

/// Outcome of an iteration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Iteration {
    /// A step was made: θ has changed.
    Moved {
        /// Step length α of θ + αd.
        step: f64,
    },
    /// The gradient at θ is within the tolerance; θ is unchanged.
    Converged,
    /// The line search found no lower objective, neither along L-BFGS's direction nor along the
    /// negative gradient; θ and the history are unchanged.
    Stuck,
    /// The objective or the gradient at the first θ is not finite.
    NotFinite,
}

impl LbfgsConfig {
    /// Makes one iteration from `theta` on. `evaluate` returns the objective at a θ and overwrites
    /// the gradient; it is called once per trial step (most iterations have one), and once more at
    /// the first θ of a run. `history` is `None` before the first iteration.
    ///
    /// # Errors
    /// Any error of `evaluate`; θ and the history are then unchanged.
    pub fn iterate<R: Real, E>(
        &self,
        theta: &mut Parameters<R>,
        history: &mut Option<History<R>>,
        mut evaluate: impl FnMut(&Parameters<R>, &mut Parameters<R>) -> Result<f64, E>,
    ) -> Result<Iteration, E> {
        let mut gradient = Parameters::zeros(Arc::clone(theta.layout()));
        let mut current = match history.take() {
            Some(current) => current,
            None => {
                let value = evaluate(theta, &mut gradient)?;
                History {
                    value,
                    gradient: gradient.clone(),
                    pairs: VecDeque::with_capacity(self.memory),
                }
            }
        };
        let outcome = self.search(theta, &mut current, &mut gradient, &mut evaluate);
        *history = Some(current);
        outcome
    }

    /// Searches the next θ from θ, its gradient and the pairs. `gradient` is scratch memory.
    fn search<R: Real, E>(
        &self,
        theta: &mut Parameters<R>,
        history: &mut History<R>,
        gradient: &mut Parameters<R>,
        evaluate: &mut impl FnMut(&Parameters<R>, &mut Parameters<R>) -> Result<f64, E>,
    ) -> Result<Iteration, E> {
        let largest = largest(&history.gradient);
        if !history.value.is_finite() || !largest.is_finite() {
            return Ok(Iteration::NotFinite);
        }
        if largest <= self.tolerance {
            return Ok(Iteration::Converged);
        }
        let mut trial = theta.clone();
        // If the search along L-BFGS's direction fails, the negative gradient is tried. The pairs
        // are kept until a step is found: an iteration that is repeated starts with them.
        let attempts: &[bool] = match history.pairs.len() {
            0 => &[false],
            _ => &[true, false],
        };
        for &use_pairs in attempts {
            let direction = if use_pairs {
                history.direction()
            } else {
                history.steepest_descent()
            };
            let slope = dot(history.gradient.flat(), direction.iter().copied());
            if slope >= 0.0 || slope.is_nan() {
                continue;
            }
            let first = if use_pairs {
                1.0
            } else {
                (1.0 / (-slope).sqrt()).min(1.0)
            };
            let start = StepPoint {
                step: 0.0,
                value: history.value,
                slope,
            };
            let mut at = |step: f64| {
                let numbers = trial.flat_mut().iter_mut().zip(theta.flat());
                for ((trial, theta), component) in numbers.zip(&direction) {
                    *trial = R::from_f64(theta.to_f64() + step * component);
                }
                let value = evaluate(&trial, gradient)?;
                let slope = dot(gradient.flat(), direction.iter().copied());
                Ok::<_, E>(StepPoint { step, value, slope })
            };
            let point = match strong_wolfe(start, first, &mut at)? {
                LineSearchResult::Wolfe(point) => point,
                LineSearchResult::Lower(point) => at(point.step)?,
                LineSearchResult::Nothing => continue,
            };
            if !use_pairs {
                history.pairs.clear();
            }
            self.add_pair(history, theta, &trial, gradient);
            history.value = point.value;
            std::mem::swap(&mut history.gradient, gradient);
            *theta = trial;
            return Ok(Iteration::Moved { step: point.step });
        }
        Ok(Iteration::Stuck)
    }

    /// Adds the pair of a step to the history, if its curvature s·y is positive: otherwise H would
    /// not stay positive definite.
    fn add_pair<R: Real>(
        &self,
        history: &mut History<R>,
        theta: &Parameters<R>,
        trial: &Parameters<R>,
        gradient: &Parameters<R>,
    ) {
        let changes = |after: &Parameters<R>, before: &Parameters<R>| {
            let pairs = after.flat().iter().zip(before.flat());
            let changes = pairs.map(|(&after, &before)| after - before).collect();
            Parameters::from_flat(Arc::clone(theta.layout()), changes)
        };
        let (s, y) = (changes(trial, theta), changes(gradient, &history.gradient));
        if product(s.flat(), y.flat()) > f64::EPSILON * product(y.flat(), y.flat()) {
            // A loop, since a resumed run may keep fewer pairs than the history has.
            while history.pairs.len() >= self.memory {
                history.pairs.pop_front();
            }
            history.pairs.push_back((s, y));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Layout;
    use std::convert::Infallible;

    const LBFGS: LbfgsConfig = LbfgsConfig {
        memory: 10,
        tolerance: 1e-9,
    };

    type LbfgsObjective = fn(&[f64], &mut [f64]) -> f64;

    /// Returns Σ (1 − x)² + 100(y − x²)² over pairs (x, y) of parameters.
    fn rosenbrock(theta: &[f64], gradient: &mut [f64]) -> f64 {
        let mut sum = 0.0;
        for (pair, slopes) in theta.chunks_exact(2).zip(gradient.chunks_exact_mut(2)) {
            let (x, y) = (pair[0], pair[1]);
            let bend = y - x * x;
            sum += (1.0 - x).powi(2) + 100.0 * bend * bend;
            slopes[0] = -2.0 * (1.0 - x) - 400.0 * x * bend;
            slopes[1] = 200.0 * bend;
        }
        sum
    }

    /// Returns Σ 10^i x_i²/2.
    fn bowl(theta: &[f64], gradient: &mut [f64]) -> f64 {
        let mut sum = 0.0;
        for (power, (x, slope)) in theta.iter().zip(gradient).enumerate() {
            let curvature = 10f64.powi(power as i32);
            sum += 0.5 * curvature * x * x;
            *slope = curvature * x;
        }
        sum
    }

    /// Iterates until no step is made. Returns the number of iterations and of evaluations, θ and
    /// the last outcome.
    fn minimize(
        config: LbfgsConfig,
        function: LbfgsObjective,
        start: [f64; 4],
    ) -> (usize, usize, Vec<f64>, Iteration) {
        let layout = Arc::new(Layout::new(&[4, 1], false));
        let mut theta = Parameters::from_flat(layout, start.to_vec());
        let (mut history, mut evaluations) = (None, 0);
        for iteration in 0..1000 {
            let outcome = config
                .iterate(&mut theta, &mut history, |theta, gradient| {
                    evaluations += 1;
                    Ok::<_, Infallible>(function(theta.flat(), gradient.flat_mut()))
                })
                .unwrap();
            let pairs = history.as_ref().unwrap().pairs.len();
            assert!(pairs <= config.memory.min(iteration + 1), "{pairs} pairs");
            if !matches!(outcome, Iteration::Moved { .. }) {
                return (iteration, evaluations, theta.flat().to_vec(), outcome);
            }
        }
        panic!("still moving after 1000 iterations");
    }

    #[test]
    fn the_minimum_of_rosenbrock_s_function_is_found() {
        for memory in [1, 3, 10] {
            let config = LbfgsConfig { memory, ..LBFGS };
            let (iterations, evaluations, theta, end) =
                minimize(config, rosenbrock, [-1.2, 1.0, 0.5, -2.0]);
            assert_eq!(end, Iteration::Converged);
            // ‖g‖∞ ≤ 1e-9, and the smallest curvature there is about 0.4.
            assert!(theta.iter().all(|x| (x - 1.0).abs() < 1e-8), "{theta:?}");
            assert!(iterations < evaluations && iterations < 200, "{iterations}");
        }
    }

    #[test]
    fn curvatures_that_differ_by_a_factor_of_1000_take_few_iterations() {
        let (iterations, _, theta, end) = minimize(LBFGS, bowl, [1.0, -1.0, 1.0, 0.5]);
        assert_eq!(end, Iteration::Converged);
        assert!(theta.iter().all(|x| x.abs() <= 1e-9), "{theta:?}");
        assert!(iterations < 40, "{iterations}");
    }

    #[test]
    fn a_gradient_of_the_wrong_sign_ends_stuck_and_leaves_theta_unchanged() {
        let wrong: LbfgsObjective = |theta, gradient| {
            let value = bowl(theta, gradient);
            gradient.iter_mut().for_each(|slope| *slope = -*slope);
            value
        };
        let start = [1.0, -1.0, 1.0, 0.5];
        let (iterations, evaluations, theta, end) = minimize(LBFGS, wrong, start);
        assert_eq!((iterations, end), (0, Iteration::Stuck));
        assert_eq!(theta, start);
        assert_eq!(evaluations, 1 + 20);
    }

    #[test]
    fn a_first_value_that_is_not_finite_is_reported() {
        let not_finite: LbfgsObjective = |_, _| f64::NAN;
        let (_, evaluations, _, end) = minimize(LBFGS, not_finite, [1.0; 4]);
        assert_eq!((evaluations, end), (1, Iteration::NotFinite));
    }

    #[test]
    fn one_partial_derivative_that_is_not_a_number_is_reported() {
        for position in 0..4 {
            let layout = Arc::new(Layout::new(&[4, 1], false));
            let mut theta = Parameters::from_flat(layout, vec![1.0; 4]);
            let outcome = LBFGS
                .iterate(&mut theta, &mut None, |theta, gradient| {
                    let value = bowl(theta.flat(), gradient.flat_mut());
                    gradient.flat_mut()[position] = f64::NAN;
                    Ok::<_, Infallible>(value)
                })
                .unwrap();
            assert_eq!(outcome, Iteration::NotFinite, "element {position}");
        }
    }

    #[test]
    fn an_evaluation_that_fails_leaves_theta_and_history_unchanged() {
        let layout = Arc::new(Layout::new(&[4, 1], false));
        let start = Parameters::from_flat(layout, vec![-1.2, 1.0, 0.5, -2.0]);
        let mut reference = (start.clone(), None);
        let right = |theta: &Parameters<f64>, gradient: &mut Parameters<f64>| {
            Ok::<_, ()>(rosenbrock(theta.flat(), gradient.flat_mut()))
        };
        for _ in 0..5 {
            LBFGS
                .iterate(&mut reference.0, &mut reference.1, right)
                .unwrap();
        }
        let (before, mut theta, mut history) =
            (reference.clone(), reference.0.clone(), reference.1.clone());
        LBFGS
            .iterate(&mut theta, &mut history, |_, _| Err(()))
            .unwrap_err();
        assert_eq!((theta, history), before);

        // The same in the second search, along the negative gradient: the pairs are kept.
        let (mut theta, mut history, mut left) = (before.0.clone(), before.1.clone(), 25);
        LBFGS
            .iterate(&mut theta, &mut history, |theta, gradient| {
                left -= 1;
                right(theta, gradient)?;
                if left == 0 { Err(()) } else { Ok(f64::NAN) }
            })
            .unwrap_err();
        assert_eq!((theta, history, left), (before.0, before.1, 0));
    }

    #[test]
    fn a_history_of_more_pairs_than_configured_keeps_the_last_ones() {
        let layout = Arc::new(Layout::new(&[4, 1], false));
        let mut theta = Parameters::from_flat(layout, vec![-1.2, 1.0, 0.5, -2.0]);
        let mut history = None;
        let mut iterate = |memory, history: &mut Option<History<f64>>| {
            let config = LbfgsConfig { memory, ..LBFGS };
            let right = |theta: &Parameters<f64>, gradient: &mut Parameters<f64>| {
                Ok::<_, Infallible>(rosenbrock(theta.flat(), gradient.flat_mut()))
            };
            config.iterate(&mut theta, history, right).unwrap();
            history.as_ref().unwrap().pairs.clone()
        };
        let mut before = VecDeque::new();
        for _ in 0..8 {
            before = iterate(10, &mut history);
        }
        assert!(before.len() > 4, "{} pairs", before.len());
        let after = iterate(3, &mut history);
        assert_eq!(after.len(), 3);
        assert_eq!(after[1], before[before.len() - 1]);
    }

    #[test]
    fn pairs_are_dropped_if_only_the_gradient_finds_a_step_and_kept_if_no_search_does() {
        let layout = Arc::new(Layout::new(&[4, 1], false));
        let mut theta = Parameters::from_flat(layout, vec![1.0, -1.0, 1.0, 0.5]);
        let mut history = None;
        let right = |theta: &Parameters<f64>, gradient: &mut Parameters<f64>| {
            Ok::<_, Infallible>(bowl(theta.flat(), gradient.flat_mut()))
        };
        for _ in 0..3 {
            LBFGS.iterate(&mut theta, &mut history, right).unwrap();
        }
        let before = (theta.clone(), history.clone());
        assert!(!before.1.as_ref().unwrap().pairs.is_empty());
        let not_finite =
            |_: &Parameters<f64>, _: &mut Parameters<f64>| Ok::<_, Infallible>(f64::NAN);
        let end = LBFGS.iterate(&mut theta, &mut history, not_finite).unwrap();
        assert_eq!(end, Iteration::Stuck);
        assert_eq!((&theta, &history), (&before.0, &before.1));

        let mut evaluations = 0;
        LBFGS
            .iterate(&mut theta, &mut history, |theta, gradient| {
                evaluations += 1;
                let value = right(theta, gradient)?;
                Ok::<_, Infallible>(if evaluations > 20 { value } else { f64::NAN })
            })
            .unwrap();
        assert_ne!(theta, before.0);
        let pairs = &history.unwrap().pairs;
        assert_eq!(
            pairs.len(),
            1,
            "only the pair of the step along the gradient"
        );
    }
}
