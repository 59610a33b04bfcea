//! What the machine itself can do on so many threads: multiply-adds and reads a second, and how soon
//! they meet.
//!
//! The ceiling that a gradient is held against: a method that falls behind its ideal speedup may
//! only show that the clock slows down, that the memory is as fast as it gets, or that the processors
//! share no cache: what one thread has written takes 30 ns to a neighbor, and 160 from one third-level
//! cache to another.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::kernels::Isa;
use crate::kernels::peak_rate::{MemoryReads, MultiplyAdds};
use crate::parallel::{Superstep, Supersteps, Workers};
use crate::run::cpu_caches;

/// Rounds of multiply-adds between two looks at the clock: some ten microseconds.
const ROUNDS: usize = 1 << 12;
/// Looks a sample, so that a sample takes a few milliseconds.
const CALLS: usize = 200;
/// Meetings a sample: a tenth of a millisecond.
const MEETINGS: usize = 1000;
/// The time after which there have been enough: another process may hold a core.
const ENOUGH: Duration = Duration::from_millis(2);

/// Rates at their best: one sample of each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PeakRates {
    /// f32 operations a second, a fused multiply-add being two.
    pub operations: f64,
    /// Bytes read from memory a second.
    pub bytes: f64,
    /// Seconds of a meeting: a superstep in which nobody has anything to do.
    pub meeting: f64,
}

/// Bytes enough that caches hold only a small part of them, as far as the system tells its caches.
pub fn bytes_to_read() -> usize {
    const LEAST: u64 = 64 << 20;
    const MOST: u64 = 1 << 30;
    let largest = cpu_caches::detect()
        .into_iter()
        .map(|cache| cache.bytes)
        .max();
    (4 * largest.unwrap_or(0)).clamp(LEAST, MOST) as usize
}

/// Everything that a measurement on one team needs, prepared.
pub struct Peaks {
    team: Arc<Workers>,
    isa: Isa,
    /// A worker's numbers, touched by it first, so that they lie in the memory next to it.
    shares: Vec<Mutex<Vec<f32>>>,
}

impl Peaks {
    /// Prepares to read `bytes` in all, which should be several times the caches.
    pub fn new(team: Arc<Workers>, isa: Isa, bytes: usize) -> Self {
        let count = bytes / size_of::<f32>() / team.threads();
        let shares: Vec<_> = (0..team.threads()).map(|_| Mutex::default()).collect();
        on_all(&team, async |step| {
            *shares[step.worker()].lock().expect("nobody panics here") = vec![1.0; count];
        });
        Self { team, isa, shares }
    }

    /// The team.
    pub fn team(&self) -> &Arc<Workers> {
        &self.team
    }

    /// One sample of each; takes some milliseconds.
    pub fn sample(&self) -> PeakRates {
        let (isa, shares) = (self.isa, &self.shares);
        let operations = timed(&self.team, |_| {
            let factor = std::hint::black_box(0.5f32);
            let rounds = ROUNDS;
            (0..CALLS)
                .map(|_| isa.run(MultiplyAdds { rounds, factor }))
                .sum()
        });
        let bytes = timed(&self.team, |worker| {
            let share = shares[worker].lock().expect("nobody panics here");
            isa.run(MemoryReads { values: &share });
            size_of_val(&share[..]) as u64
        });
        PeakRates {
            operations,
            bytes,
            meeting: meeting(&self.team),
        }
    }
}

/// How much `work` all workers do a second, together, from when the first begins to when all have
/// ended: the best of a few times, because threads that have just woken may share a core for a moment.
fn timed(team: &Workers, work: impl Fn(usize) -> u64 + Sync) -> f64 {
    const TIMES: usize = 4;
    let now = Instant::now();
    let results: Vec<_> = (0..team.threads())
        .map(|_| Mutex::new([(0, now, now); TIMES]))
        .collect();
    on_all(team, async |mut step| {
        let worker = step.worker();
        let mut own = [(0, now, now); TIMES];
        for (done, begin, end) in &mut own {
            step = step.next().await;
            *begin = Instant::now();
            *done = work(worker);
            step = step.next().await;
            *end = Instant::now();
        }
        *results[worker].lock().expect("nobody panics here") = own;
    });
    let own: Vec<_> = (results.iter())
        .map(|own| *own.lock().expect("as above"))
        .collect();
    let rate = |time: usize| {
        let done: u64 = own.iter().map(|own| own[time].0).sum();
        let begin = own.iter().map(|own| own[time].1).min();
        let end = own.iter().map(|own| own[time].2).max();
        let seconds = begin.zip(end).map(|(begin, end)| end - begin);
        done as f64 / seconds.expect("a team has a worker").as_secs_f64()
    };
    (0..TIMES).map(rate).fold(0.0, f64::max)
}

/// Seconds of a meeting of all workers.
fn meeting(team: &Workers) -> f64 {
    let meetings = AtomicUsize::new(MEETINGS);
    let seconds = Mutex::new(f64::NAN);
    on_all(team, async |step| {
        // All are here.
        let mut step = step.next().await;
        let begin = Instant::now();
        let mut met = 0;
        while met < meetings.load(Ordering::Relaxed) {
            let looks = step.worker() == 0 && met % 64 == 0;
            if looks && begin.elapsed() > ENOUGH {
                // One meeting later everybody knows.
                meetings.fetch_min(met + 2, Ordering::Relaxed);
            }
            step = step.next().await;
            met += 1;
        }
        if step.worker() == 0 {
            let each = begin.elapsed().as_secs_f64() / met as f64;
            *seconds.lock().expect("nobody panics here") = each;
        }
    });
    seconds.into_inner().expect("nobody panics here")
}

fn on_all(team: &Workers, work: impl AsyncFn(Superstep<'_>) + Sync) {
    let circle = Supersteps::new(team.threads());
    team.run(circle, vec![(); team.threads()], async |(), step| {
        work(step).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_add_up_all_workers() {
        for threads in [1, 2, 3] {
            let team = Arc::new(Workers::new(Some(threads)).unwrap());
            let peaks = Peaks::new(team, Isa::detect(), 1 << 20);
            let rates = peaks.sample();
            assert!(rates.operations > 1e7 && rates.bytes > 1e7, "{rates:?}");
            assert!(rates.meeting > 0.0, "{rates:?}");
        }
    }

    #[test]
    fn work_is_summed_and_divided_by_the_longest_time() {
        let team = Workers::new(Some(2)).unwrap();
        let rate = timed(&team, |worker| {
            if worker == 1 {
                std::thread::sleep(Duration::from_millis(20));
            }
            5
        });
        assert!(rate <= 10.0 / 0.02, "{rate}");
    }
}
