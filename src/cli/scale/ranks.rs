//! `nplus1 scale --ranks`: predicts steps by several ranks, and measures those of the ranks that
//! `mpirun` started.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::cli::arguments::{Global, ScaleArguments};
use crate::cli::inputs::Inputs;
use crate::cli::output::{Messages, show};
use crate::cli::ranks::start_rank;
use crate::cli::session::Session;
use crate::config::Overrides;
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::gradient::operation_counts;
use crate::gradient::{Control, GradientConfig};
use crate::kernels::Isa;
use crate::kernels::update::Rule;
use crate::memory::bytes;
use crate::numeric::statistics::median;
use crate::numeric::{Precision, Real};
use crate::parallel::{Ranks, Workers};
use crate::study::methods;
use crate::study::rank_scaling::{Connection, RankRow, StepWork};
use crate::study::table::{Table, duration, list, percent, times, topology, whole};

/// Default methods, of threads as well.
pub(super) const METHODS: [&str; 4] = [
    "backprop",
    "forward-difference/incremental",
    "forward-difference/cancellation-free",
    "forward-difference/full",
];
/// The connection that is assumed unless it is measured or given: a current network of a cluster.
const ASSUMED: Connection = Connection {
    latency: 2e-6,
    bandwidth: 1.2e10,
};
/// Bytes that each rank contributes to the exchange that measures the latency, and at most to the one
/// that measures the bandwidth.
const SMALL: usize = 8;
const LARGE: usize = 4 << 20;
/// Repetitions of both.
const REPEATS: [usize; 2] = [1000, 100];

/// Least duration of a sample of steps, in which a thread's way to its processor must not show, and
/// the most steps of a sample.
const SAMPLE: Duration = Duration::from_millis(20);
const MOST_STEPS: u32 = 1 << 12;

/// The result.
#[derive(Serialize)]
struct RankScaling {
    sizes: Vec<usize>,
    parameters: usize,
    reduce: &'static str,
    connection: Connection,
    /// Whether the connection was measured, or assumed or given.
    connection_is_measured: bool,
    /// Multiplications a second of one rank, if they were given instead of measuring a step.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate: Option<f64>,
    rows: Vec<RankRow>,
}

/// Predicts and measures, and prints a table.
///
/// # Errors
/// A config, methods or mini-batches that are refused; [`Error::OtherRank`].
pub fn run(
    arguments: &ScaleArguments,
    counts: &[usize],
    global: &Global,
    (messages, ranks): (Messages, &Ranks),
    out: &mut dyn Write,
) -> Result<()> {
    if let Some(count) = counts.iter().find(|&&count| count == 0 || count > 1 << 20) {
        return Err(Error::Usage(format!(
            "--ranks: {count}; allowed: 1 to {}",
            1 << 20
        )));
    }
    let path = arguments.config.as_deref().expect("clap asks for it");
    let overrides = Overrides {
        set: arguments.set.clone(),
        ..Overrides::default()
    };
    let inputs = Inputs::load(path, &overrides, global)?;
    let session = Session::new(&inputs.config, &inputs.split, None)?;
    let result = match inputs.config.model.precision {
        Precision::F32 => predict::<f32>(arguments, counts, &session, (messages, ranks)),
        Precision::F64 => predict::<f64>(arguments, counts, &session, (messages, ranks)),
    }?;
    match ranks.is_first() {
        true => show(&result, text, global, out),
        false => Ok(()),
    }
}

fn predict<R: Real>(
    arguments: &ScaleArguments,
    counts: &[usize],
    session: &Session<'_>,
    (messages, ranks): (Messages, &Ranks),
) -> Result<RankScaling> {
    let (config, split) = (session.config, session.split);
    let workers = start_rank(ranks, &config.run, messages)?;
    let (mut connection, connection_is_measured) = match ranks.are_many() {
        true => (
            measure_connection(ranks, session.network.layout.len() * R::BYTES)?,
            true,
        ),
        false => (ASSUMED, false),
    };
    connection.latency = arguments.latency.unwrap_or(connection.latency);
    connection.bandwidth = arguments.bandwidth.unwrap_or(connection.bandwidth);
    let samples = Samples::<R>::new(&split.train.dataset, &split.scaling);
    let alone = match ranks.are_many() {
        true => Arc::new(Workers::exactly(workers.threads())?),
        false => Arc::clone(&workers),
    };
    let batch = config.train.batch_size.min(split.train.rows.len());
    let batches = arguments.batches.clone().unwrap_or(vec![batch]);
    if let Some(rows) = batches
        .iter()
        .find(|&&rows| rows == 0 || rows > split.train.rows.len())
    {
        return Err(Error::Usage(format!(
            "--batches: {rows} rows; allowed: 1 to {}",
            split.train.rows.len()
        )));
    }
    let names = match &arguments.methods {
        Some(names) => names.clone(),
        None => METHODS.map(str::to_owned).to_vec(),
    };
    let mut rows = Vec::new();
    for &batch in &batches {
        for method in methods::select(&names)? {
            let timer = StepTimer::<R> {
                session,
                samples: &samples,
                rows: &split.train.rows[..batch],
                gradient: &method.gradient,
                runs: arguments.runs as usize,
            };
            let seconds = match arguments.rate {
                Some(rate) => timer.multiplications() / rate,
                None => timer.alone(&alone, ranks)?,
            };
            let work = StepWork {
                label: &method.label,
                gradient: &method.gradient,
                network: &session.network,
                rows: batch,
                width: R::BYTES,
                seconds,
            };
            for &count in counts {
                let mut row = work.predict(count, config.run.reduce, connection);
                if ranks.are_many() && count == ranks.size() {
                    row.measured_seconds = Some(timer.together(&workers)?);
                }
                rows.push(row);
            }
        }
    }
    Ok(RankScaling {
        sizes: session.network.layout.sizes().to_vec(),
        parameters: session.network.layout.len(),
        reduce: config.run.reduce.name(),
        connection,
        connection_is_measured,
        rate: arguments.rate,
        rows,
    })
}

