//! The threads of independent evaluations, which do not advance in supersteps.

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
    /// # Panics
    /// If `work` panics.
    pub(crate) fn map<T: Send>(
        self,
        count: usize,
        work: impl Fn(usize) -> T + Sync + Send,
    ) -> Vec<T> {
        match self {
            Self::Computing(workers) => workers.map(count, work),
            Self::Waiting(_) => (0..count).map(work).collect(),
        }
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
