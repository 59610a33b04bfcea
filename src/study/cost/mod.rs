//! The cost study: evaluations, operations, memory and time of a gradient by each method, as a
//! function of N.
//!
//! A row is one method on one network. The first row of a network is one forward pass with its
//! loss, relative to which the others are given. Counts are predicted in closed form, for a plain
//! implementation on dense inputs and for the kernels on the given rows. Times are predicted from
//! some 60 ms of the same gradient, and measured on request. Fits and summary sentences are in
//! `summary.rs`.

pub mod memory;
pub mod summary;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::memory::MemoryShape;
use self::summary::CostReport;
use super::methods::{self, Method};
use super::record::StudyRecord;
use super::table::{duration, times, topology};
use super::timing::{NotMeasured, Timing, TimingBench};
use super::{Study, StudyReport, Subject};
use crate::config::Config;
use crate::data::{Inputs, Samples};
use crate::error::Result;
use crate::gradient::operation_counts::{dense_formulas, finite_difference};
use crate::model::Network;
use crate::numeric::statistics::{median, median_ratio};
use crate::numeric::tally::Tally;
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;
use crate::textbook::Sample;

/// The label of a network's first row.
pub const FORWARD_PASS: &str = "forward-pass";
/// The label of backprop's row, relative to which others are given as well.
pub const BACKPROP: &str = "backprop";
/// Largest number of multiplications and additions that are counted one by one, which takes a
/// fraction of a second.
const MAX_COUNTED: u64 = 20_000_000;

/// The parameters of a cost study, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostPlan {
    /// Hidden layers of each network, ordered by the number of parameters.
    pub hidden: Vec<Vec<usize>>,
    /// Rows of the mini-batch.
    pub batch: usize,
    /// Labels of the methods.
    pub methods: Vec<String>,
    /// Whether times are measured in addition to being predicted.
    pub measure: bool,
    /// Number of samples of a measured time.
    pub repeats: usize,
    /// Seconds after which a measurement is interrupted.
    pub limit: f64,
}

impl CostPlan {
    /// Checks the plan, which may come from an edited file.
    ///
    /// # Errors
    /// Returns a message about an empty layer, or a number of rows or samples of 0.
    pub fn check(&self) -> std::result::Result<(), String> {
        if self.hidden.iter().flatten().any(|&units| units == 0) {
            return Err("a hidden layer has no units".to_owned());
        }
        if self.batch == 0 || self.repeats == 0 {
            return Err("the number of rows or of samples is 0".to_owned());
        }
        Ok(())
    }
}

/// One method on one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostRow {
    /// `forward-pass`, or the method with its variant.
    pub label: String,
    /// Name of the method, spelled as in a config.
    pub method: String,
    /// Values that a perturbed loss reuses, spelled as in a config.
    pub evaluation: Option<String>,
    /// Arithmetic of a difference of losses, spelled as in a config.
    pub arithmetic: Option<String>,
    /// Layer sizes n_0 … n_L.
    pub layers: Vec<usize>,
    /// Number of parameters, N.
    pub parameters: usize,
    /// Rows of the mini-batch.
    pub batch_rows: usize,
    /// Operations of a plain implementation on dense inputs, if there is a formula.
    pub tally: Option<Tally>,
    /// Predicted operations of the kernels on these rows.
    pub tally_performed: Tally,
    /// Operations of the plain implementation counted one by one, if that is quick.
    pub tally_counted: Option<Tally>,
    /// Operations of the kernels with the passes counted by the measured gradient.
    pub tally_measured: Option<Tally>,
    /// Multiplications relative to one forward pass: both plain, or both performed if the method
    /// has no plain form.
    pub multiplications_to_forward: Option<f64>,
    /// Multiplications relative to backprop, likewise.
    pub multiplications_to_backprop: Option<f64>,
    /// Predicted bytes of memory of a step, without the data.
    pub memory: f64,
    /// Seconds predicted from a short measurement.
    pub predicted_seconds: f64,
    /// Median seconds of the samples.
    pub seconds: Option<f64>,
    /// Seconds of a gradient in each sample.
    pub samples: Vec<f64>,
    /// Seconds of a forward pass on one worker, measured with each sample.
    pub forward_samples: Vec<f64>,
    /// Number of gradients per sample.
    pub gradients_per_sample: usize,
    /// Completed share of a gradient; less than 1 if it was interrupted at the limit.
    pub measured_share: Option<f64>,
    /// Seconds relative to a forward pass: the median over the samples.
    pub seconds_to_forward: Option<f64>,
    /// Seconds relative to backprop: the ratio of the medians.
    pub seconds_to_backprop: Option<f64>,
}