/// Measures the latency between the ranks, and the bandwidth of an exchange of θ, which has `bytes`:
/// small ones may go through caches.
fn measure_connection(ranks: &Ranks, bytes: usize) -> Result<Connection> {
    let rounds = f64::from(usize::BITS - (ranks.size() - 1).leading_zeros());
    let share = (bytes / ranks.size()).clamp(1 << 12, LARGE);
    let [small, large] = [
        ranks.time_exchange(SMALL, REPEATS[0])?,
        ranks.time_exchange(share, REPEATS[1])?,
    ];
    let received = (share * (ranks.size() - 1)) as f64;
    Ok(Connection {
        latency: small / rounds,
        bandwidth: received / (large - small).max(1e-9),
    })
}

/// A training step whose time is measured.
struct StepTimer<'a, R> {
    session: &'a Session<'a>,
    samples: &'a Samples<R>,
    rows: &'a [u32],
    gradient: &'a GradientConfig,
    runs: usize,
}

impl<R: Real> StepTimer<'_, R> {
    /// Steps that leave θ where it is, so that all do the same work.
    const RULE: Rule<R> = Rule {
        rate: R::ZERO,
        l2: R::ZERO,
        decay: R::ZERO,
        momentum: R::ZERO,
    };

    /// Returns the multiplications of a gradient.
    fn multiplications(&self) -> f64 {
        let (network, method) = (&self.session.network, Some(self.gradient));
        let tally = operation_counts::performed(network, method, self.samples, self.rows);
        tally.multiplications as f64
    }

    /// Returns the seconds of a step on the first rank, while all others wait.
    fn alone(&self, workers: &Arc<Workers>, ranks: &Ranks) -> Result<f64> {
        let mut seconds = 0.0;
        if ranks.is_first() {
            let ranks = Ranks::alone();
            seconds = self.median_seconds(workers, &ranks)?;
        }
        let first = ranks.agree(Duration::from_secs_f64(seconds))?;
        Ok(first.as_secs_f64())
    }

    /// Returns the seconds of a step on all ranks.
    fn together(&self, workers: &Arc<Workers>) -> Result<f64> {
        self.median_seconds(workers, workers.ranks())
    }

    fn median_seconds(&self, workers: &Arc<Workers>, ranks: &Ranks) -> Result<f64> {
        let rows = self.rows.len();
        let mut engine = self.gradient.engine(
            &self.session.network,
            workers,
            Isa::detect(),
            self.samples,
            rows,
        );
        engine.load(&self.session.first_parameters());
        let (threads, control) = (engine.most_workers(), Control::default());
        let mut time = |steps: u32| -> Result<f64> {
            let order = self.rows.repeat(steps as usize);
            ranks.agree(Duration::ZERO)?;
            let start = Instant::now();
            workers
                .install(|| {
                    engine.descend(
                        self.samples,
                        &order,
                        rows,
                        Self::RULE,
                        threads,
                        &mut 0.0,
                        &control,
                    )
                })
                .map_err(|stopped| Error::Usage(stopped.to_string()))?;
            Ok(start.elapsed().as_secs_f64() / f64::from(steps))
        };
        // All ranks take as many steps as the first one finds long enough to be timed.
        let mut steps = 1;
        while steps < MOST_STEPS {
            let took = Duration::from_secs_f64(time(steps)?) * steps;
            if ranks.agree(took)? >= SAMPLE {
                break;
            }
            steps *= 2;
        }
        let seconds: Vec<f64> = (0..self.runs).map(|_| time(steps)).collect::<Result<_>>()?;
        let seconds = median(&seconds).unwrap_or(0.0);
        let agreed = ranks.agree(Duration::from_secs_f64(seconds))?;
        Ok(agreed.as_secs_f64())
    }
}

fn text(result: &RankScaling) -> String {
    let Connection { latency, bandwidth } = result.connection;
    let source = match result.connection_is_measured {
        true => "measured",
        false => "assumed (--latency, --bandwidth)",
    };
    let mut head = vec![
        (
            "network",
            format!(
                "{}, {} parameters",
                topology(&result.sizes),
                whole(result.parameters as u64)
            ),
        ),
        (
            "connection",
            format!(
                "latency {}, bandwidth {}/s, {source}",
                duration(latency),
                bytes(bandwidth)
            ),
        ),
    ];
    if let Some(rate) = result.rate {
        head.push(("rate", format!("{rate:.3e} multiplications a second")));
    }
    let mut table = Table::new([
        "method",
        "rows",
        "ranks",
        "bytes",
        "work",
        "exchange",
        "step",
        "efficiency",
        "measured",
        "/ predicted",
    ]);
    for row in &result.rows {
        let measured = row.measured_seconds;
        table.row([
            row.method.clone(),
            row.rows.to_string(),
            row.ranks.to_string(),
            bytes(row.bytes as f64),
            duration(row.work_seconds),
            duration(row.exchange_seconds),
            duration(row.seconds),
            percent(Some(row.efficiency)),
            measured.map_or(String::new(), duration),
            measured.map_or(String::new(), |seconds| times(seconds / row.seconds)),
        ]);
    }
    format!("{}\n{table}", list(&head))
}
