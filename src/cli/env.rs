//! `nplus1 env`: this program, this machine, and its peak rates.

use std::io::Write;
use std::sync::Arc;

use serde::Serialize;
use serde_json::json;

use super::arguments::{EnvArguments, ThreadList};
use super::output::print;
use crate::error::Result;
use crate::kernels::Isa;
use crate::numeric::statistics;
use crate::parallel::Workers;
use crate::run::environment::Environment;
use crate::study::machine_peaks::{self, PeakRates, Peaks};
use crate::study::table::Table;

/// Samples of each rate, taken in turn over the numbers of threads.
const ROUNDS: usize = 7;

/// Median rates at one number of threads.
#[derive(Serialize)]
struct ThreadPeaks {
    threads: usize,
    operations_per_second: f64,
    bytes_per_second: f64,
    meeting_seconds: f64,
    samples: Vec<PeakRates>,
}

/// Prints the environment, and with `--peaks` the rates at each number of threads.
///
/// # Errors
/// Threads that the system refuses; a failed write.
pub fn run(arguments: &EnvArguments, json: bool, out: &mut dyn Write) -> Result<()> {
    let isa = Isa::detect();
    let environment = Environment::detect(isa.name(), Workers::available());
    let rows = if arguments.peaks {
        let list = arguments.threads.clone();
        measure(&list.unwrap_or_else(ThreadList::up_to_all).0, isa)?
    } else {
        Vec::new()
    };
    if json {
        let mut document = serde_json::to_value(&environment).expect("plain fields");
        if arguments.peaks {
            document["peaks"] = json!(rows);
        }
        return print(out, &format!("{document:#}\n"));
    }
    print(out, &description(&environment))?;
    if arguments.peaks {
        print(out, &format!("\n{}", table(&rows)))?;
    }
    Ok(())
}

fn measure(counts: &[usize], isa: Isa) -> Result<Vec<ThreadPeaks>> {
    let bytes = machine_peaks::bytes_to_read();
    let prepared: Vec<Peaks> = (counts.iter())
        .map(|&count| Ok(Peaks::new(Arc::new(Workers::new(Some(count))?), isa, bytes)))
        .collect::<Result<_>>()?;
    let mut rows: Vec<Vec<PeakRates>> = vec![Vec::new(); counts.len()];
    for round in 0..=ROUNDS {
        for (samples, peaks) in rows.iter_mut().zip(&prepared) {
            let rates = peaks.sample();
            // The first sample wakes the threads and raises the clock rate.
            if round > 0 {
                samples.push(rates);
            }
        }
    }
    let median = |samples: &[PeakRates], rate: fn(&PeakRates) -> f64| {
        let rates: Vec<f64> = samples.iter().map(rate).collect();
        statistics::median(&rates).expect("there are rounds")
    };
    let row = |(&threads, samples): (&usize, Vec<PeakRates>)| ThreadPeaks {
        threads,
        operations_per_second: median(&samples, |rates| rates.operations),
        bytes_per_second: median(&samples, |rates| rates.bytes),
        meeting_seconds: median(&samples, |rates| rates.meeting),
        samples,
    };
    Ok(counts.iter().zip(rows).map(row).collect())
}

fn table(rows: &[ThreadPeaks]) -> Table {
    let mut table = Table::new([
        "threads",
        "f32 GFLOP/s",
        "× 1 thread",
        "read GB/s",
        "× 1 thread",
        "barrier",
    ]);
    let one = rows.iter().find(|row| row.threads == 1);
    for row in rows {
        let times = |rate: fn(&ThreadPeaks) -> f64| {
            one.map_or_else(
                || "–".to_owned(),
                |one| format!("{:.2}", rate(row) / rate(one)),
            )
        };
        table.row([
            row.threads.to_string(),
            format!("{:.1}", row.operations_per_second / 1e9),
            times(|row| row.operations_per_second),
            format!("{:.1}", row.bytes_per_second / 1e9),
            times(|row| row.bytes_per_second),
            format!("{:.0} ns", row.meeting_seconds * 1e9),
        ]);
    }
    table
}

fn description(environment: &Environment) -> String {
    let caches: Vec<String> = (environment.caches.iter())
        .map(|cache| {
            let kind = match cache.kind.as_str() {
                "Unified" => String::new(),
                kind => format!(" {}", kind.to_lowercase()),
            };
            format!("L{}{kind} {}", cache.level, binary(cache.bytes))
        })
        .collect();
    let unknown = || "unknown".to_owned();
    let caches = if caches.is_empty() {
        unknown()
    } else {
        caches.join(", ")
    };
    let lines = [
        ("nplus1", environment.version.clone()),
        ("commit", environment.commit.clone().unwrap_or_else(unknown)),
        ("processor", environment.cpu.clone().unwrap_or_else(unknown)),
        (
            "cores",
            format!(
                "{} physical, {} logical to use; threads = \"auto\" takes {}",
                environment.physical_cores, environment.logical_cores, environment.threads
            ),
        ),
        ("caches", caches),
        ("memory", environment.memory.map_or_else(unknown, binary)),
        (
            "kernel",
            format!(
                "{} ({})",
                environment.kernel,
                environment.features.join(" ")
            ),
        ),
        ("system", format!("{} {}", environment.os, environment.arch)),
    ];
    let line = |(name, value)| format!("{name:<10} {value}\n");
    lines.into_iter().map(line).collect()
}

/// Formats bytes in the largest unit that is not above them.
fn binary(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let unit = units.into_iter().find(|&(power, _)| bytes >> power > 0);
    match unit {
        None => format!("{bytes} B"),
        Some((power, name)) => {
            let count = bytes as f64 / f64::from(1u32 << power);
            if count < 10.0 && count.fract() > 0.0 {
                format!("{count:.1} {name}")
            } else {
                format!("{count:.0} {name}")
            }
        }
    }
}
