//! The V curve, predicted: the relative error that a difference should have at an increment, from
//! what it leaves out (`taylor.rs`), what it rounds anew (`roundings.rs`) and what its precision is
//! off by anyway (`own.rs`).
//!
//! ```text
//! E‖ĝ − g‖² = Σᵢ (truncationᵢ + lostᵢ)² + Σᵢ noiseᵢ/(B·d)² + Σᵢ ownᵢ
//!
//! truncation   forward L″·h/2 + L‴·h²/6, central L‴·h²/6 (and L″·skew/2 of a step θ ± h as rounded)
//! lost         −δ·a of the rows in which z + h·a is z
//! noise        of the B rows' differences; of sums of losses, where these are subtracted; of l2's term
//! ```
//!
//! The best increment is where this is least, the floor what it is there. Without cancellation there
//! is no noise, hence no best increment, only a floor.

mod backprop_roundoff;
mod perturbed_roundoff;
mod truncation;

pub use self::truncation::Derivatives;

use self::perturbed_roundoff::RowNoise;
use super::evaluation_points::{EvaluationPoints, RealizedIncrement, looks};
use super::number_format::NumberFormat;
use super::{CheckSubject, CheckedMethod, ReferencePoint, converted};
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Scheme, Summation,
};
use crate::numeric::{Precision, Real};

/// Numbers that the errors of one batch of increments may take.
const ROOM: usize = 1 << 22;
/// Increments a decade at which the best one is looked for, and those around it.
const DECADE: [usize; 2] = [4, 32];

/// What a curve comes down to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Minimum {
    /// Where it is lowest; `None` of a curve without a V, on which smaller increments are as good.
    pub increment: Option<f64>,
    /// The relative error there; without a V, at the smallest increment.
    pub floor: f64,
}

/// What predictions at one θ need.
pub(super) struct CurveContext {
    derivatives: Derivatives,
    /// Squares of own errors, in f32 and in f64.
    own: [Vec<f64>; 2],
}

impl Minimum {
    /// Of points (increment, relative error), of an arithmetic that has a V or not.
    pub fn of(points: &[(f64, f64)], arithmetic: Arithmetic) -> Option<Self> {
        let finite = points.iter().filter(|(_, error)| error.is_finite());
        match arithmetic {
            Arithmetic::Plain => {
                let &(increment, floor) = finite.min_by(|a, b| a.1.total_cmp(&b.1))?;
                Some(Self {
                    increment: Some(increment),
                    floor,
                })
            }
            Arithmetic::CancellationFree => {
                let &(_, floor) = finite.min_by(|a, b| a.0.total_cmp(&b.0))?;
                Some(Self {
                    increment: None,
                    floor,
                })
            }
        }
    }
}

impl CheckSubject<'_> {
    /// The derivatives of the objective along every parameter, at θ in `precision`.
    pub fn derivatives(&self, precision: Precision) -> &Derivatives {
        &self.ground(self.point(precision)).derivatives
    }

    /// The relative error ‖ĝ − g‖/‖g‖ to expect of `method` at each of `increments`; `None` where
    /// one is lost in θ, and of methods that are no plain quotient.
    pub fn predict(&self, method: &CheckedMethod, increments: &[Increment]) -> Vec<Option<f64>> {
        let Some(config) = method
            .gradient
            .difference()
            .filter(|config| !config.extrapolate)
        else {
            return vec![None; increments.len()];
        };
        let point = self.point(method.precision);
        let plan = CurvePlan {
            subject: self,
            point,
            ground: self.ground(point),
            config: *config,
            format: NumberFormat::of(method.precision),
        };
        match method.precision {
            Precision::F32 => plan.predict::<f32>(increments),
            Precision::F64 => plan.predict::<f64>(increments),
        }
    }

    /// The best increment between `most` and `least`, and the floor, to expect of `method`.
    pub fn predict_minimum(
        &self,
        method: &CheckedMethod,
        least: f64,
        most: f64,
    ) -> Option<Minimum> {
        let arithmetic = method.gradient.difference()?.arithmetic;
        let mut range = [least, most];
        let mut found = None;
        for points in DECADE {
            let step = 10f64.powf(1.0 / points as f64);
            let count = ((range[1] / range[0]).log10() * points as f64).round() as i32;
            let increments: Vec<f64> = (0..=count).map(|k| range[0] * step.powi(k)).collect();
            let absolute: Vec<Increment> =
                increments.iter().map(|&h| Increment::Absolute(h)).collect();
            let errors = self.predict(method, &absolute);
            let points: Vec<(f64, f64)> = increments
                .into_iter()
                .zip(errors)
                .filter_map(|(h, error)| Some((h, error?)))
                .collect();
            found = Minimum::of(&points, arithmetic);
            let Some(best) = found.and_then(|minimum| minimum.increment) else {
                break;
            };
            range = [(best / step).max(least), (best * step).min(most)];
        }
        found
    }

    fn point(&self, precision: Precision) -> &ReferencePoint<'_> {
        match precision {
            Precision::F32 => &self.rounded,
            Precision::F64 => &self.exact,
        }
    }

    fn ground<'p>(&self, point: &'p ReferencePoint<'_>) -> &'p CurveContext {
        point.ground.get_or_init(|| {
            let traces = point.tolerance.traces();
            let own = [(Precision::F32, false), (Precision::F64, true)];
            CurveContext {
                derivatives: truncation::of(self.network, &point.theta, traces, self.team),
                own: own.map(|(precision, shared)| self.own(point, precision, shared)),
            }
        })
    }

    fn own(&self, point: &ReferencePoint<'_>, precision: Precision, shared: bool) -> Vec<f64> {
        let (format, traces) = (NumberFormat::of(precision), point.tolerance.traces());
        let mut squares = vec![0.0; self.network.layout.len()];
        for trace in traces {
            backprop_roundoff::add(
                self.network,
                &point.theta,
                trace,
                format,
                shared,
                &mut squares,
            );
        }
        let share = (traces.len() as f64).powi(-2);
        let of_sums = backprop_roundoff::of_sums(traces.len(), format, shared);
        for (square, g) in squares.iter_mut().zip(point.gradient.flat()) {
            *square = *square * share + of_sums * g * g;
        }
        squares
    }
}

