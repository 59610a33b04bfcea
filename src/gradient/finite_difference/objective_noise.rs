//! The noise of any function near θ, measured along a line.

use ndarray_rand::rand::RngCore;

use super::failure::Failure;
use super::noise::{self, NoiseEstimate, Unmeasured};
use super::objective::scale;
use super::objective_evaluation::ObjectiveEvaluator;
use crate::gradient::Control;
use crate::model::Objective;
use crate::numeric::random::{Purpose, stream};
use crate::numeric::{Precision, Real};
use crate::parallel::EvaluationThreads;

/// Its multiples have fractional parts that are far apart.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;

/// The noise, relative to round-off, from which on more points measure it.
const NOISY: f64 = 1024.0;
/// The number of parts of the spacing where the noise is measured by more points.
const PARTS: i32 = 3;
/// The degree of the polynomial that fits a steep function near θ.
const STEEP: usize = 4;

/// The noise of a function near θ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearbyNoise {
    /// The standard deviation of the values' errors.
    pub deviation: f64,
    /// The degrees of freedom of that estimate.
    pub freedom: u32,
    /// The size |f| of the values that showed it.
    pub magnitude: f64,
    /// Whether the noise of smaller values is smaller: where the function is steep, and its noise but
    /// round-off.
    pub relative: bool,
    /// Whether every value was a number of single precision, so that the function seems to compute
    /// in it: its values may then be equal although it is not constant.
    pub single: bool,
    /// The number of evaluations that measured it.
    pub evaluations: u64,
}

impl NearbyNoise {
    /// Returns the deviation of a value of size |`value`|, if noise grows with the values: unless it is
    /// relative, that of the values near θ at least.
    pub fn at(&self, value: f64) -> f64 {
        let times = value.abs() / self.magnitude;
        if times.is_finite() && (times > 1.0 || self.relative) {
            self.deviation * times
        } else {
            self.deviation
        }
    }
}

/// Returns the noise of `objective` near `theta`, `(N,)`, measured along a random direction by at
/// least [`noise::POINTS`] evaluations: by the differences of equispaced values, and then by their
/// distance from a polynomial. A noise that is well above round-off is measured by 16 points more,
/// between these. Where the function is so steep that its noise cannot be told from its changes by
/// differences, such as near a minimum of 0, a polynomial of degree 4 through 25 close values shows
/// it.
///
/// # Errors
/// [`Failure`] if a value is not finite.
pub fn noise_near<'a>(
    objective: &'a dyn Objective,
    (theta, value): (&'a [f64], f64),
    threads: impl Into<EvaluationThreads<'a>>,
) -> Result<NearbyNoise, Failure> {
    let evaluator = ObjectiveEvaluator {
        objective,
        theta,
        threads: threads.into(),
        control: &Control::default(),
    };
    near(&evaluator, value)
}

/// Measures the noise as [`noise_near`] does. `value` is that at θ or near it.
pub(super) fn near(evaluator: &ObjectiveEvaluator<'_>, value: f64) -> Result<NearbyNoise, Failure> {
    let (objective, theta) = (evaluator.objective, evaluator.theta);
    // Of unequal steps, so that simple functions such as x − y are not constant on the line.
    let mut direction = direction(theta);
    for (index, component) in direction.iter_mut().enumerate() {
        *component *= 0.5 + (GOLDEN_RATIO * index as f64).fract();
    }
    let mut line = ObservedLine {
        evaluator,
        direction: &direction,
        evaluations: 0,
        single: true,
        last: Vec::new(),
        equal: false,
        step: f64::INFINITY,
    };
    let single = objective.precision() == Precision::F32 || is_single(value);
    let mut spacing = first_spacing(single);
    let mut measured = line.measure(spacing);
    if single && !line.single && objective.precision() == Precision::F64 {
        // The value at θ was single by chance, such as 0.
        spacing = first_spacing(false);
        measured = line.measure(spacing);
    }
    let mut steep = false;
    let (points, (deviation, freedom)) = match measured {
        Ok(measured) => {
            let mut points = line.last.clone();
            if line.single || measured.deviation > line.round_off(&points) {
                points.extend(line.between(measured.spacing)?);
            }
            let degree = measured.order.min(noise::POINTS - 2);
            let about = about_polynomial(&points, degree);
            (points, about)
        }
        Err(Failure::Noise(Unmeasured::Constant { .. })) => {
            let points = line.last.clone();
            let about = about_polynomial(&points, 0);
            (points, about)
        }
        Err(Failure::Noise(_)) => {
            steep = true;
            let mut points = line.around(spacing)?;
            points.extend(line.between(spacing)?);
            let about = about_polynomial(&points, STEEP);
            (points, about)
        }
        Err(failure) => return Err(failure),
    };
    let deviation = deviation.max(line.quantum() / 12f64.sqrt());
    Ok(NearbyNoise {
        deviation,
        freedom,
        magnitude: magnitude(&points),
        relative: steep && deviation <= line.round_off(&points),
        single: line.single,
        evaluations: line.evaluations,
    })
}

/// Measures the noise as [`near`] does; where the function has no values on that line, nothing is known
/// of it, and it may be of any size.
pub(super) fn near_or_unknown(
    evaluator: &ObjectiveEvaluator<'_>,
    value: f64,
) -> Result<NearbyNoise, Failure> {
    match near(evaluator, value) {
        Err(Failure::NotFinite { .. } | Failure::Function { .. }) => Ok(NearbyNoise {
            deviation: f64::INFINITY,
            freedom: 1,
            magnitude: value.abs(),
            relative: false,
            single: false,
            evaluations: noise::POINTS as u64,
        }),
        noise => noise,
    }
}

