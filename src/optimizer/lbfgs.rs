//! L-BFGS: Newton's direction from the last few changes of θ and of its gradient.
//!
//! Nocedal and Wright, "Numerical Optimization" (2nd edition), algorithms 7.4 (the two-loop
//! recursion) and 7.5, H₀ = γI by their equation 7.20, with a strong Wolfe line search. The objective
//! must be the same function at every call: whole training set, rows in order.
//!
//! All sums are double precision, in the order of θ, so the bits depend on nothing but θ and the
//! gradients. θ, gradients and pairs have the precision of the run.

use std::collections::VecDeque;
use std::sync::Arc;

use super::line_search::{LineSearchResult, StepPoint, strong_wolfe};
use crate::model::Parameters;
use crate::numeric::Real;

/// `kind = "lbfgs"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LbfgsConfig {
    /// m: pairs of changes kept.
    pub memory: usize,
    /// Converged once the gradient's largest |element| is at most this.
    pub tolerance: f64,
}

/// What L-BFGS remembers.
#[derive(Clone, Debug, PartialEq)]
pub struct History<R> {
    /// The objective at θ.
    pub value: f64,
    /// Its gradient at θ.
    pub gradient: Parameters<R>,
    /// s = the change of θ, y = the change of the gradient: the last m, from the oldest on.
    pub pairs: VecDeque<(Vec<R>, Vec<R>)>,
}

impl<R: Real> History<R> {
    /// ‖g‖∞.
    pub fn largest(&self) -> f64 {
        let sizes = self.gradient.flat().iter().map(|g| g.to_f64().abs());
        // Not `f64::max`: it would pass over what is not a number.
        sizes.fold(0.0, |most, size| if size <= most { most } else { size })
    }

    /// −∇f.
    fn downhill(&self) -> Vec<f64> {
        self.gradient.flat().iter().map(|g| -g.to_f64()).collect()
    }

    /// −H∇f by the two-loop recursion. Cost: 4mN multiplications, and 2mN for the pairs' own products.
    fn direction(&self) -> Vec<f64> {
        let mut direction = self.downhill();
        let mut factors = Vec::with_capacity(self.pairs.len());
        for (s, y) in self.pairs.iter().rev() {
            let factor = dot(s, direction.iter().copied()) / product(s, y);
            factors.push(factor);
            add(&mut direction, -factor, y);
        }
        if let Some((s, y)) = self.pairs.back() {
            let gamma = product(s, y) / product(y, y);
            for element in &mut direction {
                *element *= gamma;
            }
        }
        for ((s, y), factor) in self.pairs.iter().zip(factors.into_iter().rev()) {
            let beta = dot(y, direction.iter().copied()) / product(s, y);
            add(&mut direction, factor - beta, s);
        }
        direction
    }
}

/// What an iteration came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Iteration {
    /// θ is another one now.
    Moved {
        /// α of θ + αd.
        step: f64,
    },
    /// The gradient at θ is within the tolerance already; θ is where it was.
    Converged,
    /// Neither along L-BFGS's direction nor along the gradient does the objective fall; θ and the
    /// history are as they were.
    Stuck,
    /// The objective or the gradient at the first θ is not finite.
    NotFinite,
}

impl LbfgsConfig {
    /// One iteration from θ on. `evaluate` gives the objective at a θ and overwrites the gradient;
    /// it is called once for each trial step, mostly once, and once more at the very first θ.
    ///
    /// # Errors
    /// Whatever `evaluate` refuses; θ and the history are then as they were.
    pub fn iterate<R: Real, E>(
        &self,
        theta: &mut Parameters<R>,
        history: &mut Option<History<R>>,
        mut evaluate: impl FnMut(&Parameters<R>, &mut Parameters<R>) -> Result<f64, E>,
    ) -> Result<Iteration, E> {
        let mut gradient = Parameters::zeros(Arc::clone(theta.layout()));
        let mut held = match history.take() {
            Some(held) => held,
            None => {
                let value = evaluate(theta, &mut gradient)?;
                History {
                    value,
                    gradient: gradient.clone(),
                    pairs: VecDeque::with_capacity(self.memory),
                }
            }
        };
        let outcome = self.search(theta, &mut held, &mut gradient, &mut evaluate);
        *history = Some(held);
        outcome
    }