/// One method at one θ.
struct CurvePlan<'a> {
    subject: &'a CheckSubject<'a>,
    point: &'a ReferencePoint<'a>,
    ground: &'a CurveContext,
    config: DifferenceConfig,
    format: NumberFormat,
}

impl CurvePlan<'_> {
    fn predict<R: Real>(&self, increments: &[Increment]) -> Vec<Option<f64>> {
        let layout = &self.subject.network.layout;
        let theta = converted::<f64, R>(&self.point.theta);
        let batch = (ROOM / layout.len()).clamp(1, 32);
        let batches: Vec<&[Increment]> = increments.chunks(batch).collect();
        let errors = self.subject.team.map(batches.len(), |at| {
            let steps: Vec<Option<EvaluationPoints>> = batches[at]
                .iter()
                .map(|&increment| {
                    let config = DifferenceConfig {
                        increment,
                        ..self.config
                    };
                    let look = looks(&config, &theta, f64::NAN).swap_remove(0);
                    look.is_kept().then_some(look)
                })
                .collect();
            self.errors(&steps)
        });
        errors.into_iter().flatten().collect()
    }

    fn errors(&self, steps: &[Option<EvaluationPoints>]) -> Vec<Option<f64>> {
        let gradient = self.point.gradient.flat();
        let norm: f64 = gradient.iter().map(|g| g * g).sum();
        let noise = match self.config.arithmetic {
            Arithmetic::Plain => self.noise(steps),
            Arithmetic::CancellationFree => {
                let nothing = || (0.0, Vec::new());
                steps.iter().map(|_| nothing()).collect()
            }
        };
        let own = match self.format.roundoff == f64::UNIT_ROUNDOFF {
            false => &self.ground.own[0],
            true => &self.ground.own[1],
        };
        let own: f64 = own.iter().sum();
        let of_one = |(steps, (noise, lost)): (&Option<EvaluationPoints>, (f64, Vec<f64>))| {
            let truncated = self.truncation(steps.as_ref()?);
            let off = truncated.iter().enumerate().map(|(index, truncated)| {
                let lost = lost.get(index).copied().unwrap_or(0.0);
                (truncated + lost).powi(2)
            });
            Some(((off.sum::<f64>() + noise + own) / norm).sqrt())
        };
        steps.iter().zip(noise).map(of_one).collect()
    }

    /// What each quotient leaves out, `(N,)`.
    fn truncation(&self, steps: &EvaluationPoints) -> Vec<f64> {
        let Derivatives { second, third, .. } = &self.ground.derivatives;
        let derivatives = second.iter().zip(third);
        derivatives
            .zip(&steps.strides)
            .map(|((second, third), &RealizedIncrement { distance, skew })| {
                match self.config.scheme {
                    Scheme::Forward => distance * (second / 2.0 + distance * third / 6.0),
                    Scheme::Central => skew * second / 2.0 + distance * distance * third / 24.0,
                }
            })
            .collect()
    }

    /// Of each step: Σᵢ of the expected squares of noise, and what of each derivative is lost.
    fn noise(&self, steps: &[Option<EvaluationPoints>]) -> Vec<(f64, Vec<f64>)> {
        let layout = &self.subject.network.layout;
        let traces = self.point.tolerance.traces();
        let share = 1.0 / traces.len() as f64;
        let incremental = self.config.reuse == Reuse::Incremental;
        let mut found: Vec<(f64, Vec<f64>)> = steps
            .iter()
            .map(|_| {
                (
                    0.0,
                    if incremental {
                        vec![0.0; layout.len()]
                    } else {
                        Vec::new()
                    },
                )
            })
            .collect();
        for trace in traces {
            let (network, theta) = (self.subject.network, &self.point.theta);
            let row = RowNoise::new(network, theta, trace, &self.config, self.format);
            for (steps, (noise, lost)) in steps.iter().zip(&mut found) {
                let Some(steps) = steps else { continue };
                self.each(|layer, unit, input, index| {
                    let a = input.map_or(1.0, |input| trace.a[layer][input].abs());
                    // An input of 0 moves nothing.
                    if a == 0.0 {
                        return;
                    }
                    let h = steps.increments[layer][unit];
                    let distance = self.config.scheme.distance(h);
                    let (square, gone) = row.square(layer, unit, input, h * a, distance * a);
                    *noise += square * (share / distance).powi(2);
                    if gone {
                        let a = input.map_or(1.0, |input| trace.a[layer][input]);
                        lost[index] -= share * trace.delta[layer][unit] * a;
                    }
                });
            }
        }
        for (steps, (noise, _)) in steps.iter().zip(&mut found) {
            let Some(steps) = steps else { continue };
            *noise += self.of_sums(steps) + self.of_penalty(steps);
        }
        found
    }

    /// Where the mini-batch's mean losses are subtracted: two sums of B losses, their means, and l2's
    /// sum of squares.
    fn of_sums(&self, steps: &EvaluationPoints) -> f64 {
        if self.config.summation == Summation::Differences {
            return 0.0;
        }
        let (format, network) = (self.format, self.subject.network);
        let traces = self.point.tolerance.traces();
        let share = 1.0 / traces.len() as f64;
        // (q, how much of a change of the mean has reached the sum)
        let mut roundings = Vec::new();
        let mut sum = 0.0;
        for (row, trace) in traces.iter().enumerate() {
            sum += trace.loss;
            roundings.push((format.spacing(sum) * share, (row + 1) as f64 * share));
        }
        let mean = sum * share;
        roundings.push((format.spacing(mean), 1.0));
        if network.l2 != 0.0 {
            let theta = self.point.theta.flat();
            let layout = &network.layout;
            let weights = (0..layout.layers()).flat_map(|layer| layout.weights(layer));
            let squares: f64 = weights.map(|index| theta[index].powi(2)).sum();
            let penalty = 0.5 * network.l2;
            // Panels of weights are summed one after the other; half of them come after a weight's.
            let panels: usize = layout.sizes()[1..]
                .iter()
                .map(|units| units.div_ceil(PANEL))
                .sum();
            for _ in 0..panels.div_ceil(2) {
                roundings.push((penalty * format.spacing(squares), 1.0));
            }
            roundings.push((format.spacing(mean + penalty * squares), 1.0));
        }
        let slope: f64 = roundings.iter().map(|(q, reached)| q * reached).sum();
        let level: f64 = roundings.iter().map(|(q, _)| q * q / 6.0).sum();
        let gradient = self.point.gradient.flat();
        let strides = steps.strides.iter().zip(gradient);
        strides
            .map(|(stride, g)| {
                (slope * stride.distance * g.abs()).min(level) / stride.distance.powi(2)
            })
            .sum()
    }

    /// Of ½λ'·w² on both sides of a weight: two roundings each.
    fn of_penalty(&self, steps: &EvaluationPoints) -> f64 {
        let (format, network) = (self.format, self.subject.network);
        if network.l2 == 0.0 || self.config.summation == Summation::Losses {
            return 0.0;
        }
        let layout = &network.layout;
        let weights = (0..layout.layers()).flat_map(|layer| layout.weights(layer));
        let half = 0.5 * network.l2;
        weights
            .map(|index| {
                let w = self.point.theta.flat()[index];
                let distance = steps.strides[index].distance;
                let moved = 2.0 * w.abs() * distance;
                let rounded = |q: f64, moved: f64| (q * moved).min(q * q / 6.0);
                let square = half * half * rounded(format.spacing(w * w), moved)
                    + rounded(format.spacing(half * w * w), half * moved);
                square / (distance * distance)
            })
            .sum()
    }

    /// Every parameter: its layer, its unit, its input (a bias has none), its place in θ.
    fn each(&self, mut of: impl FnMut(usize, usize, Option<usize>, usize)) {
        let layout = &self.subject.network.layout;
        for layer in 0..layout.layers() {
            let fan_in = layout.sizes()[layer];
            for (at, index) in layout.weights(layer).enumerate() {
                of(layer, at / fan_in, Some(at % fan_in), index);
            }
            for (unit, index) in layout.biases(layer).enumerate() {
                of(layer, unit, None, index);
            }
        }
    }
}

/// Units of a panel in f32, about.
const PANEL: usize = 16;