impl CostRow {
    /// Returns the sizes of the hidden layers.
    pub fn hidden(&self) -> &[usize] {
        &self.layers[1..self.layers.len() - 1]
    }

    /// Returns the common width of the hidden layers, if there are any and they have equal widths.
    pub fn width(&self) -> Option<usize> {
        let first = *self.hidden().first()?;
        self.hidden()
            .iter()
            .all(|&units| units == first)
            .then_some(first)
    }
}

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
                format!(", {} forward passes of multiplications", times(ratio))
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
        let Subject { config, split, .. } = self.subject;
        let train = &split.train;
        let samples = Samples::<R>::new(&train.dataset, &split.scaling);
        let rows = &train.rows[..plan.batch.min(train.rows.len())];
        let methods = methods::select(&plan.methods)?;
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
            let initialization = config.model.initialization;
            let theta = initialization.draw::<R>(&network.layout, config.seed);
            let bench = TimingBench {
                network,
                theta: &theta,
                samples: &samples,
                rows,
                workers: &self.pool,
                isa: self.subject.isa,
                control: self.subject.control,
                repeats: plan.repeats,
                limit: Duration::try_from_secs_f64(plan.limit).unwrap_or(Duration::MAX),
                split: None,
            };
            let methods_and_pass = std::iter::once(None).chain(methods.iter().map(Some));
            for method in methods_and_pass {
                let label = method.map_or(FORWARD_PASS, |method| &method.label);
                if done(record, label).is_some() {
                    continue;
                }
                let base = CostBaseline {
                    forward: done(record, FORWARD_PASS),
                    backprop: done(record, BACKPROP),
                };
                let Some(row) = self.row(&bench, method, plan, &base)? else {
                    return Ok(false);
                };
                record.push(row)?;
            }
        }
        Ok(true)
    }

    /// Computes one row; returns `None` if the control requested a stop.
    fn row<R: Real>(
        &self,
        bench: &TimingBench<'_, R>,
        method: Option<&Method>,
        plan: &CostPlan,
        base: &CostBaseline,
    ) -> Result<Option<CostRow>> {
        let (network, rows) = (bench.network, bench.rows.len());
        let sizes = network.layout.sizes();
        let shape = MemoryShape {
            sizes,
            rows,
            threads: self.pool.threads(),
            sparse: matches!(bench.samples.inputs(), Inputs::Sparse(_)),
            number: R::BYTES,
        };
        let Some((predicted_seconds, timing)) = seconds_of(bench, method, plan.measure)? else {
            return Ok(None);
        };
        let performed = match method {
            Some(method) => bench.tally(&method.gradient),
            None => finite_difference::evaluation(network, bench.samples, bench.rows),
        };
        let tally = match method {
            Some(method) => dense_formulas::gradient(network, &method.gradient, rows as u64),
            None => Some(dense_formulas::evaluation(network, rows as u64)),
        };
        let difference = method.and_then(Method::difference);
        let ratio = |base: Option<&CostRow>| {
            let base = base?;
            let (numerator, denominator) = match (tally, base.tally) {
                (Some(plain), Some(base_plain)) => (plain, base_plain),
                _ => (performed, base.tally_performed),
            };
            Some(numerator.multiplications as f64 / denominator.multiplications as f64)
        };
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
            tally,
            tally_performed: performed,
            tally_counted: tally.and_then(|tally| self.counted(bench, method, &tally)),
            tally_measured: None,
            multiplications_to_forward: ratio(base.forward.as_ref()),
            multiplications_to_backprop: ratio(base.backprop.as_ref()),
            memory: method.map_or(shape.evaluation(), |method| {
                shape.gradient(&method.gradient)
            }),
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
            row.take(timing, base.backprop.as_ref());
        }
        Ok(Some(row))
    }

    /// Counts the operations of the plain implementation, unless they are predicted to be too many.
    /// The counts do not depend on the inputs' values, so the inputs are not scaled.
    fn counted<R: Real>(
        &self,
        bench: &TimingBench<'_, R>,
        method: Option<&Method>,
        predicted: &Tally,
    ) -> Option<Tally> {
        if predicted.multiplications + predicted.additions > MAX_COUNTED {
            return None;
        }
        let dataset = &self.subject.split.train.dataset;
        let batch: Vec<Sample> = (bench.rows.iter())
            .map(|&row| {
                let row = row as usize;
                let inputs = (0..dataset.feature_count()).map(|at| dataset.features.value(row, at));
                (inputs.collect(), dataset.labels[row])
            })
            .collect();
        let theta: Vec<f64> = bench.theta.flat().iter().map(|x| x.to_f64()).collect();
        match method {
            Some(method) => {
                dense_formulas::counted(bench.network, &method.gradient, &theta, &batch)
            }
            None => Some(dense_formulas::counted_evaluation(
                bench.network,
                &theta,
                &batch,
            )),
        }
    }
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

