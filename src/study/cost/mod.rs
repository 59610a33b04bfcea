//! The cost study: evaluations, operations, memory and time of a gradient by each method, as a
//! function of N.
//!
//! A row is one method on one network. The first row of a network is one forward pass with its
//! loss, relative to which the others are given. Counts are predicted in closed form on two bases,
//! which are never mixed: of a plain implementation on dense inputs, and of the kernels on the
//! given rows, which leave zeros out and compute equal inputs once. Each base has its own quotients.
//! Times are predicted from some 60 ms of the same gradient, and measured on request. Local
//! exponents are in `exponents.rs`, summary sentences in `summary.rs`, tables in `tables.rs`.

mod exponents;
mod inputs;
pub mod memory;
mod rows;
pub mod summary;
mod tables;

use std::sync::Arc;
use std::time::Duration;

use self::inputs::InputForms;
use self::memory::MemoryShape;
use self::summary::CostReport;
use super::methods::{self, Method};
use super::record::StudyRecord;
use super::table::{duration, times, topology};
use super::timing::{NotMeasured, Timing, TimingBench};
use super::{Study, StudyReport, Subject};
use crate::config::Config;
use crate::data::Inputs;
use crate::error::Result;
use crate::gradient::GradientConfig;
use crate::gradient::operation_counts::{dense_formulas, performed};
use crate::model::{Network, Parameters};
use crate::numeric::statistics::median;
use crate::numeric::tally::Tally;
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;
use crate::textbook::{Sample, Target};

pub use self::exponents::LocalExponent;
pub use self::rows::{CostPlan, CostRow, MethodGrowth, MultiplicationsByInputs};

/// The label of a network's first row.
pub const FORWARD_PASS: &str = "forward-pass";
/// The label of backprop's row, relative to which others are given as well.
pub const BACKPROP: &str = "backprop";
/// Largest number of multiplications and additions that are counted one by one, which takes a
/// fraction of a second.
const MAX_COUNTED: u64 = 20_000_000;

/// A cost study that is ready to run.
pub struct CostStudy<'a> {
    /// The config and the rows.
    pub subject: Subject<'a>,
    /// The networks, in the order of the plan.
    pub networks: Vec<Network>,
    /// The worker threads.
    pub pool: Arc<Workers>,
}

impl Study for CostStudy<'_> {
    const KIND: &'static str = "cost";
    type Plan = CostPlan;
    type Row = CostRow;

    fn config(&self) -> Option<&Config> {
        Some(self.subject.config)
    }

    fn threads(&self, _: &CostPlan) -> usize {
        self.pool.threads()
    }

    fn run(&mut self, plan: &CostPlan, record: &mut StudyRecord<CostRow>) -> Result<bool> {
        match self.subject.config.model.precision {
            Precision::F32 => self.run_in::<f32>(plan, record),
            Precision::F64 => self.run_in::<f64>(plan, record),
        }
    }

    fn line(row: &CostRow) -> String {
        let time = match row.seconds {
            Some(seconds) => format!("{} measured", duration(seconds)),
            None => format!("{} predicted", duration(row.predicted_seconds)),
        };
        let ratio = match row.multiplications_to_forward {
            Some(ratio) if row.label != FORWARD_PASS => {
                format!(", {} forward passes of dense multiplications", times(ratio))
            }
            _ => String::new(),
        };
        format!("{}  {}: {time}{ratio}", topology(&row.layers), row.label)
    }

    fn report<'a>(
        &'a self,
        _: &'a CostPlan,
        record: &'a StudyRecord<CostRow>,
    ) -> impl StudyReport + 'a {
        CostReport::new(&self.subject.config.name, record.label(), record.rows())
    }
}

