//! The worker pool: rayon's threads, how many there are, and how work is given to them.

use std::cell::Cell;
use std::ops::Range;
use std::pin::pin;
use std::sync::Mutex;

use super::barrier::Barrier;
use super::phased::{Superstep, Supersteps};
use super::processors;
use crate::error::{Error, Result};

/// Largest number of threads that may be requested.
pub const MOST_THREADS: usize = 1024;

/// A pool of threads that lasts for a whole run.
///
/// At most as many of them as there are processors compute: more would only take turns on the
/// processors. The rest serve functions that wait for something other than a processor
/// ([`Workers::run_on_every_thread`]).
pub struct Workers {
    /// The computing threads, at most one per processor.
    computing: rayon::ThreadPool,
    /// The threads in excess of the processors, if there are any.
    waiting: Option<rayon::ThreadPool>,
    threads: usize,
}

impl Workers {
    /// Returns the number of threads for `auto`: the physical cores that this process may use
    /// (affinity and cgroup limits respected).
    pub fn available() -> usize {
        num_cpus::get_physical().clamp(1, Self::processors())
    }

    /// Returns the number of logical processors that this process may use, by the same limits. No
    /// pool has more computing threads.
    pub fn processors() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Creates a pool of `threads` threads; `None` means [`Workers::available`].
    ///
    /// # Errors
    /// [`Error::Usage`] outside 1…1024; [`Error::Resources`] if the system refuses threads.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        Self::on(threads, &[])
    }

    /// Creates a pool whose thread k is pinned to logical processor `processors[k]`. Further
    /// threads stay unpinned, as do all threads if the system does not pin.
    ///
    /// # Errors
    /// Those of [`Workers::new`].
    pub fn on(threads: Option<usize>, processors: &[usize]) -> Result<Self> {
        let threads = threads.unwrap_or_else(Self::available);
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(Error::Usage(format!(
                "{threads} threads: allowed are 1 to {MOST_THREADS}, or \"auto\""
            )));
        }
        Self::with_computing_threads(threads, Self::processors().min(threads), processors)
    }

    /// Creates a pool of `threads` threads, `computing` of which compute.
    fn with_computing_threads(
        threads: usize,
        computing: usize,
        processors: &[usize],
    ) -> Result<Self> {
        let pool = |indices: Range<usize>| {
            let processors = processors.to_vec();
            let first = indices.start;
            rayon::ThreadPoolBuilder::new()
                .num_threads(indices.len())
                .start_handler(move |index| {
                    if let Some(&processor) = processors.get(first + index) {
                        processors::pin(processor);
                    }
                })
                .thread_name(move |index| format!("nplus1-{}", first + index))
                .build()
                .map_err(|error| {
                    Error::Resources(format!(
                        "cannot start {threads} threads: {error}\n  help: ask for fewer with --threads"
                    ))
                })
        };
        Ok(Self {
            computing: pool(0..computing)?,
            waiting: match computing < threads {
                true => Some(pool(computing..threads)?),
                false => None,
            },
            threads,
        })
    }

    /// Returns the number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Returns the number of computing threads, at most the number of processors.
    pub fn computing_threads(&self) -> usize {
        self.computing.current_num_threads()
    }

    /// Runs `work` on one of the pool's computing threads: parallel work that is started there
    /// skips the wake-up of the pool from outside. Meant to be called once per run of the program.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.computing.install(work)
    }

    /// Runs one worker per state in supersteps: worker w runs `work` with `states[w]`. Returns when
    /// all workers have returned.
    ///
    /// The workers are distributed over the computing threads in order and evenly; a thread with
    /// several workers runs them in turn, superstep by superstep. If one thread suffices, it is the
    /// calling one. All workers must return in the same superstep: a thread whose workers have not
    /// returned waits for the other threads without end.
    ///
    /// # Panics
    /// With more states than threads, or another number than `supersteps` has workers; if `work`
    /// panics or waits for anything but its next superstep; if the workers of one thread return in
    /// different supersteps.
    pub fn run<S: Send>(
        &self,
        supersteps: Supersteps,
        states: Vec<S>,
        work: impl AsyncFn(S, Superstep<'_>) + Sync,
    ) {
        let workers = supersteps.workers();
        assert!(workers <= self.threads && states.len() == workers);
        let threads = self.computing_threads().min(workers);
        let barrier = Barrier::new(threads);
        let mut states = states.into_iter().enumerate();
        if workers == 1 {
            // This path allocates nothing: a gradient of a small network takes microseconds.
            let ended = Cell::new(0);
            for (worker, state) in states {
                let future = pin!(work(state, supersteps.enter(&barrier, worker, &ended)));
                barrier.run_workers(&mut [future], std::slice::from_ref(&ended));
            }
            return;
        }
        let run_share = |states: Vec<(usize, S)>| {
            let ended = vec![Cell::new(0); states.len()];
            let mut futures: Vec<_> = (states.into_iter().zip(&ended))
                .map(|((worker, state), ended)| {
                    Box::pin(work(state, supersteps.enter(&barrier, worker, ended)))
                })
                .collect();
            barrier.run_workers(&mut futures, &ended);
        };
        let mut take_share = |thread: usize| {
            let share = workers * (thread + 1) / threads - workers * thread / threads;
            states.by_ref().take(share).collect()
        };
        if threads == 1 {
            return run_share(take_share(0));
        }
        let shares: Vec<_> = (0..threads).map(|k| Mutex::new(take_share(k))).collect();
        self.computing.broadcast(|context| {
            if let Some(share) = shares.get(context.index()) {
                let share = std::mem::take(&mut *share.lock().expect("each share is taken once"));
                run_share(share);
            }
        });
    }

    /// Runs `work` once for each state, all at the same time, each on a separate thread, even if
    /// there are fewer processors: for functions that wait for something other than a processor. A
    /// single state runs on the calling thread.
    ///
    /// # Panics
    /// With more states than threads, or if `work` panics.
    pub fn run_on_every_thread<S: Send>(&self, states: Vec<S>, work: impl Fn(S) + Sync) {
        assert!(states.len() <= self.threads);
        let states: Vec<_> = (states.into_iter())
            .map(|state| Mutex::new(Some(state)))
            .collect();
        let take = |thread: usize| {
            let state = states.get(thread)?;
            state.lock().expect("each state is taken once").take()
        };
        let run_on = |thread: usize| take(thread).map_or((), &work);
        match &self.waiting {
            _ if states.len() == 1 => run_on(0),
            None => {
                self.computing.broadcast(|context| run_on(context.index()));
            }
            Some(waiting) => waiting.in_place_scope(|scope| {
                let first = self.computing_threads();
                scope.spawn_broadcast(move |_, context| run_on(first + context.index()));
                self.computing.broadcast(|context| run_on(context.index()));
            }),
        }
    }

    /// Calls `work(tile)` for every tile in `0..tiles`, in any order and on any computing thread;
    /// returns the results in order of the tiles.
    pub fn map<T: Send>(&self, tiles: usize, work: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        use rayon::prelude::*;
        if self.computing_threads() == 1 {
            return (0..tiles).map(work).collect();
        }
        self.computing
            .install(|| (0..tiles).into_par_iter().map(work).collect())
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
            async |(mut values, mut sums): (PhasedSlice<u64>, PhasedSlice<u64>), mut step| {
                for round in 0..50 {
                    let old = sums.read_own(&step)[0];
                    values.write_own(&step)[0] = old % 1009 + step.worker() as u64 + round;
                    step = step.next().await;
                    sums.write_own(&step)[0] = values.read_all(&step).iter().sum();
                    step = step.next().await;
                }
            },
        );
        sums
    }

    #[test]
    fn results_do_not_depend_on_the_number_of_computing_threads() {
        let _limit = time_limit();
        for threads in [2, 3, 7, 16] {
            let sums_on = |computing| {
                sums(&Workers::with_computing_threads(threads, computing, &[]).unwrap())
            };
            let expected = sums_on(threads);
            assert!(expected[0] > 0 && expected.iter().all(|&sum| sum == expected[0]));
            for computing in [1, 2, 3.min(threads)] {
                assert_eq!(
                    sums_on(computing),
                    expected,
                    "{threads} workers on {computing} computing threads"
                );
            }
        }
    }

    #[test]
    fn supersteps_use_the_computing_threads_only_and_each_uses_all_threads() {
        let _limit = time_limit();
        let pool = Workers::with_computing_threads(6, 2, &[]).unwrap();
        let ids = Mutex::new(std::collections::HashSet::new());
        let note = || ids.lock().unwrap().insert(std::thread::current().id());
        pool.run(Supersteps::new(6), vec![(); 6], async |(), step| {
            note();
            let _ = step.next().await;
        });
        assert_eq!(ids.lock().unwrap().len(), 2);
        ids.lock().unwrap().clear();
        // No thread passes before all six have arrived.
        let barrier = std::sync::Barrier::new(6);
        pool.install(|| {
            pool.run_on_every_thread(vec![(); 6], |()| {
                barrier.wait();
                note();
            });
        });
        assert_eq!(ids.lock().unwrap().len(), 6);
    }

    #[test]
    #[should_panic(expected = "all workers end a superstep")]
    fn a_worker_that_returns_before_another_of_its_thread_panics() {
        let _limit = time_limit();
        let pool = Workers::with_computing_threads(2, 1, &[]).unwrap();
        pool.run(Supersteps::new(2), vec![(), ()], async |(), step| {
            if step.worker() == 1 {
                let _ = step.next().await;
            }
        });
    }

    #[test]
    #[should_panic(expected = "all workers end a superstep")]
    fn a_worker_that_waits_for_anything_else_panics() {
        let pool = Workers::new(Some(1)).unwrap();
        pool.run(Supersteps::new(1), vec![()], async |(), _| {
            std::future::pending().await
        });
    }

    #[test]
    fn map_keeps_the_order() {
        let pool = Workers::new(Some(3)).unwrap();
        assert_eq!(
            pool.map(100, |tile| tile * 2),
            (0..100).map(|tile| tile * 2).collect::<Vec<_>>()
        );
    }
}
