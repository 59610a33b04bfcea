//! The engines of all cells, side by side, and the samples they give.
//!
//! A team and an engine are made when a sample first needs them, and stay: where the system refuses
//! a number of threads, the samples before it are kept.

use std::cell::OnceCell;
use std::sync::Arc;
use std::time::Duration;

use super::{Cell, ScalingPlan, ScalingSample, take_in_turns};
use crate::data::{Inputs, Samples, Split};
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::model::{Initialization, Network};
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;
use crate::study::machine_peaks::{Peaks, bytes_to_read};
use crate::study::methods;
use crate::study::record::StudyRecord;
use crate::study::timing::{NotMeasured, TimingBench, TimingSample, WarmEngine};

/// What the cells compute.
pub struct Measurement<'a> {
    /// The rows' dataset and scaling.
    pub split: &'a Split,
    /// Topology and loss.
    pub network: &'a Network,
    /// Which θ.
    pub initialization: Initialization,
    /// Seeds it.
    pub seed: u64,
    /// The rate of the step after which θ is hashed.
    pub learning_rate: f64,
    /// What is computed in.
    pub precision: Precision,
    /// On which threads are kept, in order; empty: they stay free.
    pub processors: &'a [usize],
    /// The kernels.
    pub isa: Isa,
    /// Ends the study, in the middle of a sample if need be.
    pub control: &'a Control,
}

/// A cell's engine.
struct CellEngine<'a, R> {
    bench: TimingBench<'a, R>,
    peaks: &'a Peaks,
    ready: WarmEngine<R>,
    weights_sha256: Option<String>,
    operations: u64,
    least_bytes: u64,
}

impl Measurement<'_> {
    /// Takes every sample that `record` does not have yet; `tell` is told of each. Returns whether
    /// all are there: the control was not raised.
    ///
    /// # Errors
    /// A gradient that cannot be, or of which the limit allows nothing; [`Error::Resources`] where
    /// the system refuses threads; whatever else it refuses. The samples taken are in `record`.
    pub fn run(
        &self,
        plan: &ScalingPlan,
        record: &mut StudyRecord<ScalingSample>,
        tell: &mut dyn FnMut(&ScalingSample),
    ) -> Result<bool> {
        match self.precision {
            Precision::F32 => self.run_in::<f32>(plan, record, tell),
            Precision::F64 => self.run_in::<f64>(plan, record, tell),
        }
    }

    fn run_in<R: Real>(
        &self,
        plan: &ScalingPlan,
        record: &mut StudyRecord<ScalingSample>,
        tell: &mut dyn FnMut(&ScalingSample),
    ) -> Result<bool> {
        let train = &self.split.train;
        let samples = Samples::<R>::new(&train.dataset, &self.split.scaling);
        let theta = self
            .initialization
            .draw::<R>(&self.network.layout, self.seed);
        let cells = plan.cells();
        let places: Vec<OnceCell<Peaks>> = plan.threads.iter().map(|_| OnceCell::new()).collect();
        let mut seats: Vec<Option<CellEngine<R>>> = cells.iter().map(|_| None).collect();
        let there = record.rows().to_vec();
        let take = |cell: &Cell, round| {
            let number = cells.iter().position(|other| other == cell);
            let seat = &mut seats[number.expect("a cell of the plan")];
            if seat.is_none() {
                let place = plan.threads.iter().position(|&count| count == cell.threads);
                let place = &places[place.expect("cells have the plan's numbers of threads")];
                let bench = TimingBench {
                    network: self.network,
                    theta: &theta,
                    samples: &samples,
                    rows: &train.rows[..cell.batch_rows],
                    team: self.peaks(place, cell.threads)?.team(),
                    isa: self.isa,
                    control: self.control,
                    repeats: 1,
                    limit: Duration::try_from_secs_f64(plan.limit_seconds).unwrap_or(Duration::MAX),
                };
                match CellEngine::new(
                    bench,
                    self.peaks(place, cell.threads)?,
                    cell,
                    self.learning_rate,
                )? {
                    Ok(ready) => *seat = Some(ready),
                    Err(missing) => return none(missing, cell),
                }
            }
            seat.as_mut().expect("made above").take(cell, round)
        };
        take_in_turns(plan, &there, take, |sample| {
            tell(&sample);
            record.push(sample)
        })
    }

    /// The team of so many threads and what it can do, made when it is first asked for.
    fn peaks<'p>(&self, place: &'p OnceCell<Peaks>, threads: usize) -> Result<&'p Peaks> {
        if let Some(made) = place.get() {
            return Ok(made);
        }
        let team = Arc::new(Workers::on(Some(threads), self.processors)?);
        Ok(place.get_or_init(|| Peaks::new(team, self.isa, bytes_to_read())))
    }
}

impl<'a, R: Real> CellEngine<'a, R> {
    /// The engine of `cell`, and the hash of θ after a step of it.
    fn new(
        bench: TimingBench<'a, R>,
        peaks: &'a Peaks,
        cell: &Cell,
        rate: f64,
    ) -> Result<std::result::Result<Self, NotMeasured>> {
        let method = methods::one(&cell.method)?;
        let mut ready = match bench.ready(&method.gradient)? {
            Ok(ready) => ready,
            Err(missing) => return Ok(Err(missing)),
        };
        let weights_sha256 = match ready.first().share == 1.0 {
            true => Some(bench.weights_after_a_step(&mut ready, rate)?),
            false => None,
        };
        let tally = bench.tally(&method.gradient);
        Ok(Ok(Self {
            operations: tally.multiplications + tally.additions,
            least_bytes: least_bytes(bench.network, bench.samples, cell.batch_rows),
            bench,
            peaks,
            ready,
            weights_sha256,
        }))
    }

    /// One sample; `None` if the control was raised.
    fn take(&mut self, cell: &Cell, round: usize) -> Result<Option<ScalingSample>> {
        let rates = self.peaks.sample();
        let TimingSample {
            seconds,
            cpu_seconds,
            share,
        } = match self.bench.sample(&mut self.ready)? {
            Ok(lap) => lap,
            Err(missing) => return none(missing, cell),
        };
        if self.bench.control.is_stopped() {
            return Ok(None);
        }
        Ok(Some(ScalingSample {
            round,
            method: cell.method.clone(),
            batch_rows: cell.batch_rows,
            threads: cell.threads,
            seconds,
            cpu_seconds,
            gradients: self.ready.gradients,
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

fn none(missing: NotMeasured, cell: &Cell) -> Result<Option<ScalingSample>> {
    match missing {
        NotMeasured::Interrupted => Ok(None),
        NotMeasured::TooSlow => Err(Error::Usage(format!(
            "{} on {} rows makes not one evaluation within the limit\n  help: give --limit more seconds, or leave the method out with --methods",
            cell.method, cell.batch_rows
        ))),
    }
}

/// Bytes of θ and of the rows' inputs as they are kept.
fn least_bytes<R: Real>(network: &Network, samples: &Samples<R>, rows: usize) -> u64 {
    let input = match samples.inputs() {
        Inputs::Sparse(_) => 1,
        _ => R::BYTES,
    };
    (network.layout.len() * R::BYTES + rows * samples.features() * input) as u64
}
