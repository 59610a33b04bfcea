//! The check of a gradient of any function: element by element, or along random directions with a
//! search for the wrong elements.
//!
//! *Directions.* An error e of the gradient changes the derivative along a Gaussian direction v by
//! e·v, which is distributed as N(0, ‖e‖²), whatever e is. It is missed where |e·v| stays within
//! twice the bound τ of the difference, along all K directions:
//!
//! ```text
//! P(missed) ≤ Π_k min(1, √(2/π)·2τ_k/‖e‖)
//! ```
//!
//! The components of v are multiplied by max(1, |θᵢ|), so the error that counts is e·max(1, |θ|).
//!
//! *Search.* Where one of the first directions disagrees, no more are tried: its parameters are halved
//! down to the wrong elements (`element_search.rs`). Each element that is found is then compared by
//! itself, within its own bound; with these corrected, the directions are compared again.

use ndarray_rand::rand_distr::Distribution;

use super::element_search::Search;
use super::function::{self, Comparison, TOLERANCE, Verdict};
use super::line::{OnLine, finite};
use super::taylor_remainder::TaylorRemainders;
use crate::gradient::finite_difference::bounded::{
    BoundedDerivative, BoundedDerivatives, deviations,
};
use crate::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use crate::gradient::finite_difference::objective_noise::{NearbyNoise, noise_near};
use crate::gradient::finite_difference::quotient::quotient;
use crate::model::Objective;
use crate::numeric::random::{Gaussian, Purpose, stream};
use crate::numeric::{Precision, Real};
use crate::parallel::EvaluationThreads;

/// The number of times that θ itself is evaluated, to see whether the function is deterministic.
const VISITS: usize = 3;
/// The number of directions that are compared before others are tried.
const FIRST: usize = 2;
/// The number of wrong elements after which the search for more ends.
const MOST_FOUND: usize = 20;

/// A function near θ, and a gradient that is to be checked there.
pub struct ObjectiveCheck<'a> {
    pub(super) objective: &'a dyn Objective,
    pub(super) theta: &'a [f64],
    gradient: &'a [f64],
    pub(super) threads: EvaluationThreads<'a>,
    /// The value at θ.
    pub value: f64,
    /// The noise of the values near θ; a deviation of 0 if it could not be measured.
    pub noise: NearbyNoise,
    /// The unit round-off of the precision in which the function seems to compute.
    unit: f64,
    /// The largest difference of two values at θ itself: 0 if the function is deterministic.
    pub repeat_difference: f64,
}

/// The derivative along one direction, by the gradient and by differences.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ComparedDirection {
    /// v·g of the given gradient.
    pub theirs: f64,
    /// The difference.
    pub ours: f64,
    /// The bound of the difference's error.
    pub bound: f64,
}

impl ComparedDirection {
    fn agrees(&self) -> bool {
        (self.theirs - self.ours).abs() <= self.bound
    }

    /// Returns the difference of both in units of its bound.
    pub(super) fn excess(&self) -> f64 {
        (self.theirs - self.ours).abs() / self.bound.max(f64::MIN_POSITIVE)
    }
}

/// The result of a check along random directions.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionsCheck {
    /// Each direction that was compared, before any correction: fewer than were wanted if the first
    /// ones disagree.
    pub directions: Vec<ComparedDirection>,
    /// The wrong elements that the search found, in order of their index, each compared by itself.
    pub wrong: Vec<Comparison>,
    /// Whether, with these corrected, all directions agree; else more elements are wrong.
    pub complete: bool,
    /// ‖g·max(1, |θ|)‖₂, element by element.
    pub norm: f64,
}

impl DirectionsCheck {
    /// Returns whether every direction agrees.
    pub fn agrees(&self) -> bool {
        self.directions.iter().all(ComparedDirection::agrees)
    }

    /// Bounds the probability that an error of this size, relative to the gradient's norm, agrees
    /// along all directions.
    pub fn miss_probability(&self, relative_error: f64) -> f64 {
        let size = relative_error * self.norm;
        let missed = |direction: &ComparedDirection| {
            let within = (2.0 / std::f64::consts::PI).sqrt() * 2.0 * direction.bound / size;
            if within < 1.0 { within } else { 1.0 }
        };
        self.directions.iter().map(missed).product()
    }
}

