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
//! *Search.* Where a direction disagrees, its parameters are halved: the derivative along v with
//! the others at rest is compared for one half (2 evaluations), and the other half's follows by
//! subtraction. So one wrong element of 10⁵ takes some 17 pairs of evaluations. Each element that is
//! found is then compared by itself, within its own bound; with these corrected, the directions are
//! compared again.

use ndarray_rand::rand_distr::Distribution;

use super::function::{self, Comparison, Verdict};
use crate::gradient::finite_difference::bounded::{BoundedDerivative, BoundedDerivatives};
use crate::gradient::finite_difference::failure::{EvaluationPoint, Failure};
use crate::gradient::finite_difference::objective_noise::{NearbyNoise, noise_near};
use crate::gradient::finite_difference::quotient::quotient;
use crate::model::Objective;
use crate::numeric::random::{Gaussian, Purpose, stream};
use crate::numeric::{Precision, Real};
use crate::parallel::EvaluationThreads;

/// The number of times that θ itself is evaluated, to see whether the function is deterministic.
const VISITS: usize = 3;
/// The number of wrong elements after which the search for more ends.
const MOST_FOUND: usize = 20;
/// The disagreement, in multiples of a direction's bound, up to which a part counts as right.
const QUIET: f64 = 2.0;
/// The share of the whole disagreement, as a divisor, up to which a part is left for a later search.
const LOUD: f64 = 8.0;
/// The largest number of elements that one search finds.
const MOST_SUSPECTS: usize = 8;

/// A function near θ, and a gradient that is to be checked there.
pub struct ObjectiveCheck<'a> {
    objective: &'a dyn Objective,
    theta: &'a [f64],
    gradient: &'a [f64],
    threads: EvaluationThreads<'a>,
    /// The value at θ.
    pub value: f64,
    /// The standard deviation of the values' noise near θ; 0 if it could not be measured.
    pub noise: f64,
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
    fn excess(&self) -> f64 {
        (self.theirs - self.ours).abs() / self.bound.max(f64::MIN_POSITIVE)
    }
}

