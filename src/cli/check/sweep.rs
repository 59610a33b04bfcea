//! `nplus1 check --sweep`: measured and predicted errors over increments, and backprop compared
//! with the complex step.
//!
//! Every decade is measured first, then six more increments around the best, so that the best one
//! is known to a quarter of a decade. The second half follows from the first, so a sweep that was
//! interrupted in either is resumed with the same increments.

use serde::{Deserialize, Serialize};

use super::checker::{Checker, MOST_MULTIPLICATIONS, stopped};
use super::summary::{CheckReport, ComplexStepComparison, CurveSummary, MethodRow};
use crate::cli::gradient_progress::GradientProgress;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::{
    Arithmetic, DifferenceConfig, Increment, Reuse, Summation,
};
use crate::gradient_check::{CheckedMethod, Minimum};
use crate::numeric::Precision;
use crate::study::record::StudyRecord;
use crate::study::sweep::SweepPlan;
use crate::study::{Study, StudyReport};

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

/// The check with a sweep, ready to run: all but the sweep is done.
pub(super) struct SweepStudy<'a> {
    /// The config.
    pub config: &'a Config,
    /// The check.
    pub check: Checker<'a>,
    /// The methods that compute whole gradients.
    pub chosen: Vec<CheckedMethod>,
    /// The report of the check.
    pub report: CheckReport,
    /// The number of threads.
    pub threads: usize,
}

/// One method at one increment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SweptRow {
    #[serde(flatten)]
    row: MethodRow,
    /// The predicted relative error.
    predicted: Option<f64>,
}

impl Study for SweepStudy<'_> {
    const KIND: &'static str = "check";
    type Plan = SweepPlan;
    type Row = SweptRow;

    fn config(&self) -> Option<&Config> {
        Some(self.config)
    }

    fn threads(&self, _plan: &SweepPlan) -> usize {
        self.threads
    }

    fn run(&mut self, plan: &SweepPlan, record: &mut StudyRecord<SweptRow>) -> Result<bool> {
        match self.measure(plan, record) {
            Ok(()) => Ok(true),
            Err(Error::Interrupted { .. }) => Ok(false),
            Err(other) => Err(other),
        }
    }

    fn line(row: &SweptRow) -> String {
        row.row.label()
    }

    fn is_detail(_row: &SweptRow) -> bool {
        true
    }

    fn report<'a>(
        &'a self,
        plan: &'a SweepPlan,
        record: &'a StudyRecord<SweptRow>,
    ) -> impl StudyReport + 'a {
        let mut report = self.report.clone();
        for base in self.bases(plan.full) {
            let rows = base.rows(record.rows());
            report.curves.extend(self.curve(&base, &rows));
            report.sweep.extend(rows.iter().map(|row| row.row.clone()));
        }
        report.study = Some(record.label());
        report.conclude();
        report
    }
}

impl SweepStudy<'_> {
    /// Measures every decade, then increments around the best; then the complex step.
    fn measure(&mut self, plan: &SweepPlan, record: &mut StudyRecord<SweptRow>) -> Result<()> {
        let bases = self.bases(plan.full);
        let decades: Vec<Vec<f64>> = bases.iter().map(SweptMethod::decades).collect();
        self.at(&bases, &decades, record)?;
        let around: Vec<Vec<f64>> = (bases.iter().zip(&decades))
            .map(|(base, decades)| base.around(&base.rows(record.rows()), decades))
            .collect();
        self.at(&bases, &around, record)?;
        self.report.oracle = self.check.oracle(plan.full)?;
        Ok(())
    }

    /// Returns the methods of the sweep: not those too expensive for all increments.
    fn bases(&self, full: bool) -> Vec<SweptMethod> {
        let increments = f64::from(DECADES) + 2.0 * QUARTERS.len() as f64;
        let fits = |method: &&CheckedMethod| {
            full || increments * self.check.subject.cost(method) <= MOST_MULTIPLICATIONS
        };
        let chosen = self.chosen.iter().filter(fits);
        chosen.flat_map(SweptMethod::of).collect()
    }

    /// Adds the row of each method at each of its increments that `record` lacks.
    fn at(
        &self,
        bases: &[SweptMethod],
        increments: &[Vec<f64>],
        record: &mut StudyRecord<SweptRow>,
    ) -> Result<()> {
        let (mut methods, mut predicted) = (Vec::new(), Vec::new());
        for (base, increments) in bases.iter().zip(increments) {
            let known: Vec<f64> = (base.rows(record.rows()).iter())
                .filter_map(|row| row.row.increment.as_f64())
                .collect();
            let missing: Vec<Increment> = (increments.iter())
                .filter(|increment| !known.contains(increment))
                .map(|&increment| Increment::Absolute(increment))
                .collect();
            let auto = base.method(Increment::Auto);
            predicted.extend(self.check.subject.predict(&auto, &missing));
            methods.extend(missing.into_iter().map(|increment| base.method(increment)));
        }
        let mut predicted = predicted.into_iter();
        self.check.each(&methods, |method, outcome| {
            record.push(SweptRow {
                row: MethodRow::new(method, &outcome, &self.check.network.layout),
                predicted: predicted.next().flatten(),
            })
        })
    }

    /// Returns the curve of a method.
    fn curve(&self, base: &SweptMethod, rows: &[&SweptRow]) -> Option<CurveSummary> {
        let method = base.method(Increment::Auto);
        let points: Vec<(f64, &MethodRow, Option<f64>)> = (rows.iter())
            .filter_map(|row| Some((row.row.increment.as_f64()?, &row.row, row.predicted)))
            .collect();
        let subject = self.check.subject;
        let lowest = match base.config.arithmetic {
            Arithmetic::Plain => subject.predict_minimum(&method, RANGE[0], RANGE[1]),
            arithmetic => {
                let found = (points.iter()).filter_map(|(h, _, error)| Some((*h, (*error)?)));
                Minimum::of(&found.collect::<Vec<_>>(), arithmetic)
            }
        };
        CurveSummary::new(&method, &points, lowest)
    }
}

impl Checker<'_> {
    /// Compares backprop in double precision with the complex step, unless that is too expensive.
    fn oracle(&self, full: bool) -> Result<Option<ComplexStepComparison>> {
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

    /// Returns this method's rows, in the order in which they were measured.
    fn rows<'r>(&self, rows: &'r [SweptRow]) -> Vec<&'r SweptRow> {
        let method = self.method(Increment::Auto);
        let words = |row: &MethodRow| {
            row.method == method.gradient.method()
                && row.evaluation.as_deref() == Some(self.config.reuse.name())
                && row.arithmetic.as_deref() == Some(self.config.arithmetic.name())
                && row.summation.as_deref() == Some(self.config.summation.name())
                && row.precision == self.precision.name()
        };
        rows.iter().filter(|row| words(&row.row)).collect()
    }

    /// Returns increments around the best of the decades; none for a curve without a minimum.
    fn around(&self, rows: &[&SweptRow], decades: &[f64]) -> Vec<f64> {
        let point = |row: &&SweptRow| {
            let increment = row.row.increment.as_f64().filter(|h| decades.contains(h))?;
            Some((increment, row.row.errors.relative_error?))
        };
        let points: Vec<(f64, f64)> = rows.iter().filter_map(point).collect();
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