impl<'a> ObjectiveCheck<'a> {
    /// Evaluates θ itself a few times and measures the noise near it.
    ///
    /// `gradient` and `theta` are `(N,)`. Cost: 3 evaluations at θ, and 9 for each spacing at which
    /// the noise is looked for, mostly 1; 16 more if it is well above the round-off of a double.
    ///
    /// # Errors
    /// [`Failure`]: θ is empty or not finite, or the function fails there.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn new(
        objective: &'a dyn Objective,
        theta: &'a [f64],
        gradient: &'a [f64],
        threads: EvaluationThreads<'a>,
    ) -> Result<Self, Failure> {
        assert_eq!(theta.len(), gradient.len(), "θ and its gradient");
        if theta.is_empty() {
            return Err(Failure::NoParameters);
        }
        if let Some(index) = theta.iter().position(|value| !value.is_finite()) {
            return Err(Failure::Theta {
                parameter: objective.name(index),
                value: theta[index],
            });
        }
        let mut values = [0.0; VISITS];
        for value in &mut values {
            *value = at_theta(objective, theta)?;
        }
        let largest = values.iter().copied().fold(f64::MIN, f64::max);
        let repeat_difference = largest - values.iter().copied().fold(f64::MAX, f64::min);
        let mut noise = match noise_near(objective, (theta, values[0]), threads) {
            Ok(noise) => noise,
            // The function ends on that line; its partial derivatives may exist.
            Err(Failure::NotFinite { .. } | Failure::Function { .. }) => NearbyNoise {
                deviation: 0.0,
                freedom: VISITS as u32 - 1,
                magnitude: largest.abs(),
                relative: true,
                single: false,
                evaluations: 0,
            },
            Err(failure) => return Err(failure),
        };
        noise.deviation = noise.deviation.max(repeat_difference / 2.0);
        let single = noise.single || objective.precision() == Precision::F32;
        Ok(Self {
            objective,
            theta,
            gradient,
            threads,
            value: values[0],
            noise,
            unit: if single {
                f32::UNIT_ROUNDOFF
            } else {
                f64::UNIT_ROUNDOFF
            },
            repeat_difference,
        })
    }

    /// Returns every partial derivative with its bound: 6 evaluations each, more where the function
    /// is steep, ends near θ or is noisy.
    ///
    /// # Errors
    /// [`Failure`], of the first parameter in order.
    pub fn derivatives(&self) -> Result<Vec<BoundedDerivative>, Failure> {
        let elements = self.theta.len();
        let bounded = self.bounded(self.objective, self.theta, elements);
        let results = self
            .threads
            .map(elements, |index| bounded.derivative(index));
        let results = results.map_err(|error| Failure::Threads(error.to_string()))?;
        results.into_iter().collect()
    }

    /// Returns every partial derivative with its bound from values on one side of θ, which
    /// [`derivatives`](Self::derivatives) takes only where there are none on the other: 4 evaluations
    /// each, but larger bounds.
    ///
    /// # Errors
    /// [`Failure`], of the first parameter in order.
    pub fn one_sided_derivatives(&self) -> Result<Vec<BoundedDerivative>, Failure> {
        let elements = self.theta.len();
        let bounded = self.bounded(self.objective, self.theta, elements);
        let results = self.threads.map(elements, |index| bounded.one_sided(index));
        let results = results.map_err(|error| Failure::Threads(error.to_string()))?;
        results.into_iter().collect()
    }

    /// Compares the gradient with `derivatives`.
    pub fn verdict(&self, derivatives: &[BoundedDerivative]) -> Verdict {
        function::verdict(self.gradient, derivatives)
    }

    /// Returns each element of the gradient beside its derivative.
    pub fn comparisons(&self, derivatives: &[BoundedDerivative]) -> Vec<Comparison> {
        let pairs = self.gradient.iter().zip(derivatives).enumerate();
        pairs
            .map(|(index, (&theirs, derivative))| function::compare(index, theirs, derivative))
            .collect()
    }

    /// Compares the gradient along `count` random directions, and searches the wrong elements if
    /// they disagree. A gradient with elements that are not finite is wrong in these.
    ///
    /// Cost: 6 evaluations a direction, and about 2·log₂ N + 6 for each wrong element. If the first 2
    /// directions disagree, the others are compared only if these do not tell which elements are wrong.
    ///
    /// # Errors
    /// [`Failure`] of an evaluation.
    pub fn directions(&self, count: usize) -> Result<DirectionsCheck, Failure> {
        let scales: Vec<f64> = (self.theta.iter())
            .map(|value| value.abs().max(1.0))
            .collect();
        let (mut corrected, mut found) = self.without_odd_elements()?;
        let norm = first_norm(&corrected, &scales);
        let directions = random_directions(count, &scales);
        let mut derivatives = Vec::new();
        let mut first = Vec::new();
        let mut complete = true;
        for end in [FIRST.min(count), count] {
            let part = &directions[derivatives.len()..end];
            let results = self
                .threads
                .map(part.len(), |k| self.along(&part[k], count));
            let results = results.map_err(|error| Failure::Threads(error.to_string()))?;
            for (v, derivative) in part.iter().zip(results) {
                let derivative = derivative?;
                first.push(directional(&corrected, v, &derivative));
                derivatives.push(derivative);
            }
            let before = found.len();
            complete = self.correct(&directions, &derivatives, &mut corrected, &mut found)?;
            if complete && found.len() > before {
                break;
            }
        }
        found.sort_by_key(|compared| compared.index);
        Ok(DirectionsCheck {
            directions: first,
            wrong: found,
            complete,
            norm,
        })
    }

    /// Returns the gradient with elements that are finite, and comparisons of those that were not.
    fn without_odd_elements(&self) -> Result<(Vec<f64>, Vec<Comparison>), Failure> {
        let mut corrected = self.gradient.to_vec();
        let mut found = Vec::new();
        for (index, element) in corrected.iter_mut().enumerate() {
            if element.is_finite() {
                continue;
            }
            *element = 0.0;
            if found.len() < MOST_FOUND {
                let compared = self.element(index)?;
                *element = compared.ours;
                found.push(compared);
            }
        }
        Ok((corrected, found))
    }

    /// Searches wrong elements as long as one of `derivatives`, along the first of `directions`,
    /// disagrees; corrects them and adds them to `found`. Returns whether all agree then.
    fn correct(
        &self,
        directions: &[Vec<f64>],
        derivatives: &[BoundedDerivative],
        corrected: &mut [f64],
        found: &mut Vec<Comparison>,
    ) -> Result<bool, Failure> {
        loop {
            let pairs = directions.iter().zip(derivatives);
            let compared: Vec<ComparedDirection> = pairs
                .map(|(v, derivative)| directional(corrected, v, derivative))
                .collect();
            let disagrees = |&k: &usize| !compared[k].agrees();
            // The direction that shows the error most clearly.
            let excess =
                |&a: &usize, &b: &usize| compared[a].excess().total_cmp(&compared[b].excess());
            let Some(k) = (0..compared.len()).filter(disagrees).max_by(excess) else {
                return Ok(true);
            };
            if found.len() >= MOST_FOUND {
                return Ok(false);
            }
            let search = Search {
                check: self,
                direction: &directions[k],
                gradient: corrected,
                h: derivatives[k].central,
            };
            let before = found.len();
            for index in search.suspects(&compared[k])? {
                let compared = self.element(index)?;
                if compared.bounds() > 1.0
                    && found.iter().all(|other: &Comparison| other.index != index)
                {
                    corrected[index] = compared.ours;
                    found.push(compared);
                }
            }
            if found.len() == before {
                return Ok(false);
            }
        }
    }

    /// Returns what Taylor's first-order remainder along a random direction does as the distance
    /// shrinks: 4 evaluations.
    ///
    /// # Errors
    /// [`Failure`] of an evaluation.
    pub fn taylor_remainders(&self) -> Result<TaylorRemainders, Failure> {
        let scales: Vec<f64> = (self.theta.iter())
            .map(|value| value.abs().max(1.0) / (self.theta.len() as f64).sqrt())
            .collect();
        let direction = &random_directions(1, &scales)[0];
        let products = self.gradient.iter().zip(direction).map(|(g, v)| g * v);
        let line = OnLine {
            objective: self.objective,
            theta: self.theta,
            direction,
        };
        let floor = self.unit * self.value.abs();
        let noise = self.noise.deviation.max(floor);
        TaylorRemainders::new(&line, self.value, products.sum(), noise, self.threads)
    }

    /// Returns plain central differences of element `index`, each after its h: from 2⁻² to 2⁻⁴⁴ times
    /// max(1, |θ|), as far as the function has values there. 30 evaluations.
    ///
    /// # Errors
    /// [`Failure::Threads`].
    pub fn central_differences(&self, index: usize) -> Result<Vec<(f64, f64)>, Failure> {
        let mut direction = vec![0.0; self.theta.len()];
        direction[index] = self.theta[index].abs().max(1.0);
        let line = OnLine {
            objective: self.objective,
            theta: self.theta,
            direction: &direction,
        };
        let steps: Vec<f64> = (2..=44).step_by(3).map(|k| 0.5f64.powi(k)).collect();
        let values = self.threads.map(2 * steps.len(), |number| {
            let sign = if number % 2 == 0 { 1.0 } else { -1.0 };
            line.finite(sign * steps[number / 2])
        });
        let values = values.map_err(|error| Failure::Threads(error.to_string()))?;
        let pairs = steps.iter().zip(values.chunks(2));
        let points = pairs.filter_map(|(step, pair)| match pair {
            [Ok(high), Ok(low)] => {
                let h = step * direction[index];
                Some((h, quotient(high - low, 2.0 * h)))
            }
            _ => None,
        });
        Ok(points.collect())
    }

    /// Compares one element by itself.
    fn element(&self, index: usize) -> Result<Comparison, Failure> {
        let bounded = self.bounded(self.objective, self.theta, MOST_FOUND);
        let derivative = bounded.derivative(index)?;
        Ok(function::compare(index, self.gradient[index], &derivative))
    }

    /// Returns the derivative along `direction`, one of `count`, with its bound.
    fn along(&self, direction: &[f64], count: usize) -> Result<BoundedDerivative, Failure> {
        let line = OnLine {
            objective: self.objective,
            theta: self.theta,
            direction,
        };
        self.bounded(&line, &[0.0], count).derivative(0)
    }

    fn bounded<'b>(
        &self,
        objective: &'b dyn Objective,
        theta: &'b [f64],
        elements: usize,
    ) -> BoundedDerivatives<'b> {
        BoundedDerivatives {
            objective,
            theta,
            value: self.value,
            noise: self.noise,
            unit: self.unit,
            deviations: deviations(elements, self.noise.freedom),
        }
    }
}

