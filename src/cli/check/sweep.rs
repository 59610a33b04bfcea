//! `nplus1 check --sweep`: measured and predicted errors over increments, and backprop compared
//! with the complex step.
//!
//! Every decade is measured first, then six more increments around the best, so that the best one
//! is known to a quarter of a decade.

use super::checker::{Checker, MOST_MULTIPLICATIONS, stopped};
use super::summary::{ComplexStepComparison, CurveSummary, MethodRow};
use crate::cli::gradient_progress::GradientProgress;
use crate::error::Result;
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Summation,
};
use crate::gradient_check::{CheckedMethod, Minimum};
use crate::numeric::Precision;

/// Decades of a sweep: 1e-1 … 1e-14.
const DECADES: u32 = 14;
/// Decades without cancellation: 1e-1 … 1e-30.
const CANCELLATION_FREE_DECADES: u32 = 30;
/// Factors 10^¼, 10^½, 10^¾ between the best decade and its neighbors.
const QUARTERS: [f64; 3] = [
    1.778_279_410_038_922_8,
    3.162_277_660_168_379_5,
    5.623_413_251_903_491,
];
/// Range in which the best increment is predicted.
const RANGE: [f64; 2] = [1e-14, 1.0];

/// Result of a sweep.
pub(super) struct SweepResult {
    /// One row per method and increment.
    pub rows: Vec<MethodRow>,
    /// One curve per method.
    pub curves: Vec<CurveSummary>,
}

impl Checker<'_> {
    /// Runs the chosen methods at every increment, except those too expensive for all increments.
    pub(super) fn sweep(&self, chosen: &[CheckedMethod], full: bool) -> Result<SweepResult> {
        let bases: Vec<SweptMethod> = chosen
            .iter()
            .filter(|method| {
                let increments = f64::from(DECADES) + 2.0 * QUARTERS.len() as f64;
                full || increments * self.subject.cost(method) <= MOST_MULTIPLICATIONS
            })
            .flat_map(SweptMethod::of)
            .collect();
        let mut increments: Vec<Vec<f64>> = bases.iter().map(SweptMethod::decades).collect();
        let mut rows = self.at(&bases, &increments)?;
        let around: Vec<Vec<f64>> = (bases.iter().zip(&rows).zip(&increments))
            .map(|((base, rows), increments)| base.around(rows, increments))
            .collect();
        for (method, more) in self.at(&bases, &around)?.into_iter().enumerate() {
            rows[method].extend(more);
            increments[method].extend(&around[method]);
        }
        let mut curves = Vec::new();
        for ((base, rows), increments) in bases.iter().zip(&rows).zip(&increments) {
            let method = base.method(Increment::Auto);
            let asked: Vec<Increment> =
                increments.iter().map(|&h| Increment::Absolute(h)).collect();
            let predicted = self.subject.predict(&method, &asked);
            let points = || increments.iter().zip(&predicted);
            let lowest = match base.config.arithmetic {
                Arithmetic::Plain => self.subject.predict_minimum(&method, RANGE[0], RANGE[1]),
                arithmetic => {
                    let found = points().filter_map(|(&h, error)| Some((h, (*error)?)));
                    Minimum::of(&found.collect::<Vec<_>>(), arithmetic)
                }
            };
            let points: Vec<_> = points()
                .zip(rows)
                .map(|((&h, &error), row)| (h, row, error))
                .collect();
            curves.extend(CurveSummary::new(&method, &points, lowest));
        }
        Ok(SweepResult {
            rows: rows.into_iter().flatten().collect(),
            curves,
        })
    }

    /// Returns the rows of each method at its increments.
    fn at(&self, bases: &[SweptMethod], increments: &[Vec<f64>]) -> Result<Vec<Vec<MethodRow>>> {
        let methods: Vec<CheckedMethod> = (bases.iter().zip(increments))
            .flat_map(|(base, increments)| {
                let at = |&h: &f64| base.method(Increment::Absolute(h));
                increments.iter().map(at)
            })
            .collect();
        let mut rows = self.rows(&methods, |_, _| Ok(()))?.into_iter();
        let counts = increments.iter().map(Vec::len);
        Ok(counts
            .map(|count| rows.by_ref().take(count).collect())
            .collect())
    }

    /// Compares backprop in double precision with the complex step, unless that is too expensive.
    pub(super) fn oracle(&self, full: bool) -> Result<Option<ComplexStepComparison>> {
        if !full && self.subject.complex_cost() > MOST_MULTIPLICATIONS {
            return Ok(None);
        }
        let control = self.control.with_new_counter();
        let layout = &self.network.layout;
        let progress = GradientProgress::start(self.global, &control, layout.len() as u64);
        let found = self
            .subject
            .complex_step(&control)
            .map_err(|reason| stopped(reason, self.interrupt))?;
        drop(progress);
        Ok(Some(ComplexStepComparison::new(&found, layout)))
    }
}

/// A method whose increment varies.
struct SweptMethod {
    config: DifferenceConfig,
    precision: Precision,
}

impl SweptMethod {
    /// Returns the swept variants of a plain quotient: whole passes by both summations, and not
    /// `prefix`, whose bits equal those of `full`.
    fn of(method: &CheckedMethod) -> Vec<Self> {
        let Some(config) = method.gradient.difference() else {
            return Vec::new();
        };
        if config.reuse == Reuse::Prefix
            || config.extrapolate
            || config.increment == Increment::Noise
        {
            return Vec::new();
        }
        let summations = match config.reuse {
            Reuse::Full => vec![Summation::Differences, Summation::Losses],
            _ => vec![config.summation],
        };
        let base = |summation| Self {
            config: DifferenceConfig {
                summation,
                ..*config
            },
            precision: method.precision,
        };
        summations.into_iter().map(base).collect()
    }

    fn method(&self, increment: Increment) -> CheckedMethod {
        CheckedMethod {
            gradient: GradientConfig::Difference(DifferenceConfig {
                increment,
                ..self.config
            }),
            precision: self.precision,
        }
    }

    /// Returns the decades from the largest to the smallest.
    fn decades(&self) -> Vec<f64> {
        let most = match self.config.arithmetic {
            Arithmetic::Plain => DECADES,
            Arithmetic::CancellationFree => CANCELLATION_FREE_DECADES,
        };
        (1..=most).map(power_of_ten).collect()
    }

    /// Returns increments around the best of `rows`; none for a curve without a minimum.
    fn around(&self, rows: &[MethodRow], increments: &[f64]) -> Vec<f64> {
        let points: Vec<(f64, f64)> = (increments.iter().zip(rows))
            .filter_map(|(&h, row)| Some((h, row.errors.relative_error?)))
            .collect();
        let best = Minimum::of(&points, self.config.arithmetic).and_then(|best| best.increment);
        let Some(best) = best else { return Vec::new() };
        let both = |quarter: f64| [best * quarter, best / quarter];
        QUARTERS.into_iter().flat_map(both).collect()
    }
}

/// Returns the number nearest to 10^−power.
fn power_of_ten(power: u32) -> f64 {
    format!("1e-{power}").parse().expect("a number")
}
