//! Measures the machine's peak rates on a number of threads: multiply-adds per second, bytes read
//! per second, and the time to synchronize the threads.
//!
//! A gradient's speed is compared with these limits. A speedup below the ideal may have causes
//! outside the method: a lower clock rate, saturated memory, or processors that share no cache
//! (data written by one thread take 30 ns to a neighbor, 160 ns from one third-level cache to
//! another).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::kernels::Isa;
use crate::kernels::peak_rate::{MemoryReads, MultiplyAdds};
use crate::parallel::{Superstep, Supersteps, Workers};
use crate::run::cpu_caches;

/// Rounds of multiply-adds per kernel call, about ten microseconds.
const ROUNDS: usize = 1 << 12;
/// Kernel calls per sample, so that a sample takes a few milliseconds.
const CALLS: usize = 200;
/// Synchronizations per sample, about a tenth of a millisecond.
const SYNCHRONIZATIONS: usize = 1000;
/// Time after which no more synchronizations are made, in case another process occupies a core.
const TIME_LIMIT: Duration = Duration::from_millis(2);

/// One sample of the machine's peak rates.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeakRates {
    /// f32 operations per second; a fused multiply-add counts as two.
    pub operations: f64,
    /// Bytes read from memory per second.
    pub bytes: f64,
    /// Seconds of a synchronization: a superstep without work.
    pub meeting: f64,
}

/// Returns a number of bytes of which the caches hold only a small part: four times the largest
/// cache that the system reports, from 64 MiB to 1 GiB.
pub fn bytes_to_read() -> usize {
    const LEAST: u64 = 64 << 20;
    const MOST: u64 = 1 << 30;
    let largest = cpu_caches::detect()
        .into_iter()
        .map(|cache| cache.bytes)
        .max();
    (4 * largest.unwrap_or(0)).clamp(LEAST, MOST) as usize
}

/// The prepared measurement on one worker pool.
pub struct Peaks {
    workers: Arc<Workers>,
    isa: Isa,
    /// Each worker's numbers, first written by that worker, so that they are in its local memory.
    shares: Vec<Mutex<Vec<f32>>>,
}

impl Peaks {
    /// Allocates `bytes` in total to read, which should be several times the caches.
    pub fn new(workers: Arc<Workers>, isa: Isa, bytes: usize) -> Self {
        let count = bytes / size_of::<f32>() / workers.threads();
        let shares: Vec<_> = (0..workers.threads()).map(|_| Mutex::default()).collect();
        run_on_all(&workers, |step| {
            *shares[step.worker()].lock().expect("no worker panics") = vec![1.0; count];
        });
        Self {
            workers,
            isa,
            shares,
        }
    }

    /// Returns the worker pool.
    pub fn workers(&self) -> &Arc<Workers> {
        &self.workers
    }

    /// Takes one sample of each rate, which takes some milliseconds.
    pub fn sample(&self) -> PeakRates {
        let (isa, shares) = (self.isa, &self.shares);
        let operations = timed(&self.workers, |_| {
            let factor = std::hint::black_box(0.5f32);
            let rounds = ROUNDS;
            (0..CALLS)
                .map(|_| isa.run(MultiplyAdds { rounds, factor }))
                .sum()
        });
        let bytes = timed(&self.workers, |worker| {
            let share = shares[worker].lock().expect("no worker panics");
            isa.run(MemoryReads { values: &share });
            size_of_val(&share[..]) as u64
        });
        PeakRates {
            operations,
            bytes,
            meeting: synchronization_time(&self.workers),
        }
    }
}

/// Measures the `work` that all workers together do per second, from the first worker's start to
/// the last one's end. Returns the best of four runs, because threads that have just been woken may
/// share a core for a moment.
fn timed(workers: &Workers, work: impl Fn(usize) -> u64 + Sync) -> f64 {
    const TIMES: usize = 4;
    let now = Instant::now();
    let results: Vec<_> = (0..workers.threads())
        .map(|_| Mutex::new([(0, now, now); TIMES]))
        .collect();
    run_on_all(workers, |mut step| {
        let worker = step.worker();
        let mut runs = [(0, now, now); TIMES];
        for (done, begin, end) in &mut runs {
            step = step.next();
            *begin = Instant::now();
            *done = work(worker);
            step = step.next();
            *end = Instant::now();
        }
        *results[worker].lock().expect("no worker panics") = runs;
    });
    let runs: Vec<_> = (results.iter())
        .map(|runs| *runs.lock().expect("no worker panics"))
        .collect();
    let rate = |time: usize| {
        let done: u64 = runs.iter().map(|runs| runs[time].0).sum();
        let begin = runs.iter().map(|runs| runs[time].1).min();
        let end = runs.iter().map(|runs| runs[time].2).max();
        let seconds = begin.zip(end).map(|(begin, end)| end - begin);
        done as f64 / seconds.expect("there is at least one worker").as_secs_f64()
    };
    (0..TIMES).map(rate).fold(0.0, f64::max)
}

/// Measures the seconds of one synchronization of all workers.
fn synchronization_time(workers: &Workers) -> f64 {
    let limit = AtomicUsize::new(SYNCHRONIZATIONS);
    let seconds = Mutex::new(f64::NAN);
    run_on_all(workers, |step| {
        // All workers have started.
        let mut step = step.next();
        let begin = Instant::now();
        let mut done = 0;
        while done < limit.load(Ordering::Relaxed) {
            let checks_time = step.worker() == 0 && done % 64 == 0;
            if checks_time && begin.elapsed() > TIME_LIMIT {
                // After the next synchronization every worker sees the new number.
                limit.fetch_min(done + 2, Ordering::Relaxed);
            }
            step = step.next();
            done += 1;
        }
        if step.worker() == 0 {
            let mean = begin.elapsed().as_secs_f64() / done as f64;
            *seconds.lock().expect("no worker panics") = mean;
        }
    });
    seconds.into_inner().expect("no worker panics")
}

/// Runs `work` on every worker.
fn run_on_all(workers: &Workers, work: impl Fn(Superstep<'_>) + Sync) {
    let supersteps = Supersteps::new(workers.threads());
    workers.run(supersteps, vec![(); workers.threads()], |(), step| {
        work(step);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_add_up_all_workers() {
        for threads in [1, 2, 3] {
            let workers = Arc::new(Workers::exactly(threads).unwrap());
            let peaks = Peaks::new(workers, Isa::detect(), 1 << 20);
            let rates = peaks.sample();
            assert!(rates.operations > 1e7 && rates.bytes > 1e7, "{rates:?}");
            assert!(rates.meeting > 0.0, "{rates:?}");
        }
    }

    #[test]
    fn work_is_summed_and_divided_by_the_longest_time() {
        let workers = Workers::exactly(2).unwrap();
        let rate = timed(&workers, |worker| {
            if worker == 1 {
                std::thread::sleep(Duration::from_millis(20));
            }
            5
        });
        assert!(rate <= 10.0 / 0.02, "{rate}");
    }
}
