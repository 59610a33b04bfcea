//! The engines of all cells, ready side by side, and the samples they give.

use std::sync::Arc;
use std::time::Duration;

use super::{Cell, Plan, Sample, take_in_turns};
use crate::data::{Inputs, Samples, Split};
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::model::{Initialization, Network};
use crate::numeric::{Isa, Precision, Real};
use crate::parallel::Team;
use crate::study::method::{self, Method};
use crate::study::peaks::{Peaks, bytes_to_read};
use crate::study::record::Record;
use crate::study::timing::{Bench, Lap, Missing, Ready};

/// What the cells compute.
pub struct Lineup<'a> {
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
    /// A team for each of the plan's numbers of threads.
    pub teams: &'a [Arc<Team>],
    /// The kernels.
    pub isa: Isa,
    /// Ends the study, in the middle of a sample if need be.
    pub control: &'a Control,
}

/// A cell's engine, where it is ready.
struct Seat<'a, R> {
    bench: Bench<'a, R>,
    method: Method,
    peaks: &'a Peaks<'a>,
    ready: Option<Ready<R>>,
    weights_sha256: Option<String>,
    operations: u64,
    least_bytes: u64,
}

impl Lineup<'_> {
    /// Takes every sample that `record` does not have yet; `tell` is told of each. Returns whether
    /// all are there: the control was not raised.
    ///
    /// # Errors
    /// A gradient that cannot be, or of which the limit allows nothing; whatever the operating
    /// system refuses.
    pub fn run(
        &self,
        plan: &Plan,
        record: &mut Record<Sample>,
        tell: &mut dyn FnMut(&Sample),
    ) -> Result<bool> {
        match self.precision {
            Precision::F32 => self.run_in::<f32>(plan, record, tell),
            Precision::F64 => self.run_in::<f64>(plan, record, tell),
        }
    }

    fn run_in<R: Real>(
        &self,
        plan: &Plan,
        record: &mut Record<Sample>,
        tell: &mut dyn FnMut(&Sample),
    ) -> Result<bool> {
        let train = &self.split.train;
        let samples = Samples::<R>::new(&train.dataset, &self.split.scaling);
        let theta = self
            .initialization
            .draw::<R>(&self.network.layout, self.seed);
        let bytes = bytes_to_read();
        let peaks: Vec<Peaks> = (self.teams.iter())
            .map(|team| Peaks::new(team, self.isa, bytes))
            .collect();
        let cells = plan.cells();
        let mut seats: Vec<Seat<R>> = Vec::with_capacity(cells.len());
        for cell in &cells {
            let place = plan.threads.iter().position(|&count| count == cell.threads);
            let place = place.expect("cells have the plan's numbers of threads");
            let bench = Bench {
                network: self.network,
                theta: &theta,
                samples: &samples,
                rows: &train.rows[..cell.batch_rows],
                team: &self.teams[place],
                isa: self.isa,
                control: self.control,
                repeats: 1,
                limit: Duration::try_from_secs_f64(plan.limit_seconds).unwrap_or(Duration::MAX),
            };
            let method = method::one(&cell.method)?;
            let tally = bench.tally(&method.gradient);
            seats.push(Seat {
                operations: tally.multiplications + tally.additions,
                least_bytes: least_bytes(self.network, &samples, cell.batch_rows),
                bench,
                method,
                peaks: &peaks[place],
                ready: None,
                weights_sha256: None,
            });
        }
        let there = record.rows().to_vec();
        let take = |cell: &Cell, round| {
            let place = cells.iter().position(|other| other == cell);
            seats[place.expect("a cell of the plan")].take(cell, round, self.learning_rate)
        };
        take_in_turns(plan, &there, take, |sample| {
            tell(&sample);
            record.push(sample)
        })
    }
}

impl<R: Real> Seat<'_, R> {
    /// One sample; `None` if the control was raised.
    fn take(&mut self, cell: &Cell, round: usize, rate: f64) -> Result<Option<Sample>> {
        if self.ready.is_none() {
            let mut ready = match self.bench.ready(&self.method.gradient)? {
                Ok(ready) => ready,
                Err(missing) => return none(missing, cell),
            };
            if ready.first().share == 1.0 {
                self.weights_sha256 = Some(self.bench.weights_after_a_step(&mut ready, rate)?);
            }
            self.ready = Some(ready);
        }
        let ready = self.ready.as_mut().expect("made above");
        let rates = self.peaks.sample();
        let Lap {
            seconds,
            cpu_seconds,
            share,
        } = match self.bench.sample(ready)? {
            Ok(lap) => lap,
            Err(missing) => return none(missing, cell),
        };
        if self.bench.control.is_stopped() {
            return Ok(None);
        }
        Ok(Some(Sample {
            round,
            method: cell.method.clone(),
            batch_rows: cell.batch_rows,
            threads: cell.threads,
            seconds,
            cpu_seconds,
            gradients: ready.gradients,
            share,
            operations: self.operations,
            least_bytes: self.least_bytes,
            peak_operations: rates.operations,
            peak_bytes: rates.bytes,
            weights_sha256: self.weights_sha256.clone(),
        }))
    }
}

fn none(missing: Missing, cell: &Cell) -> Result<Option<Sample>> {
    match missing {
        Missing::Interrupted => Ok(None),
        Missing::TooSlow => Err(Error::Usage(format!(
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
