//! The threads of independent evaluations, which do not advance in supersteps.

use std::ops::ControlFlow;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::phased::Supersteps;
use super::workers::Workers;
use crate::error::{Error, Result};

/// The threads on which independent evaluations of a function run.
#[derive(Clone, Copy)]
pub enum EvaluationThreads<'a> {
    /// The threads of a pool, at most one per processor: for functions that compute.
    Computing(&'a Workers),
    /// So many threads of their own, however many processors there are: for functions that wait
    /// for something else, such as another program.
    Waiting(usize),
}

impl<'a> From<&'a Workers> for EvaluationThreads<'a> {
    fn from(workers: &'a Workers) -> Self {
        Self::Computing(workers)
    }
}

impl EvaluationThreads<'static> {
    /// Returns the threads of [`Workers::shared`]; on a thread of any pool that thread alone, so
    /// that an evaluation within an evaluation waits for no other.
    ///
    /// # Errors
    /// Those of [`Workers::new`].
    pub fn shared() -> Result<Self> {
        if Workers::is_worker() {
            return Ok(Self::Waiting(1));
        }
        Workers::shared().map(Self::Computing)
    }
}

impl EvaluationThreads<'_> {
    /// Calls `work(number)` for every number in `0..count`, in any order; returns the results in
    /// order of the numbers.
    ///
    /// # Errors
    /// [`Error::Resources`] if the system refuses a thread.
    ///
    /// # Panics
    /// If `work` panics.
    pub(crate) fn map<T: Send>(
        self,
        count: usize,
        work: impl Fn(usize) -> T + Sync + Send,
    ) -> Result<Vec<T>> {
        match self {
            Self::Computing(workers) => Ok(workers.map(count, work)),
            Self::Waiting(_) => {
                let results = self.numbered(
                    count,
                    || (),
                    |(), number| ControlFlow::Continue(work(number)),
                );
                results.map(|results| results.into_iter().flatten().collect())
            }
        }
    }

    /// Calls `work(state, number)` for the numbers `0..count`: each thread makes a state and then
    /// takes the next number, in order. Returns the results in order of the numbers.
    ///
    /// After a result that is a [`ControlFlow::Break`] no further number is taken, so results may
    /// be missing, but none before the first break.
    ///
    /// # Errors
    /// [`Error::Resources`] if the system refuses a thread.
    ///
    /// # Panics
    /// If `work` panics; no further number is taken then.
    pub(crate) fn numbered<S, T: Send>(
        self,
        count: usize,
        state: impl Fn() -> S + Sync,
        work: impl Fn(&mut S, usize) -> ControlFlow<T, T> + Sync,
    ) -> Result<Vec<Option<T>>> {
        let results: Vec<Mutex<Option<T>>> = (0..count).map(|_| Mutex::new(None)).collect();
        let (next, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
        self.run(count, || {
            let _panics = PanicFlag(&ended);
            let mut state = state();
            while !ended.load(Ordering::Relaxed) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(place) = results.get(number) else {
                    break;
                };
                let result = match work(&mut state, number) {
                    ControlFlow::Continue(result) => result,
                    ControlFlow::Break(result) => {
                        ended.store(true, Ordering::Relaxed);
                        result
                    }
                };
                *place.lock().expect("no lock is held in a panic") = Some(result);
            }
        })?;
        let result = |place: Mutex<Option<T>>| place.into_inner();
        let results = results.into_iter().map(result);
        Ok(results
            .collect::<std::result::Result<_, _>>()
            .expect("no lock is held in a panic"))
    }

    /// Runs `work` on all threads at the same time, on at most `most` of them. One of several
    /// waiting threads is the calling one.
    ///
    /// # Errors
    /// [`Error::Resources`] if the system refuses a thread. The others have returned then.
    ///
    /// # Panics
    /// If `work` panics.
    pub(crate) fn run(self, most: usize, work: impl Fn() + Sync) -> Result<()> {
        match self {
            Self::Computing(workers) => {
                let count = workers.threads().min(most).max(1);
                workers.run(Supersteps::new(count), vec![(); count], |(), _| work());
                Ok(())
            }
            Self::Waiting(threads) => thread::scope(|scope| {
                let further = threads.min(most).saturating_sub(1);
                let started: std::io::Result<Vec<_>> = (0..further)
                    .map(|_| thread::Builder::new().spawn_scoped(scope, &work))
                    .collect();
                work();
                started.map(|_| ()).map_err(|error| {
                    Error::Resources(format!(
                        "cannot start {threads} threads: {error}\n  help: ask for fewer"
                    ))
                })
            }),
        }
    }
}

/// A guard that sets a flag if its thread panics, so that the others start no further work.
pub(crate) struct PanicFlag<'a>(pub(crate) &'a AtomicBool);

impl Drop for PanicFlag<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}
