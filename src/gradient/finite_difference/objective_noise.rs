//! The noise of any function near θ, measured along a line.

use ndarray_rand::rand::RngCore;

use super::failure::Failure;
use super::noise::{self, NoiseEstimate, Unmeasured};
use super::objective::scale;
use super::objective_evaluation::ObjectiveEvaluator;
use crate::gradient::Control;
use crate::model::Objective;
use crate::numeric::Precision;
use crate::numeric::random::{Purpose, stream};
use crate::parallel::EvaluationThreads;

/// Its multiples have fractional parts that are far apart.
const GOLDEN_RATIO: f64 = 0.618_033_988_749_894_9;

/// The noise of a function near θ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NearbyNoise {
    /// The standard deviation of the values' errors.
    pub deviation: f64,
    /// Whether every value was a number of single precision, so that the function seems to compute
    /// in it: its values may then be equal although it is not constant.
    pub single: bool,
}

/// Returns the noise of `objective` near `theta`, `(N,)`, measured along a random direction by at
/// least [`noise::POINTS`] evaluations. Where the function is so steep that its noise cannot be told
/// from its changes, such as near a minimum of 0, fourth differences of close values bound the
/// noise.
///
/// # Errors
/// [`Failure`] if a value is not finite.
pub fn noise_near<'a>(
    objective: &'a dyn Objective,
    theta: &'a [f64],
    threads: impl Into<EvaluationThreads<'a>>,
) -> Result<NearbyNoise, Failure> {
    let evaluator = ObjectiveEvaluator {
        objective,
        theta,
        threads: threads.into(),
        control: &Control::default(),
    };
    // Of unequal steps, so that simple functions such as x − y are not constant on the line.
    let mut direction = direction(theta);
    for (index, component) in direction.iter_mut().enumerate() {
        *component *= 0.5 + (GOLDEN_RATIO * index as f64).fract();
    }
    let mut single = true;
    let mut line = |distances: &[f64], values: &mut [f64]| -> Result<(), Failure> {
        on_a_line(&evaluator, &direction, distances, values)?;
        single &= values.iter().all(|&value| f64::from(value as f32) == value);
        Ok(())
    };
    let spacing = first_spacing(objective);
    let deviation = match noise::measure(spacing, 1, &mut line) {
        Ok(noise) => noise.deviation,
        Err(Failure::Noise(Unmeasured::Constant { .. })) => 0.0,
        Err(Failure::Noise(_)) => {
            let mut values = [0.0; noise::POINTS];
            let distances = std::array::from_fn::<f64, { noise::POINTS }, _>(|point| {
                (point as f64 - (noise::POINTS / 2) as f64) * spacing
            });
            line(&distances, &mut values)?;
            noise::by_fourth_differences(&mut values)
        }
        Err(failure) => return Err(failure),
    };
    Ok(NearbyNoise { deviation, single })
}

/// Measures the noise along `direction`.
pub(super) fn along(
    evaluator: &ObjectiveEvaluator<'_>,
    direction: &[f64],
) -> Result<NoiseEstimate, Failure> {
    let spacing = first_spacing(evaluator.objective);
    noise::measure(spacing, 1, |distances, values| {
        on_a_line(evaluator, direction, distances, values)
    })
}

fn first_spacing(objective: &dyn Objective) -> f64 {
    match objective.precision() {
        Precision::F32 => noise::first_spacing::<f32>(),
        Precision::F64 => noise::first_spacing::<f64>(),
    }
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