/// Returns `count` random directions, whose components have the deviations `scales`.
fn random_directions(count: usize, scales: &[f64]) -> Vec<Vec<f64>> {
    let mut random = stream(0, Purpose::Directions);
    let mut direction = || {
        let component = |scale: &f64| scale * f64::from(Gaussian.sample(&mut random) as f32);
        scales.iter().map(component).collect()
    };
    (0..count).map(|_| direction()).collect()
}

/// Returns ‖g·scales‖₂.
fn first_norm(gradient: &[f64], scales: &[f64]) -> f64 {
    let products = gradient.iter().zip(scales);
    products
        .map(|(g, scale)| (g * scale).powi(2))
        .sum::<f64>()
        .sqrt()
}

/// Compares v·g with the derivative along v.
fn directional(gradient: &[f64], v: &[f64], derivative: &BoundedDerivative) -> ComparedDirection {
    let products = || gradient.iter().zip(v).map(|(g, v)| g * v);
    // The round-off of each element of the gradient, and of the sum.
    let rounding = TOLERANCE * products().map(f64::abs).sum::<f64>();
    ComparedDirection {
        theirs: products().sum(),
        ours: derivative.derivative,
        bound: derivative.bound + rounding,
    }
}

fn at_theta(objective: &dyn Objective, theta: &[f64]) -> Result<f64, Failure> {
    finite(objective.try_value(theta), EvaluationPoint::Theta)
}