/// The rows relative to which others are given, if they exist already.
struct CostBaseline {
    forward: Option<CostRow>,
    backprop: Option<CostRow>,
}

impl CostRow {
    /// Fills in the measured times.
    fn take(&mut self, timing: Timing, backprop: Option<&Self>) {
        self.seconds = median(&timing.samples);
        self.seconds_to_forward = median_ratio(&timing.samples, &timing.evaluations);
        let backprop = backprop.and_then(|row| row.seconds);
        self.seconds_to_backprop = match (self.seconds, backprop) {
            (Some(seconds), Some(backprop)) => Some(seconds / backprop),
            _ => None,
        };
        if timing.share == 1.0 {
            let mut tally = self.tally_performed;
            if timing.counted > 0 && tally.jacobian_vector_products == 0 {
                tally.evaluations = timing.counted;
            } else if timing.counted > 0 {
                tally.jacobian_vector_products = timing.counted.saturating_sub(tally.evaluations);
            }
            self.tally_measured = Some(tally);
        }
        self.measured_share = Some(timing.share);
        self.gradients_per_sample = timing.gradients;
        self.samples = timing.samples;
        self.forward_samples = timing.evaluations;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uneven rounds: the least, median and largest of the seconds and of the ratios all differ.
    #[test]
    fn a_row_has_the_median_of_its_samples_and_of_its_ratios() {
        let backprop: CostRow = serde_json::from_value(serde_json::json!({
            "label": "backprop", "method": "backprop", "layers": [4, 5, 3], "parameters": 43,
            "batch_rows": 10, "tally_performed": Tally::default(), "memory": 0.0,
            "predicted_seconds": 1.0, "seconds": 2.5, "samples": [], "forward_samples": [],
            "gradients_per_sample": 0
        }))
        .unwrap();
        let mut row = backprop.clone();
        let timing = Timing {
            samples: vec![50.0, 30.0, 10.0, 20.0, 90.0],
            evaluations: vec![5.0, 10.0, 1.0, 10.0, 10.0],
            gradients: 7,
            share: 0.5,
            counted: 0,
        };
        row.take(timing.clone(), Some(&backprop));
        assert_eq!(row.seconds, Some(30.0));
        // 10, 3, 10, 2 and 9.
        assert_eq!(row.seconds_to_forward, Some(9.0));
        assert_eq!(row.seconds_to_backprop, Some(30.0 / 2.5));
        assert_eq!(row.samples, timing.samples);
        assert_eq!(row.forward_samples, timing.evaluations);
        assert_eq!(
            (row.measured_share, row.gradients_per_sample),
            (Some(0.5), 7)
        );
    }
}
