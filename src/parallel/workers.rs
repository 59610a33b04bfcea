//! Rayon's pools as a team, and the number of threads it should have.

use std::cell::Cell;
use std::ops::Range;
use std::pin::pin;
use std::sync::Mutex;

use super::barrier::Barrier;
use super::phased::{Superstep, Supersteps};
use super::processors;
use crate::error::{Error, Result};

/// The most threads that may be asked for.
pub const MOST_THREADS: usize = 1024;

/// Threads that stay for a whole run.
///
/// What computes is carried by as many of them as there are processors: more would only take turns
/// on them. The others are there for functions that wait for something else ([`Workers::each`]).
pub struct Workers {
    carriers: rayon::ThreadPool,
    /// The threads beyond the processors, if there are any.
    others: Option<rayon::ThreadPool>,
    threads: usize,
}

impl Workers {
    /// `auto`: the physical cores that this process may use (affinity and cgroup limits respected).
    pub fn available() -> usize {
        num_cpus::get_physical().clamp(1, Self::processors())
    }

    /// The logical processors that this process may use, by the same limits: no team has more
    /// threads that compute.
    pub fn processors() -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// A team of `threads` threads; `None`: [`Workers::available`].
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
    /// Those of [`Workers::new`].
    pub fn on(threads: Option<usize>, processors: &[usize]) -> Result<Self> {
        let threads = threads.unwrap_or_else(Self::available);
        if !(1..=MOST_THREADS).contains(&threads) {
            return Err(Error::Usage(format!(
                "{threads} threads: allowed are 1 to {MOST_THREADS}, or \"auto\""
            )));
        }
        Self::with_carriers(threads, Self::processors().min(threads), processors)
    }

