//! Rayon's pool as a team, and the number of threads it should have.

use std::sync::Mutex;

use super::circle::{Circle, Step};
use super::processors;
use crate::error::{Error, Result};

/// The most threads that may be asked for.
pub const MOST_THREADS: usize = 1024;

/// Threads that stay for a whole run.
pub struct Team {
    pool: rayon::ThreadPool,
    threads: usize,
}

impl Team {
    /// `auto`: the physical cores that this process may use (affinity and cgroup limits respected).
    pub fn available() -> usize {
        let allowed = std::thread::available_parallelism().map_or(1, usize::from);
        num_cpus::get_physical().clamp(1, allowed)
    }

    /// A team of `threads` threads; `None`: [`Team::available`].
    ///
    /// # Errors
    /// [`Error::Usage`] outside 1…1024; [`Error::Resources`] where the system refuses threads.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        Self::on(threads, &[])
    }

    /// The same, thread k kept on logical processor `processors[k]`; threads beyond those, and all
    /// where the system does not pin, stay free.
    ///
    /// # Errors
    /// Those of [`Team::new`].
    pub fn on(threads: Option<usize>, processors: &[usize]) -> Result<Self> {
        let threads = threads.unwrap_or_else(Self::available);
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(Error::Usage(format!(
                "{threads} threads: allowed are 1 to {MOST_THREADS}, or \"auto\""
            )));
        }
        let processors = processors.to_vec();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .start_handler(move |index| {
                if let Some(&processor) = processors.get(index) {
                    processors::pin(processor);
                }
            })
            .thread_name(|index| format!("nplus1-{index}"))
            .build()
            .map_err(|error| {
                Error::Resources(format!(
                    "cannot start {threads} threads: {error}\n  help: ask for fewer with --threads"
                ))
            })?;
        Ok(Self { pool, threads })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Runs `work` on one of the team's threads, so that what it starts joins without waking
    /// anyone from outside: once a run.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// Runs `work` once for each seat, all at the same time, each on a thread of its own; returns
    /// when all have returned. One seat runs on the calling thread.
    ///
    /// # Panics
    /// With more seats than threads, or if `work` panics.
    pub fn run<S: Send>(&self, circle: Circle, seats: Vec<S>, work: impl Fn(S, Step<'_>) + Sync) {
        assert!(seats.len() <= self.threads && seats.len() == circle.workers());
        if seats.len() == 1 {
            for seat in seats {
                work(seat, circle.enter(0));
            }
            return;
        }
        let seats: Vec<Mutex<Option<S>>> = seats
            .into_iter()
            .map(|seat| Mutex::new(Some(seat)))
            .collect();
        self.pool.broadcast(|context| {
            let seat = seats.get(context.index()).and_then(|seat| {
                seat.lock()
                    .expect("nobody panics while taking a seat")
                    .take()
            });
            if let Some(seat) = seat {
                work(seat, circle.enter(context.index()));
            }
        });
    }

    /// `work(tile)` for every tile in `0..tiles`, in any order, on any threads; results in order.
    pub fn map<T: Send>(&self, tiles: usize, work: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        use rayon::prelude::*;
        if self.threads == 1 {
            return (0..tiles).map(work).collect();
        }
        self.pool
            .install(|| (0..tiles).into_par_iter().map(work).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_and_seventy_thousand_threads_are_refused() {
        for threads in [0, 70_000] {
            let error = Team::new(Some(threads)).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("1 to 1024"), "{error}");
        }
    }

    #[test]
    fn map_keeps_the_order() {
        let team = Team::new(Some(3)).unwrap();
        assert_eq!(
            team.map(100, |tile| tile * 2),
            (0..100).map(|tile| tile * 2).collect::<Vec<_>>()
        );
    }
}
