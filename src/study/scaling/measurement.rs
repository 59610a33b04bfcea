//! Takes the samples of a scaling study, with one engine per cell.
//!
//! Worker pools and engines are created when a sample first needs them, and reused. If the system
//! refuses a number of threads, the earlier samples are kept.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use super::summary::{ScalingReport, line};
use super::{Cell, PlannedDivision, ScalingPlan, ScalingSample, take_in_turns};
use crate::config::Config;
use crate::data::{Inputs, Samples};
use crate::error::{Error, Result};
use crate::gradient::backprop::limits::DivisionLimits;
use crate::gradient::finite_difference::Reuse;
use crate::model::Network;
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;
use crate::parallel::processors::OtherLoad;
use crate::study::machine_peaks::{Peaks, bytes_to_read};
use crate::study::methods;
use crate::study::record::StudyRecord;
use crate::study::timing::{NotMeasured, TimingBench, TimingSample, WarmEngine};
use crate::study::{Study, StudyReport, Subject};

/// A scaling study that is ready to run.
pub struct ScalingStudy<'a> {
    subject: Subject<'a>,
    network: Network,
    /// The processors to which the threads are pinned, in order; empty if they are not pinned.
    processors: Vec<usize>,
    /// The processor time that other processes used during the measurement, in processors.
    others: Option<f64>,
}

/// The engine of one cell.
struct CellEngine<'a, R> {
    bench: TimingBench<'a, R>,
    peaks: &'a Peaks,
    warm: WarmEngine<R>,
    weights_sha256: Option<String>,
    operations: u64,
    least_bytes: u64,
}

impl<'a> ScalingStudy<'a> {
    /// Creates a study of `network`, with threads pinned to `processors`, if there are any.
    pub fn new(subject: Subject<'a>, network: Network, processors: Vec<usize>) -> Self {
        Self {
            subject,
            network,
            processors,
            others: None,
        }
    }

    /// Counts what limits each division of `plan`, for the mini-batches that are measured: of both
    /// splits of backprop and of whole differences.
    pub fn divisions(&self, plan: &ScalingPlan) -> Vec<PlannedDivision> {
        match self.subject.config.model.precision {
            Precision::F32 => self.divisions_in::<f32>(plan),
            Precision::F64 => self.divisions_in::<f64>(plan),
        }
    }

    fn divisions_in<R: Real>(&self, plan: &ScalingPlan) -> Vec<PlannedDivision> {
        let split = self.subject.split;
        let train = &split.train;
        let samples = Samples::<R>::new(&train.dataset, &split.scaling);
        let sizes = self.network.layout.sizes();
        let all = ScalingPlan {
            threads: [&plan.threads[..], &plan.predicted_threads].concat(),
            weak: false,
            ..plan.clone()
        };
        let divided = |cell: Cell| {
            let rows = &train.rows[..cell.batch_rows];
            let method = methods::by_name(&cell.method).ok()?;
            let whole_passes = method.difference().map(|config| config.reuse) == Some(Reuse::Full);
            let limits = match cell.split {
                Some(split) => DivisionLimits::of(&samples, sizes, rows, (split, cell.threads)),
                None if whole_passes => {
                    DivisionLimits::of_equal_tasks(self.network.layout.len(), cell.threads)
                }
                None => return None,
            };
            Some(PlannedDivision {
                limits,
                method: cell.method,
                split: cell.split,
                batch_rows: cell.batch_rows,
                threads: cell.threads,
            })
        };
        all.cells().into_iter().filter_map(divided).collect()
    }

    fn run_in<R: Real>(
        &self,
        plan: &ScalingPlan,
        record: &mut StudyRecord<ScalingSample>,
    ) -> Result<bool> {
        let Subject { config, split, .. } = self.subject;
        let train = &split.train;
        let samples = Samples::<R>::new(&train.dataset, &split.scaling);
        let initialization = config.model.initialization;
        let theta = initialization.draw::<R>(&self.network.layout, config.seed);
        // θ is hashed after a step at this rate.
        let rate = config.optimizer.learning_rate().unwrap_or(1.0);
        let cells = plan.cells();
        let peaks: Vec<OnceCell<Peaks>> = plan.threads.iter().map(|_| OnceCell::new()).collect();
        let mut engines: Vec<Option<CellEngine<R>>> = cells.iter().map(|_| None).collect();
        let recorded = record.rows().to_vec();
        let take = |cell: &Cell, round| {
            let number = cells.iter().position(|other| other == cell);
            let engine = &mut engines[number.expect("a cell of the plan")];
            if engine.is_none() {
                let index = plan.threads.iter().position(|&count| count == cell.threads);
                let pool = &peaks[index.expect("cells have the plan's numbers of threads")];
                let bench = TimingBench {
                    network: &self.network,
                    theta: &theta,
                    samples: &samples,
                    rows: &train.rows[..cell.batch_rows],
                    workers: self.peaks(pool, cell.threads)?.workers(),
                    isa: self.subject.isa,
                    control: self.subject.control,
                    repeats: 1,
                    limit: Duration::try_from_secs_f64(plan.limit_seconds).unwrap_or(Duration::MAX),
                    split: cell.split,
                };
                match CellEngine::new(bench, self.peaks(pool, cell.threads)?, cell, rate)? {
                    Ok(warm) => *engine = Some(warm),
                    Err(reason) => return no_sample(reason, cell),
                }
            }
            engine.as_mut().expect("created above").take(cell, round)
        };
        take_in_turns(plan, &recorded, take, |sample| record.push(sample))
    }