/// The result of a check along random directions.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectionsCheck {
    /// Each direction, before any correction.
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
    /// the noise is looked for, mostly 1 to 3.
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
        let noise = match noise_near(objective, theta, threads) {
            Ok(noise) => noise,
            // The function ends on that line; its partial derivatives may exist.
            Err(Failure::NotFinite { .. } | Failure::Function { .. }) => NearbyNoise {
                deviation: 0.0,
                single: false,
            },
            Err(failure) => return Err(failure),
        };
        let single = noise.single || objective.precision() == Precision::F32;
        Ok(Self {
            objective,
            theta,
            gradient,
            threads,
            value: values[0],
            noise: noise.deviation.max(repeat_difference / 2.0),
            unit: if single {
                f32::UNIT_ROUNDOFF
            } else {
                f64::UNIT_ROUNDOFF
            },
            repeat_difference,
        })
    }

    /// Returns every partial derivative with its bound: 6 evaluations each, more where the function
    /// is steep or ends near θ.
    ///
    /// # Errors
    /// [`Failure`], of the first parameter in order.
    pub fn derivatives(&self) -> Result<Vec<BoundedDerivative>, Failure> {
        let bounded = self.bounded(self.objective, self.theta);
        let results = self
            .threads
            .map(self.theta.len(), |index| bounded.derivative(index));
        let results = results.map_err(|error| Failure::Threads(error.to_string()))?;
        results.into_iter().collect()
    }

    /// Compares the gradient with `derivatives`.
    pub fn verdict(&self, derivatives: &[BoundedDerivative]) -> Verdict {
        function::verdict(self.gradient, derivatives)
    }

    /// Compares the gradient along `count` random directions, and searches the wrong elements if
    /// they disagree. A gradient with elements that are not finite is wrong in these.
    ///
    /// Cost: 6 evaluations a direction, and about 2·log₂ N + 6 for each wrong element.
    ///
    /// # Errors
    /// [`Failure`] of an evaluation.
    pub fn directions(&self, count: usize) -> Result<DirectionsCheck, Failure> {
        let mut corrected = self.gradient.to_vec();
        let mut found = Vec::new();
        let odd = |&index: &usize| !self.gradient[index].is_finite();
        for index in (0..corrected.len()).filter(odd).take(MOST_FOUND) {
            found.push(self.element(index)?);
        }
        let scales: Vec<f64> = self
            .theta
            .iter()
            .map(|value| value.abs().max(1.0))
            .collect();
        for (element, index) in corrected.iter_mut().zip(0..) {
            let ours = found.iter().find(|compared| compared.index == index);
            if !element.is_finite() {
                *element = ours.map_or(0.0, |compared| compared.ours);
            }
        }
        let directions = random_directions(count, &scales);
        let derivatives = self
            .threads
            .map(count, |k| self.along(&directions[k]))
            .map_err(|error| Failure::Threads(error.to_string()))?;
        let derivatives: Vec<BoundedDerivative> =
            derivatives.into_iter().collect::<Result<_, _>>()?;
        let compare = |gradient: &[f64]| -> Vec<ComparedDirection> {
            let pairs = directions.iter().zip(&derivatives);
            pairs
                .map(|(v, derivative)| directional(gradient, v, derivative))
                .collect()
        };
        let first = compare(&corrected);
        let norm = first_norm(&corrected, &scales);
        let mut complete;
        loop {
            let compared = compare(&corrected);
            let disagrees = |&k: &usize| !compared[k].agrees();
            // The direction that shows the error most clearly.
            let excess =
                |&a: &usize, &b: &usize| (compared[a].excess()).total_cmp(&compared[b].excess());
            let clearest = (0..count).filter(disagrees).max_by(excess);
            complete = clearest.is_none();
            let Some(k) = clearest.filter(|_| found.len() < MOST_FOUND) else {
                break;
            };
            let search = Search {
                check: self,
                direction: &directions[k],
                gradient: &corrected,
                h: derivatives[k].closest,
            };
            let suspects = search.suspects(&compared[k])?;
            let before = found.len();
            for index in suspects {
                let compared = self.element(index)?;
                if compared.bounds() > 1.0
                    && found.iter().all(|other: &Comparison| other.index != index)
                {
                    corrected[index] = compared.ours;
                    found.push(compared);
                }
            }
            if found.len() == before {
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

    /// Compares one element by itself.
    fn element(&self, index: usize) -> Result<Comparison, Failure> {
        let derivative = self.bounded(self.objective, self.theta).derivative(index)?;
        Ok(function::compare(index, self.gradient[index], &derivative))
    }

    /// Returns the derivative along `direction` with its bound.
    fn along(&self, direction: &[f64]) -> Result<BoundedDerivative, Failure> {
        let line = OnLine {
            objective: self.objective,
            theta: self.theta,
            direction,
        };
        self.bounded(&line, &[0.0]).derivative(0)
    }

    fn bounded<'b>(
        &self,
        objective: &'b dyn Objective,
        theta: &'b [f64],
    ) -> BoundedDerivatives<'b> {
        BoundedDerivatives {
            objective,
            theta,
            value: self.value,
            noise: self.noise,
            unit: self.unit,
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
    let rounding = f64::EPSILON * products().map(f64::abs).sum::<f64>();
    let ours = derivative.derivative;
    let theirs: f64 = products().sum();
    ComparedDirection {
        theirs,
        ours,
        bound: derivative.bound + rounding + 1e-8 * theirs.abs().max(ours.abs()),
    }
}

/// The search for the elements that make a direction disagree.
struct Search<'s, 'a> {
    check: &'s ObjectiveCheck<'a>,
    direction: &'s [f64],
    gradient: &'s [f64],
    h: f64,
}

impl Search<'_, '_> {
    /// Returns elements that may be wrong, by halving.
    fn suspects(&self, whole: &ComparedDirection) -> Result<Vec<usize>, Failure> {
        let size = self.direction.len();
        let total = self.excess(0, size)?;
        // What differences at one distance leave of truncation.
        let truncation = (total - (whole.ours - whole.theirs)).abs();
        let quiet = (QUIET * (whole.bound + truncation)).max(total.abs() / LOUD);
        let mut suspects = Vec::new();
        let mut open = vec![(0, size, total)];
        // The part with the largest disagreement first.
        while let Some(at) = loudest(&open) {
            let (start, end, excess) = open.swap_remove(at);
            if end - start == 1 {
                suspects.push(start);
                if suspects.len() == MOST_SUSPECTS {
                    break;
                }
                continue;
            }
            let middle = start + (end - start) / 2;
            let first = self.excess(start, middle)?;
            let halves = [(start, middle, first), (middle, end, excess - first)];
            let before = open.len();
            open.extend(halves.iter().filter(|half| half.2.abs() > quiet));
            if open.len() == before {
                // Errors that are spread, or no larger than the noise.
                let larger = usize::from(first.abs() < (excess - first).abs());
                open.push(halves[larger]);
            }
        }
        Ok(suspects)
    }

    /// Returns the difference along the components `start..end` of the direction, less what the
    /// gradient says of them.
    fn excess(&self, start: usize, end: usize) -> Result<f64, Failure> {
        let mut part = vec![0.0; self.direction.len()];
        part[start..end].copy_from_slice(&self.direction[start..end]);
        let line = OnLine {
            objective: self.check.objective,
            theta: self.check.theta,
            direction: &part,
        };
        let values = self.check.threads.map(2, |side| {
            let distance = if side == 0 { self.h } else { -self.h };
            line.finite(distance)
        });
        let values = values.map_err(|error| Failure::Threads(error.to_string()))?;
        let values: Vec<f64> = values.into_iter().collect::<Result<_, _>>()?;
        let found = quotient(values[0] - values[1], 2.0 * self.h);
        let said = self.gradient[start..end]
            .iter()
            .zip(&self.direction[start..end]);
        Ok(found - said.map(|(g, v)| g * v).sum::<f64>())
    }
}

/// Returns the place of the part with the largest disagreement.
fn loudest(parts: &[(usize, usize, f64)]) -> Option<usize> {
    let size = |&at: &usize| parts[at].2.abs();
    (0..parts.len()).max_by(|a, b| size(a).total_cmp(&size(b)))
}

/// A function on the line through θ along a direction, as a function of the distance.
struct OnLine<'a> {
    objective: &'a dyn Objective,
    theta: &'a [f64],
    direction: &'a [f64],
}

impl OnLine<'_> {
    fn finite(&self, distance: f64) -> Result<f64, Failure> {
        let place = EvaluationPoint::Line { distance };
        finite(self.try_value(&[distance]), place)
    }
}

impl Objective for OnLine<'_> {
    fn parameters(&self) -> usize {
        1
    }

    fn value(&self, distance: &[f64]) -> f64 {
        self.try_value(distance).unwrap_or(f64::NAN)
    }

    fn try_value(&self, distance: &[f64]) -> Result<f64, String> {
        let moved = self.theta.iter().zip(self.direction);
        let theta: Vec<f64> = moved.map(|(theta, v)| theta + distance[0] * v).collect();
        self.objective.try_value(&theta)
    }

    fn precision(&self) -> Precision {
        self.objective.precision()
    }

    fn name(&self, _: usize) -> String {
        "the distance from θ along a direction".to_owned()
    }
}

fn at_theta(objective: &dyn Objective, theta: &[f64]) -> Result<f64, Failure> {
    finite(objective.try_value(theta), EvaluationPoint::Theta)
}

fn finite(outcome: Result<f64, String>, place: EvaluationPoint) -> Result<f64, Failure> {
    match outcome {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(value) => Err(Failure::NotFinite { value, place }),
        Err(message) => Err(Failure::Function { message, place }),
    }
}
