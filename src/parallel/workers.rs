//! The worker pool: rayon's threads, how many there are, and how work is given to them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, OnceLock};

use super::barrier::{AnotherPanicked, Barrier, End};
use super::cluster::Ranks;
use super::phased::{Superstep, Supersteps};
use super::processors;
use crate::error::{Error, Result};

/// Largest number of threads that may be requested.
pub const MOST_THREADS: usize = 1024;

/// Environment variable with the number of processors to assume, for tests of the bits with more
/// workers than there are processors.
pub const WORKERS_VARIABLE: &str = "NPLUS1_WORKERS";

/// A pool of threads that lasts for a whole run. Each worker is one thread.
///
/// There are no more of them than processors: more would only take turns.
///
/// The pool belongs to one of the ranks of a run, mostly the only one ([`Workers::ranks`]).
pub struct Workers {
    pool: rayon::ThreadPool,
    ranks: Ranks,
}

impl Workers {
    /// Returns the number of threads for `auto`: the physical cores that this process may use
    /// (affinity and cgroup limits respected).
    pub fn available() -> usize {
        match assumed_processors() {
            Ok(Some(assumed)) => assumed,
            _ => num_cpus::get_physical().clamp(1, Self::processors()),
        }
    }

    /// Returns the number of logical processors that this process may use, by the same limits; the
    /// value of `NPLUS1_WORKERS`, if that is set.
    pub fn processors() -> usize {
        match assumed_processors() {
            Ok(Some(assumed)) => assumed,
            _ => std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Creates a pool of `threads` threads, at most one per processor; `None` means
    /// [`Workers::available`].
    ///
    /// # Errors
    /// [`Error::Usage`] outside 1…1024, or if `NPLUS1_WORKERS` is set to anything else;
    /// [`Error::Resources`] if the system refuses threads.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        Self::pinned(threads, &[])
    }

    /// Creates a pool as [`Workers::new`] does, whose thread k is pinned to logical processor
    /// `processors[k]`. Further threads stay unpinned, as do all threads if the system does not
    /// pin.
    ///
    /// # Errors
    /// Those of [`Workers::new`].
    pub fn pinned(threads: Option<usize>, processors: &[usize]) -> Result<Self> {
        assumed_processors()?;
        let threads = threads.unwrap_or_else(Self::available);
        check(threads)?;
        Self::start(threads.min(Self::processors()), processors)
    }

    /// Creates a pool of `threads` threads even if there are fewer processors. The bits of a result
    /// are the same, and the threads take turns: for tests.
    ///
    /// # Errors
    /// As [`Workers::new`].
    pub fn exactly(threads: usize) -> Result<Self> {
        check(threads)?;
        Self::start(threads, &[])
    }

    /// Creates the pool of one of several ranks, of `threads` threads, as many as every other rank
    /// has. The calling thread becomes its first: it alone exchanges with other ranks. With one rank
    /// this is [`Workers::exactly`].
    ///
    /// # Errors
    /// As [`Workers::new`]; [`Error::Resources`] if the calling thread belongs to a pool.
    pub fn of_ranks(threads: usize, ranks: Ranks) -> Result<Self> {
        check(threads)?;
        let builder = match ranks.are_many() {
            true => rayon::ThreadPoolBuilder::new().use_current_thread(),
            false => rayon::ThreadPoolBuilder::new(),
        };
        Self::build(builder, threads, &[], ranks)
    }

    /// Starts `threads` threads; pins the first of them to `processors`.
    fn start(threads: usize, processors: &[usize]) -> Result<Self> {
        let builder = rayon::ThreadPoolBuilder::new();
        Self::build(builder, threads, processors, Ranks::alone())
    }

    fn build(
        builder: rayon::ThreadPoolBuilder,
        threads: usize,
        processors: &[usize],
        ranks: Ranks,
    ) -> Result<Self> {
        let processors = processors.to_vec();
        let pool = builder
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
        Ok(Self { pool, ranks })
    }

    /// Returns the ranks of the run, as seen by the one to which this pool belongs.
    pub fn ranks(&self) -> &Ranks {
        &self.ranks
    }

    /// Returns the pool that all callers without a pool of their own share: one thread for each
    /// core that this process may use, started by the first call. It is for [`Workers::map`] and
    /// independent evaluations: supersteps of two callers would wait for each other.
    ///
    /// # Errors
    /// Those of [`Workers::new`].
    pub fn shared() -> Result<&'static Self> {
        static SHARED: OnceLock<Workers> = OnceLock::new();
        if let Some(workers) = SHARED.get() {
            return Ok(workers);
        }
        let workers = Self::new(None)?;
        Ok(SHARED.get_or_init(|| workers))
    }

    /// Returns whether the calling thread belongs to a pool.
    pub fn is_worker() -> bool {
        rayon::current_thread_index().is_some()
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on one of the pool's threads: parallel work that is started there skips the
    /// wake-up of the pool from outside. Meant to be called once per run of the program.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.pool.install(work)
    }