impl CostStudy<'_> {
    fn run_in<R: Real>(&self, plan: &CostPlan, record: &mut StudyRecord<CostRow>) -> Result<bool> {
        let config = self.subject.config;
        let methods = methods::select(&plan.methods)?;
        let mut forms: Option<InputForms<R>> = None;
        for network in &self.networks {
            let sizes = network.layout.sizes();
            let done = |record: &StudyRecord<CostRow>, label: &str| {
                let same = |row: &&CostRow| row.label == label && row.layers == sizes;
                record.rows().iter().find(same).cloned()
            };
            let mut labels = methods.iter().map(|method| method.label.as_str());
            if labels.all(|label| done(record, label).is_some()) {
                continue;
            }
            let forms = match forms.take().filter(|forms| forms.fit(network)) {
                Some(fitting) => forms.insert(fitting),
                None => forms.insert(InputForms::new(&self.subject, network, plan)?),
            };
            let theta = (config.model.initialization).draw::<R>(&network.layout, config.seed);
            let of_network = NetworkCosts {
                bench: self.bench(network, &theta, forms, plan),
                forms,
            };
            let methods_and_pass = std::iter::once(None).chain(methods.iter().map(Some));
            for method in methods_and_pass {
                let label = method.map_or(FORWARD_PASS, |method| &method.label);
                if done(record, label).is_some() {
                    continue;
                }
                let backprop = done(record, BACKPROP);
                let row = of_network.row(method, plan.measure, backprop.as_ref())?;
                let Some(row) = row else {
                    return Ok(false);
                };
                record.push(row)?;
            }
        }
        Ok(true)
    }

    fn bench<'b, R: Real>(
        &'b self,
        network: &'b Network,
        theta: &'b Parameters<R>,
        forms: &'b InputForms<R>,
        plan: &CostPlan,
    ) -> TimingBench<'b, R> {
        TimingBench {
            network,
            theta,
            samples: &forms.own.samples,
            rows: &forms.own.rows,
            workers: &self.pool,
            isa: self.subject.isa,
            control: self.subject.control,
            repeats: plan.repeats,
            limit: Duration::try_from_secs_f64(plan.limit).unwrap_or(Duration::MAX),
            split: None,
        }
    }
}

/// What the rows of one network are computed from.
struct NetworkCosts<'a, R> {
    bench: TimingBench<'a, R>,
    forms: &'a InputForms<R>,
}