    /// Returns the worker pool of `threads` threads with its peak measurement, created on first
    /// use.
    fn peaks<'p>(&self, cell: &'p OnceCell<Peaks>, threads: usize) -> Result<&'p Peaks> {
        if let Some(existing) = cell.get() {
            return Ok(existing);
        }
        let workers = Arc::new(Workers::pinned(Some(threads), &self.processors)?);
        Ok(cell.get_or_init(|| Peaks::new(workers, self.subject.isa, bytes_to_read())))
    }
}

impl Study for ScalingStudy<'_> {
    const KIND: &'static str = "scale";
    const ROWS: &'static str = "samples";
    type Plan = ScalingPlan;
    type Row = ScalingSample;

    fn config(&self) -> Option<&Config> {
        Some(self.subject.config)
    }

    fn threads(&self, plan: &ScalingPlan) -> usize {
        plan.threads.iter().max().copied().unwrap_or(1)
    }

    /// Takes the samples.
    ///
    /// # Errors
    /// Returns an error if an increment is lost in θ or the limit allows not a single evaluation,
    /// [`Error::Resources`] if the system refuses threads, and other errors of the system.
    fn run(&mut self, plan: &ScalingPlan, record: &mut StudyRecord<ScalingSample>) -> Result<bool> {
        let load = OtherLoad::watch();
        let finished = match self.subject.config.model.precision {
            Precision::F32 => self.run_in::<f32>(plan, record),
            Precision::F64 => self.run_in::<f64>(plan, record),
        }?;
        self.others = load.processors();
        Ok(finished)
    }

    fn line(sample: &ScalingSample) -> String {
        line(sample)
    }

    fn report<'a>(
        &'a self,
        plan: &'a ScalingPlan,
        record: &'a StudyRecord<ScalingSample>,
    ) -> impl StudyReport + 'a {
        ScalingReport::new(
            &self.subject.config.name,
            record.label(),
            record.environment(),
            plan,
            record.rows(),
            self.others,
        )
    }
}

impl<'a, R: Real> CellEngine<'a, R> {
    /// Creates the engine of `cell`, and hashes θ after one step.
    fn new(
        bench: TimingBench<'a, R>,
        peaks: &'a Peaks,
        cell: &Cell,
        rate: f64,
    ) -> Result<std::result::Result<Self, NotMeasured>> {
        let method = methods::by_name(&cell.method)?;
        let mut warm = match bench.warm_engine(&method.gradient)? {
            Ok(warm) => warm,
            Err(reason) => return Ok(Err(reason)),
        };
        let weights_sha256 = match warm.first().share == 1.0 {
            true => Some(bench.weights_after_a_step(&mut warm, rate)?),
            false => None,
        };
        let tally = bench.tally(&method.gradient);
        Ok(Ok(Self {
            operations: tally.multiplications + tally.additions,
            least_bytes: least_bytes(bench.network, bench.samples, cell.batch_rows),
            bench,
            peaks,
            warm,
            weights_sha256,
        }))
    }

    /// Takes one sample; returns `None` if the control requested a stop.
    fn take(&mut self, cell: &Cell, round: usize) -> Result<Option<ScalingSample>> {
        let rates = self.peaks.sample();
        let TimingSample {
            seconds,
            cpu_seconds,
            share,
        } = match self.bench.sample(&mut self.warm)? {
            Ok(lap) => lap,
            Err(reason) => return no_sample(reason, cell),
        };
        if self.bench.control.is_stopped() {
            return Ok(None);
        }
        Ok(Some(ScalingSample {
            round,
            method: cell.method.clone(),
            split: cell.split,
            batch_rows: cell.batch_rows,
            threads: cell.threads,
            seconds,
            cpu_seconds,
            gradients: self.warm.gradients,
            share,
            operations: self.operations,
            least_bytes: self.least_bytes,
            peak_operations: rates.operations,
            peak_bytes: rates.bytes,
            meeting_seconds: Some(rates.meeting),
            weights_sha256: self.weights_sha256.clone(),
        }))
    }
}

/// Returns no sample after an interruption, or an error if the limit is too short.
fn no_sample(reason: NotMeasured, cell: &Cell) -> Result<Option<ScalingSample>> {
    match reason {
        NotMeasured::Interrupted => Ok(None),
        NotMeasured::TooSlow => Err(Error::Usage(format!(
            "{} on {} rows completes no evaluation within the limit\n  help: give --limit more seconds, or leave the method out with --methods",
            cell.method, cell.batch_rows
        ))),
    }
}

/// Returns the bytes of θ and of the rows' inputs as stored.
fn least_bytes<R: Real>(network: &Network, samples: &Samples<R>, rows: usize) -> u64 {
    let input = match samples.inputs() {
        Inputs::Sparse(_) => 1,
        _ => R::BYTES,
    };
    (network.layout.len() * R::BYTES + rows * samples.features() * input) as u64
}