    /// Runs one worker per state in supersteps, each on a thread: worker w runs `work` with
    /// `states[w]`. Returns when all workers have returned. A single worker runs on the calling
    /// thread.
    ///
    /// # Panics
    /// With more states than threads, or another number than `supersteps` has workers; with the
    /// panic of `work`, which ends all workers; if a worker returns while another waits for the
    /// next superstep.
    pub fn run<S: Send>(
        &self,
        supersteps: Supersteps,
        states: Vec<S>,
        work: impl Fn(S, Superstep<'_>) + Sync,
    ) {
        let workers = supersteps.workers();
        assert!(workers <= self.threads() && states.len() == workers);
        let barrier = Barrier::new(workers);
        if workers == 1 {
            // This path allocates nothing: a gradient of a small network takes microseconds.
            for state in states {
                work(state, supersteps.enter(&barrier, 0));
            }
            return;
        }
        let states: Vec<_> = (states.into_iter())
            .map(|state| Mutex::new(Some(state)))
            .collect();
        let first_panic = Mutex::new(None);
        self.pool.broadcast(|context| {
            let worker = context.index();
            let Some(state) = states.get(worker) else {
                return;
            };
            let state = state.lock().expect("no lock is held in a panic").take();
            let state = state.expect("each state is taken once");
            let run = || work(state, supersteps.enter(&barrier, worker));
            match catch_unwind(AssertUnwindSafe(run)) {
                Ok(()) => barrier.leave(End::Returned),
                Err(panic) => {
                    if !panic.is::<AnotherPanicked>() {
                        let mut first = first_panic.lock().expect("no lock is held in a panic");
                        first.get_or_insert(panic);
                    }
                    barrier.leave(End::Panicked);
                }
            }
        });
        let first_panic = first_panic.into_inner();
        if let Some(panic) = first_panic.expect("no lock is held in a panic") {
            resume_unwind(panic);
        }
    }

    /// Calls `work(tile)` for every tile in `0..tiles`, in any order and on any thread; returns the
    /// results in order of the tiles.
    pub fn map<T: Send>(&self, tiles: usize, work: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        use rayon::prelude::*;
        if self.threads() == 1 {
            return (0..tiles).map(work).collect();
        }
        self.pool
            .install(|| (0..tiles).into_par_iter().map(work).collect())
    }
}

/// Refuses a number of threads outside the allowed range.
fn check(threads: usize) -> Result<()> {
    match (1..=MOST_THREADS).contains(&threads) {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "{threads} threads: allowed are 1 to {MOST_THREADS}, or \"auto\""
        ))),
    }
}

/// Returns the value of [`WORKERS_VARIABLE`], if it is set.
fn assumed_processors() -> Result<Option<usize>> {
    let Some(value) = std::env::var_os(WORKERS_VARIABLE).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let number = value.to_str().and_then(|value| value.parse().ok());
    match number.filter(|number| (1..=MOST_THREADS).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(Error::Usage(format!(
            "{WORKERS_VARIABLE} is \"{}\"; allowed: the number of processors to assume, 1 to {MOST_THREADS}",
            value.display()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parallel::PhasedSlice;
    use crate::parallel::watchdog::time_limit;

    #[test]
    fn zero_and_seventy_thousand_threads_are_refused() {
        for threads in [0, 70_000] {
            let error = Workers::new(Some(threads)).err().unwrap();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains("1 to 1024"), "{error}");
        }
    }

    /// Lets each worker sum what all have written, 50 times. The sums are right only if all workers
    /// are in the same superstep.
    fn sums(pool: &Workers) -> Vec<u64> {
        let workers = pool.threads();
        let supersteps = Supersteps::new(workers);
        let (mut values, mut sums) = (vec![1u64; workers], vec![0u64; workers]);
        let parts = || (0..workers).map(|w| w..w + 1);
        let states = supersteps.share(&mut values, 0, parts()).into_iter();
        let states = states
            .zip(supersteps.share(&mut sums, 1, parts()))
            .collect();
        pool.run(
            supersteps,
            states,
            |(mut values, mut sums): (PhasedSlice<u64>, PhasedSlice<u64>), mut step| {
                for round in 0..50 {
                    let old = sums.read_own(&step)[0];
                    values.write_own(&step)[0] = old % 1009 + step.worker() as u64 + round;
                    step = step.next();
                    sums.write_own(&step)[0] = values.read_all(&step).iter().sum();
                    step = step.next();
                }
            },
        );
        sums
    }

    #[test]
    fn workers_exchange_results_even_if_there_are_fewer_processors() {
        let _limit = time_limit();
        for threads in [2, 3, 7, 16] {
            let sums = sums(&Workers::exactly(threads).unwrap());
            assert!(sums[0] > 0 && sums.iter().all(|&sum| sum == sums[0]));
        }
    }

    #[test]
    fn no_more_threads_than_processors_are_started() {
        let pool = Workers::new(Some(MOST_THREADS)).unwrap();
        assert_eq!(pool.threads(), Workers::processors());
        assert_eq!(Workers::exactly(5).unwrap().threads(), 5);
    }

    #[test]
    #[should_panic(expected = "returned while another waits")]
    fn a_worker_that_returns_before_another_ends_all() {
        let _limit = time_limit();
        let pool = Workers::exactly(3).unwrap();
        pool.run(Supersteps::new(3), vec![(); 3], |(), step| {
            if step.worker() != 1 {
                let _ = step.next();
            }
        });
    }

    #[test]
    #[should_panic(expected = "worker 1 panicked")]
    fn the_first_panic_ends_all_workers_and_is_the_one_reported() {
        let _limit = time_limit();
        let pool = Workers::exactly(4).unwrap();
        pool.run(Supersteps::new(4), vec![(); 4], |(), step| {
            assert!(step.worker() != 1, "worker 1 panicked");
            let _ = step.next();
        });
    }

    #[test]
    fn a_pool_serves_again_after_a_panic() {
        let _limit = time_limit();
        let pool = Workers::exactly(2).unwrap();
        let run = || {
            pool.run(Supersteps::new(2), vec![(), ()], |(), step| {
                assert!(step.worker() == 0);
                let _ = step.next();
            });
        };
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        let sums = sums(&pool);
        assert_eq!(sums[0], sums[1]);
    }

    #[test]
    fn map_keeps_the_order() {
        let pool = Workers::exactly(3).unwrap();
        assert_eq!(
            pool.map(100, |tile| tile * 2),
            (0..100).map(|tile| tile * 2).collect::<Vec<_>>()
        );
    }
}