impl<R: Real> NetworkCosts<'_, R> {
    /// Computes one row: of a method, or of a forward pass; returns `None` if the control requested
    /// a stop. `backprop` is the row relative to which times are given.
    fn row(
        &self,
        method: Option<&Method>,
        measure: bool,
        backprop: Option<&CostRow>,
    ) -> Result<Option<CostRow>> {
        let bench = &self.bench;
        let (network, rows) = (bench.network, bench.rows.len());
        let sizes = network.layout.sizes();
        let shape = MemoryShape {
            sizes,
            rows,
            threads: bench.workers.threads(),
            sparse: matches!(bench.samples.inputs(), Inputs::Sparse(_)),
            number: R::BYTES,
        };
        let Some((predicted_seconds, timing)) = seconds_of(bench, method, measure)? else {
            return Ok(None);
        };
        let gradient = method.map(|method| &method.gradient);
        let counts = self.counts(gradient);
        let to = |base: Option<&GradientConfig>| {
            let base = self.counts(base);
            let quotient = |tally: Tally, base: Tally| {
                tally.multiplications as f64 / base.multiplications as f64
            };
            let plain = counts.plain.zip(base.plain);
            (
                plain.map(|(tally, base)| quotient(tally, base)),
                Some(quotient(counts.performed, base.performed)),
            )
        };
        let (to_forward, to_backprop) = (to(None), to(Some(&GradientConfig::Backprop)));
        let difference = method.and_then(Method::difference);
        let mut row = CostRow {
            label: method
                .map_or(FORWARD_PASS, |method| &method.label)
                .to_owned(),
            method: method.map_or(FORWARD_PASS, Method::name).to_owned(),
            evaluation: difference.map(|config| config.reuse.name().to_owned()),
            arithmetic: difference.map(|config| config.arithmetic.name().to_owned()),
            layers: sizes.to_vec(),
            parameters: network.layout.len(),
            batch_rows: rows,
            tally: counts.plain,
            tally_performed: counts.performed,
            tally_counted: (counts.plain).and_then(|tally| self.counted(gradient, &tally)),
            tally_measured: None,
            multiplications_to_forward: to_forward.0,
            multiplications_to_backprop: to_backprop.0,
            multiplications_performed_to_forward: to_forward.1,
            multiplications_performed_to_backprop: to_backprop.1,
            multiplications_by_inputs: self.forms.multiplications(network, gradient),
            growth: gradient.map_or(MethodGrowth::default(), |gradient| {
                MethodGrowth::new(network, gradient, rows as u64)
            }),
            memory: gradient.map_or(shape.evaluation(), |gradient| shape.gradient(gradient)),
            predicted_seconds,
            seconds: None,
            samples: Vec::new(),
            forward_samples: Vec::new(),
            gradients_per_sample: 0,
            measured_share: None,
            seconds_to_forward: None,
            seconds_to_backprop: None,
        };
        if let Some(timing) = timing {
            row.take(timing, backprop);
        }
        Ok(Some(row))
    }

    /// Returns the operations of a gradient, or of a forward pass, on both bases.
    fn counts(&self, method: Option<&GradientConfig>) -> BothCounts {
        let TimingBench {
            network,
            samples,
            rows,
            ..
        } = self.bench;
        let count = rows.len() as u64;
        BothCounts {
            plain: match method {
                Some(method) => dense_formulas::gradient(network, method, count),
                None => Some(dense_formulas::evaluation(network, count)),
            },
            performed: performed(network, method, samples, rows),
        }
    }

    /// Counts the operations of the plain implementation, unless they are predicted to be too many.
    /// The counts do not depend on the inputs' values, so the inputs are not scaled.
    fn counted(&self, method: Option<&GradientConfig>, predicted: &Tally) -> Option<Tally> {
        if predicted.multiplications + predicted.additions > MAX_COUNTED {
            return None;
        }
        let dataset = &self.forms.dataset;
        let inputs = |row: usize| -> Vec<f64> {
            let features = 0..dataset.feature_count();
            features.map(|at| dataset.features.value(row, at)).collect()
        };
        match &dataset.targets {
            None => {
                let labels = dataset.labels.iter().enumerate();
                self.counted_over(method, labels.map(|(row, &label)| (inputs(row), label)))
            }
            Some(targets) => {
                let numbers = targets.values.rows().into_iter().map(|row| row.to_vec());
                let numbers: Vec<Vec<f64>> = numbers.collect();
                let rows = numbers.iter().enumerate();
                self.counted_over(
                    method,
                    rows.map(|(row, numbers)| (inputs(row), &numbers[..])),
                )
            }
        }
    }

    fn counted_over<T: Target>(
        &self,
        method: Option<&GradientConfig>,
        batch: impl Iterator<Item = Sample<T>>,
    ) -> Option<Tally> {
        let (bench, batch): (_, Vec<Sample<T>>) = (&self.bench, batch.collect());
        let theta: Vec<f64> = bench.theta.flat().iter().map(|x| x.to_f64()).collect();
        match method {
            Some(method) => dense_formulas::counted(bench.network, method, &theta, &batch),
            None => {
                let counted = dense_formulas::counted_evaluation(bench.network, &theta, &batch);
                Some(counted)
            }
        }
    }
}

/// The operations of one gradient on the two bases.
struct BothCounts {
    /// Of a plain implementation on dense inputs.
    plain: Option<Tally>,
    /// Of the kernels on these rows.
    performed: Tally,
}

/// Returns the predicted seconds of a method, or of a forward pass, and those measured on request
/// unless it is too slow; `None` if the control requested a stop.
fn seconds_of<R: Real>(
    bench: &TimingBench<'_, R>,
    method: Option<&Method>,
    measure: bool,
) -> Result<Option<(f64, Option<Timing>)>> {
    let timing = match (measure, method) {
        (false, _) => None,
        (true, None) => Some(bench.evaluation()),
        (true, Some(method)) => Some(bench.gradient(&method.gradient)?),
    };
    let timing = match timing {
        Some(Err(NotMeasured::Interrupted)) => return Ok(None),
        Some(Ok(timing)) => Some(timing),
        Some(Err(NotMeasured::TooSlow)) | None => None,
    };
    let predicted = match method {
        Some(method) => bench.predict(&method.gradient),
        None => match bench.evaluation() {
            Ok(timing) => Ok(median(&timing.samples).unwrap_or(f64::NAN)),
            Err(_) => return Ok(None),
        },
    };
    if bench.control.is_stopped() {
        return Ok(None);
    }
    Ok(Some((predicted?, timing)))
}