    fn with_carriers(threads: usize, carriers: usize, processors: &[usize]) -> Result<Self> {
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
            carriers: pool(0..carriers)?,
            others: match carriers < threads {
                true => Some(pool(carriers..threads)?),
                false => None,
            },
            threads,
        })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// How many of them compute: no more than there are processors.
    pub fn carriers(&self) -> usize {
        self.carriers.current_num_threads()
    }

    /// Runs `work` on one of the team's threads, so that what it starts joins without waking
    /// anyone from outside: once a run.
    pub fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.carriers.install(work)
    }

    /// Runs `work` once for each seat, in supersteps; returns when all have returned. The seats are
    /// dealt to the threads that compute in order and evenly; a thread that has several takes turns
    /// with them superstep by superstep. One thread is the calling one.
    ///
    /// # Panics
    /// With more seats than threads, if `work` panics, waits for anything but its next step, or does
    /// not return in the same step for all seats.
    pub fn run<S: Send>(
        &self,
        circle: Supersteps,
        seats: Vec<S>,
        work: impl AsyncFn(S, Superstep<'_>) + Sync,
    ) {
        let workers = circle.workers();
        assert!(workers <= self.threads && seats.len() == workers);
        let carriers = self.carriers().min(workers);
        let barrier = Barrier::new(carriers);
        let mut seats = seats.into_iter().enumerate();
        if workers == 1 {
            // Nothing is allocated: a gradient of a small network takes microseconds.
            let ended = Cell::new(0);
            for (worker, seat) in seats {
                let only = pin!(work(seat, circle.enter(&barrier, worker, &ended)));
                barrier.carry(&mut [only], std::slice::from_ref(&ended));
            }
            return;
        }
        let carry = |seats: Vec<(usize, S)>| {
            let ended = vec![Cell::new(0); seats.len()];
            let mut begun: Vec<_> = (seats.into_iter().zip(&ended))
                .map(|((worker, seat), ended)| {
                    Box::pin(work(seat, circle.enter(&barrier, worker, ended)))
                })
                .collect();
            barrier.carry(&mut begun, &ended);
        };
        let mut deal = |carrier: usize| {
            let share = workers * (carrier + 1) / carriers - workers * carrier / carriers;
            seats.by_ref().take(share).collect()
        };
        if carriers == 1 {
            return carry(deal(0));
        }
        let shares: Vec<_> = (0..carriers).map(|k| Mutex::new(deal(k))).collect();
        self.carriers.broadcast(|context| {
            if let Some(share) = shares.get(context.index()) {
                let share = std::mem::take(&mut *share.lock().expect("taken once"));
                carry(share);
            }
        });
    }

    /// Runs `work` once for each seat, all at the same time, each on a thread of its own, processors
    /// or not: for functions that wait for something else than a processor. One seat runs on the
    /// calling thread.
    ///
    /// # Panics
    /// With more seats than threads, or if `work` panics.
    pub fn each<S: Send>(&self, seats: Vec<S>, work: impl Fn(S) + Sync) {
        assert!(seats.len() <= self.threads);
        let seats: Vec<_> = (seats.into_iter())
            .map(|seat| Mutex::new(Some(seat)))
            .collect();
        let take = |place: usize| {
            let seat = seats.get(place)?;
            seat.lock().expect("taken once").take()
        };
        let sit = |place: usize| take(place).map_or((), &work);
        match &self.others {
            _ if seats.len() == 1 => sit(0),
            None => {
                self.carriers.broadcast(|context| sit(context.index()));
            }
            Some(others) => others.in_place_scope(|scope| {
                let first = self.carriers();
                scope.spawn_broadcast(move |_, context| sit(first + context.index()));
                self.carriers.broadcast(|context| sit(context.index()));
            }),
        }
    }

    /// `work(tile)` for every tile in `0..tiles`, in any order, on any threads; results in order.
    pub fn map<T: Send>(&self, tiles: usize, work: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
        use rayon::prelude::*;
        if self.carriers() == 1 {
            return (0..tiles).map(work).collect();
        }
        self.carriers
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

    /// Each worker adds up what all have written, for a while: what 16 workers find depends on every
    /// one of them being in the same step.
    fn sums(team: &Workers) -> Vec<u64> {
        let workers = team.threads();
        let circle = Supersteps::new(workers);
        let (mut values, mut sums) = (vec![1u64; workers], vec![0u64; workers]);
        let parts = || (0..workers).map(|w| w..w + 1);
        let seats = circle.share(&mut values, 0, parts()).into_iter();
        let seats = seats.zip(circle.share(&mut sums, 1, parts())).collect();
        team.run(
            circle,
            seats,
            async |(mut values, mut sums): (PhasedSlice<u64>, PhasedSlice<u64>), mut step| {
                for round in 0..50 {
                    let old = sums.mine(&step)[0];
                    values.own(&step)[0] = old % 1009 + step.worker() as u64 + round;
                    step = step.next().await;
                    sums.own(&step)[0] = values.all(&step).iter().sum();
                    step = step.next().await;
                }
            },
        );
        sums
    }

    #[test]
    fn workers_get_the_same_whoever_carries_them() {
        let _limit = time_limit();
        for threads in [2, 3, 7, 16] {
            let of = |carriers| sums(&Workers::with_carriers(threads, carriers, &[]).unwrap());
            let own = of(threads);
            assert!(own[0] > 0 && own.iter().all(|&sum| sum == own[0]));
            for carriers in [1, 2, 3.min(threads)] {
                assert_eq!(of(carriers), own, "{threads} carried by {carriers}");
            }
        }
    }

    #[test]
    fn as_many_threads_compute_as_there_are_processors_and_all_may_wait() {
        let _limit = time_limit();
        let team = Workers::with_carriers(6, 2, &[]).unwrap();
        let ids = Mutex::new(std::collections::HashSet::new());
        let note = || ids.lock().unwrap().insert(std::thread::current().id());
        team.run(Supersteps::new(6), vec![(); 6], async |(), step| {
            note();
            let _ = step.next().await;
        });
        assert_eq!(ids.lock().unwrap().len(), 2);
        ids.lock().unwrap().clear();
        // Nobody passes before all six are here.
        let all = std::sync::Barrier::new(6);
        team.install(|| {
            team.each(vec![(); 6], |()| {
                all.wait();
                note();
            });
        });
        assert_eq!(ids.lock().unwrap().len(), 6);
    }

    #[test]
    #[should_panic(expected = "all workers end a step")]
    fn a_worker_that_returns_before_its_neighbor_panics() {
        let _limit = time_limit();
        let team = Workers::with_carriers(2, 1, &[]).unwrap();
        team.run(Supersteps::new(2), vec![(), ()], async |(), step| {
            if step.worker() == 1 {
                let _ = step.next().await;
            }
        });
    }

    #[test]
    #[should_panic(expected = "all workers end a step")]
    fn a_worker_that_waits_for_anything_else_panics() {
        let _limit = time_limit();
        let team = Workers::new(Some(1)).unwrap();
        team.run(Supersteps::new(1), vec![()], async |(), _| {
            std::future::pending().await
        });
    }

    #[test]
    fn map_keeps_the_order() {
        let _limit = time_limit();
        let team = Workers::new(Some(3)).unwrap();
        assert_eq!(
            team.map(100, |tile| tile * 2),
            (0..100).map(|tile| tile * 2).collect::<Vec<_>>()
        );
    }
}