    /// From θ with its gradient to the next θ. `gradient` is room for one.
    fn search<R: Real, E>(
        &self,
        theta: &mut Parameters<R>,
        held: &mut History<R>,
        gradient: &mut Parameters<R>,
        evaluate: &mut impl FnMut(&Parameters<R>, &mut Parameters<R>) -> Result<f64, E>,
    ) -> Result<Iteration, E> {
        let largest = held.largest();
        if !held.value.is_finite() || !largest.is_finite() {
            return Ok(Iteration::NotFinite);
        }
        if largest <= self.tolerance {
            return Ok(Iteration::Converged);
        }
        let mut trial = theta.clone();
        // Where the pairs lead nowhere, along the gradient; if that fails too, nothing is left. They
        // are kept until a step is found: an iteration that is made again begins with them.
        let tries: &[bool] = match held.pairs.len() {
            0 => &[false],
            _ => &[true, false],
        };
        for &remembered in tries {
            let direction = if remembered {
                held.direction()
            } else {
                held.downhill()
            };
            let slope = dot(held.gradient.flat(), direction.iter().copied());
            if slope >= 0.0 || slope.is_nan() {
                continue;
            }
            let first = if remembered {
                1.0
            } else {
                (1.0 / (-slope).sqrt()).min(1.0)
            };
            let start = StepPoint {
                step: 0.0,
                value: held.value,
                slope,
            };
            let mut at = |step: f64| {
                let numbers = trial.flat_mut().iter_mut().zip(theta.flat());
                for ((trial, theta), along) in numbers.zip(&direction) {
                    *trial = R::from_f64(theta.to_f64() + step * along);
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
            if !remembered {
                held.pairs.clear();
            }
            self.keep(held, theta, &trial, gradient);
            held.value = point.value;
            std::mem::swap(&mut held.gradient, gradient);
            *theta = trial;
            return Ok(Iteration::Moved { step: point.step });
        }
        Ok(Iteration::Stuck)
    }

    /// Keeps the pair of a step, if its curvature is positive: else H would not stay so.
    fn keep<R: Real>(
        &self,
        held: &mut History<R>,
        theta: &Parameters<R>,
        trial: &Parameters<R>,
        gradient: &Parameters<R>,
    ) {
        let changes = |after: &Parameters<R>, before: &Parameters<R>| -> Vec<R> {
            let pairs = after.flat().iter().zip(before.flat());
            pairs.map(|(&after, &before)| after - before).collect()
        };
        let (s, y) = (changes(trial, theta), changes(gradient, &held.gradient));
        if product(&s, &y) > f64::EPSILON * product(&y, &y) {
            // More than one too many, where a resumed run is to remember fewer.
            while held.pairs.len() >= self.memory {
                held.pairs.pop_front();
            }
            held.pairs.push_back((s, y));
        }
    }
}

/// Σ a_i b_i in order.
fn dot<R: Real>(a: &[R], b: impl Iterator<Item = f64>) -> f64 {
    a.iter()
        .zip(b)
        .fold(0.0, |sum, (a, b)| sum + a.to_f64() * b)
}

fn product<R: Real>(a: &[R], b: &[R]) -> f64 {
    dot(a, b.iter().map(|b| b.to_f64()))
}

/// `vector` + `factor` · `other`.
fn add<R: Real>(vector: &mut [f64], factor: f64, other: &[R]) {
    for (element, other) in vector.iter_mut().zip(other) {
        *element += factor * other.to_f64();
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

    /// (1 − x)² + 100(y − x²)², in each pair of parameters.
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

    /// Σ 10^i x_i²/2.
    fn bowl(theta: &[f64], gradient: &mut [f64]) -> f64 {
        let mut sum = 0.0;
        for (power, (x, slope)) in theta.iter().zip(gradient).enumerate() {
            let curvature = 10f64.powi(power as i32);
            sum += 0.5 * curvature * x * x;
            *slope = curvature * x;
        }
        sum
    }

    /// Runs to the end; iterations, evaluations, θ and the last outcome.
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
        panic!("no end");
    }

    #[test]
    fn rosenbrock_s_valley_is_walked_to_its_end() {
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
    fn curvatures_a_thousandfold_apart_take_few_iterations() {
        let (iterations, _, theta, end) = minimize(LBFGS, bowl, [1.0, -1.0, 1.0, 0.5]);
        assert_eq!(end, Iteration::Converged);
        assert!(theta.iter().all(|x| x.abs() <= 1e-9), "{theta:?}");
        assert!(iterations < 40, "{iterations}");
    }

    #[test]
    fn a_gradient_that_points_uphill_is_stuck_and_leaves_theta() {
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
    fn a_first_value_that_is_not_finite_is_told() {
        let nowhere: LbfgsObjective = |_, _| f64::NAN;
        let (_, evaluations, _, end) = minimize(LBFGS, nowhere, [1.0; 4]);
        assert_eq!((evaluations, end), (1, Iteration::NotFinite));
    }

    #[test]
    fn an_evaluation_that_is_refused_leaves_everything_as_it_was() {
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

        // In the second search, the one along the gradient: the pairs are still there.
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
    fn a_history_of_more_pairs_than_are_asked_for_keeps_the_last() {
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
    fn pairs_that_lead_nowhere_are_given_up_for_the_gradient_and_kept_where_it_fails_too() {
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
        let nowhere = |_: &Parameters<f64>, _: &mut Parameters<f64>| Ok::<_, Infallible>(f64::NAN);
        let end = LBFGS.iterate(&mut theta, &mut history, nowhere).unwrap();
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
