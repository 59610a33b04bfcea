//! Where the threads of a sample ran, as far as its measurements tell.
//!
//! A virtual machine's processors may be two threads of one physical core at one time, cores that
//! share a third-level cache at another, and cores that share none at a third. Speedups of the
//! three cannot be compared.

use serde::{Deserialize, Serialize};

use super::plan::ScalingSample;

/// Where the threads of a sample ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    /// Several on one physical core, or beside a process that holds a core: pure arithmetic gains
    /// little from them.
    SharedCore,
    /// On cores that share a cache: two threads synchronize in some 60 to 100 ns.
    Near,
    /// On cores that share none: in some 200 to 330 ns.
    Far,
}

/// Share of the ideal rate of arithmetic below which threads share a core.
const SHARED_CORE: f64 = 0.75;
/// Seconds in which two threads synchronize, at least, if their cores share no cache.
const FAR_SECONDS: f64 = 200e-9;

impl Placement {
    /// Returns where the threads of `sample` ran, from its peak rate of arithmetic beside that of
    /// one thread in the same round, and from the time that two threads take to synchronize. `None`
    /// for one thread; for more than two only [`Placement::SharedCore`] is recognized.
    pub fn of(sample: &ScalingSample, samples: &[ScalingSample]) -> Option<Self> {
        if sample.threads < 2 {
            return None;
        }
        let alone = (samples.iter())
            .find(|other| other.threads == 1 && other.round == sample.round)
            .map(|other| sample.threads as f64 * other.peak_operations);
        let slow = alone.is_some_and(|ideal| sample.peak_operations < SHARED_CORE * ideal);
        let pair = sample.meeting_seconds.filter(|_| sample.threads == 2);
        let far = pair.is_some_and(|seconds| seconds >= FAR_SECONDS);
        match (slow, pair) {
            // Two threads that are slow because another process held a core do not meet so fast.
            (true, _) if !far => Some(Self::SharedCore),
            (_, Some(_)) if far => Some(Self::Far),
            (_, Some(_)) => Some(Self::Near),
            _ => None,
        }
    }
}

/// Numbers of samples by placement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placements {
    /// Samples whose threads shared a core; left out of all medians if there are others.
    pub shared_core: usize,
    /// Samples on cores that share a cache.
    pub near: usize,
    /// Samples on cores that share none.
    pub far: usize,
}

impl Placements {
    /// Counts `placements`.
    pub fn count(placements: impl Iterator<Item = Option<Placement>>) -> Self {
        let mut counts = Self::default();
        for placement in placements.flatten() {
            match placement {
                Placement::SharedCore => counts.shared_core += 1,
                Placement::Near => counts.near += 1,
                Placement::Far => counts.far += 1,
            }
        }
        counts
    }
}

impl std::fmt::Display for Placements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.near, "near"),
            (self.far, "far"),
            (self.shared_core, "one core"),
        ];
        let some: Vec<String> = (counts.iter())
            .filter(|(count, _)| *count > 0)
            .map(|(count, name)| format!("{count} {name}"))
            .collect();
        f.write_str(if some.is_empty() { "–" } else { "" })?;
        f.write_str(&some.join(", "))
    }
}