/// Returns what the measurement of an increment says of the noise near θ.
pub(super) fn of_estimate(noise: &NoiseEstimate) -> NearbyNoise {
    NearbyNoise {
        deviation: noise.deviation,
        freedom: noise.freedom(),
        magnitude: noise.magnitude(),
        relative: false,
        single: false,
        evaluations: noise.evaluations,
    }
}

/// A line through θ, and what its values have shown.
struct ObservedLine<'a> {
    evaluator: &'a ObjectiveEvaluator<'a>,
    direction: &'a [f64],
    evaluations: u64,
    /// Whether every value so far was a number of single precision.
    single: bool,
    /// The distances evaluated last, and their values.
    last: Vec<(f64, f64)>,
    /// Whether neighbors were equal.
    equal: bool,
    /// The smallest difference of neighbors, 0 left out.
    step: f64,
}

impl ObservedLine<'_> {
    /// Returns the largest noise of `points` that may be round-off.
    fn round_off(&self, points: &[(f64, f64)]) -> f64 {
        let unit = if self.single {
            f32::UNIT_ROUNDOFF
        } else {
            f64::UNIT_ROUNDOFF
        };
        NOISY * unit * magnitude(points)
    }

    /// Returns the step in which the values change, such as the last digit that a program prints, if
    /// some are equal; else 0. Rounding to such steps errs by 1/√12 of one.
    fn quantum(&self) -> f64 {
        if self.equal && self.step.is_finite() {
            self.step
        } else {
            0.0
        }
    }

    fn measure(&mut self, spacing: f64) -> Result<NoiseEstimate, Failure> {
        noise::measure(spacing, 1, |distances, values| {
            self.values(distances, values)
        })
    }

    /// Evaluates the points of a table.
    fn around(&mut self, spacing: f64) -> Result<Vec<(f64, f64)>, Failure> {
        self.at(spacing, |step| step % PARTS == 0)
    }

    /// Evaluates points between those of a table.
    fn between(&mut self, spacing: f64) -> Result<Vec<(f64, f64)>, Failure> {
        self.at(spacing, |step| step % PARTS != 0)
    }

    fn at(
        &mut self,
        spacing: f64,
        wanted: impl Fn(i32) -> bool,
    ) -> Result<Vec<(f64, f64)>, Failure> {
        let most = noise::POINTS as i32 / 2 * PARTS;
        let steps = (-most..=most).filter(|&step| wanted(step));
        let distances: Vec<f64> = steps
            .map(|step| f64::from(step) * spacing / f64::from(PARTS))
            .collect();
        self.values(&distances, &mut vec![0.0; distances.len()])?;
        Ok(self.last.clone())
    }

    fn values(&mut self, distances: &[f64], values: &mut [f64]) -> Result<(), Failure> {
        on_a_line(self.evaluator, self.direction, distances, values)?;
        self.evaluations += distances.len() as u64;
        self.single &= values.iter().all(|&value| is_single(value));
        for pair in values.windows(2) {
            let step = (pair[1] - pair[0]).abs();
            if step > 0.0 {
                self.step = self.step.min(step);
            } else {
                self.equal = true;
            }
        }
        let pairs = distances.iter().zip(values.iter());
        self.last = pairs.map(|(&distance, &value)| (distance, value)).collect();
        Ok(())
    }
}

fn about_polynomial(points: &[(f64, f64)], degree: usize) -> (f64, u32) {
    let (distances, values): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
    noise::about_polynomial(&distances, &values, degree)
}

/// Returns the largest |value|.
fn magnitude(points: &[(f64, f64)]) -> f64 {
    points
        .iter()
        .fold(0.0, |most, point| point.1.abs().max(most))
}

/// Measures the noise along `direction`.
pub(super) fn along(
    evaluator: &ObjectiveEvaluator<'_>,
    direction: &[f64],
) -> Result<NoiseEstimate, Failure> {
    let spacing = first_spacing(evaluator.objective.precision() == Precision::F32);
    noise::measure(spacing, 1, |distances, values| {
        on_a_line(evaluator, direction, distances, values)
    })
}

fn first_spacing(single: bool) -> f64 {
    if single {
        noise::first_spacing::<f32>()
    } else {
        noise::first_spacing::<f64>()
    }
}

fn is_single(value: f64) -> bool {
    f64::from(value as f32) == value
}

/// Returns a random direction, always the same, of length 1 in θ/max(1, |θ|).
pub(super) fn direction(theta: &[f64]) -> Vec<f64> {
    let mut random = stream(0, Purpose::Directions);
    let component = |&value: &f64| {
        let sign = if random.next_u32() & 1 == 0 {
            1.0
        } else {
            -1.0
        };
        sign * scale(value) / (theta.len() as f64).sqrt()
    };
    theta.iter().map(component).collect()
}

/// Evaluates the function at `distances` from θ along `direction`.
fn on_a_line(
    evaluator: &ObjectiveEvaluator<'_>,
    direction: &[f64],
    distances: &[f64],
    values: &mut [f64],
) -> Result<(), Failure> {
    evaluator.values_on_line(distances, values, |distance, theta| {
        for (value, component) in theta.iter_mut().zip(direction) {
            *value += distance * component;
        }
        0..direction.len()
    })
}
