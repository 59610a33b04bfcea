//! Partition of work by predicted cost: one contiguous share per worker; and what backprop divides.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What a step of backprop is divided into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Panels of units, for all rows of the mini-batch.
    Units,
    /// Rows of the mini-batch, then tiles of the parameters.
    Rows,
}

impl Split {
    /// All splits.
    pub const ALL: [Self; 2] = [Self::Units, Self::Rows];

    /// Returns the split's name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Units => "units",
            Self::Rows => "rows",
        }
    }
}

/// How a step is divided: into what, and among how many workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Division {
    /// `None` for methods with one partition of their own.
    pub split: Option<Split>,
    /// Number of workers.
    pub workers: usize,
}

impl Division {
    /// Returns the divisions among up to `most` workers, for each split and its `most`: the powers
    /// of two below it, and itself. One worker has nothing to divide, so the first split stands for
    /// all. Ordered as a ring in which neighbors are alike: the numbers of workers rise with the
    /// first split and fall with the second.
    pub fn candidates(splits: &[(Option<Split>, usize)]) -> Vec<Self> {
        let mut candidates = Vec::new();
        for (k, &(split, most)) in splits.iter().enumerate() {
            let powers = std::iter::successors(Some(1), |workers| Some(2 * workers));
            let mut numbers: Vec<_> = powers.take_while(|&workers| workers < most).collect();
            numbers.push(most);
            if k > 0 {
                numbers.reverse();
                numbers.retain(|&workers| workers > 1);
            }
            candidates.extend(numbers.into_iter().map(|workers| Self { split, workers }));
        }
        candidates
    }
}

/// Partitions tasks into one contiguous share per worker; returns each worker's range of every
/// group.
///
/// Tasks of equal cost form a group; `groups` holds the number of tasks and the cost of one task.
/// A share ends at the task boundary nearest to its part of the total cost, so it is off by at
/// most half a task at either end.
pub fn partition_by_cost(groups: &[(usize, f64)], workers: usize) -> Vec<Vec<Range<usize>>> {
    let total: f64 = groups
        .iter()
        .map(|&(tasks, cost)| tasks as f64 * cost)
        .sum();
    // Returns the first task of share `worker` in each group.
    let start = |worker: usize| -> Vec<usize> {
        let mut left = total * worker as f64 / workers as f64;
        groups
            .iter()
            .map(|&(tasks, cost)| {
                let size = tasks as f64 * cost;
                let before = if worker == workers {
                    tasks
                } else if cost > 0.0 {
                    ((left / cost).round().max(0.0) as usize).min(tasks)
                } else {
                    0
                };
                left -= size;
                before
            })
            .collect()
    };
    (0..workers)
        .map(|worker| {
            let (from, to) = (start(worker), start(worker + 1));
            from.into_iter()
                .zip(to)
                .map(|(from, to)| from..to)
                .collect()
        })
        .collect()
}

/// Partitions `share`, a range of the tasks of each group, as [`partition_by_cost`] partitions all.
pub fn partition_share(
    groups: &[(usize, f64)],
    share: &[Range<usize>],
    workers: usize,
) -> Vec<Vec<Range<usize>>> {
    let own = groups.iter().zip(share);
    let own: Vec<_> = own.map(|(&(_, cost), range)| (range.len(), cost)).collect();
    let mut parts = partition_by_cost(&own, workers);
    for part in &mut parts {
        for (range, whole) in part.iter_mut().zip(share) {
            *range = whole.start + range.start..whole.start + range.end;
        }
    }
    parts
}

/// Partitions tasks of any cost into one contiguous share per worker, of at most `most` tasks;
/// writes the end of each share.
///
/// A share ends at the task boundary nearest to its part of the total cost, as far as `most`
/// allows.
///
/// # Panics
/// If the shares cannot hold all tasks.
pub fn share_ends(
    costs: impl Iterator<Item = f64> + Clone,
    workers: usize,
    most: usize,
    ends: &mut Vec<usize>,
) {
    let (tasks, total) =
        (costs.clone()).fold((0, 0.0), |(tasks, sum), cost| (tasks + 1, sum + cost));
    assert!(
        tasks <= workers.saturating_mul(most),
        "the shares hold all tasks"
    );
    ends.clear();
    let mut costs = costs.peekable();
    let (mut start, mut end, mut before) = (0, 0, 0.0);
    for worker in 1..=workers {
        let until = total * worker as f64 / workers as f64;
        while let Some(cost) = costs.next_if(|cost| before + cost / 2.0 <= until) {
            before += cost;
            end += 1;
        }
        let others = (workers - worker).saturating_mul(most);
        let least = tasks.saturating_sub(others).max(start);
        start = end.clamp(least, tasks.min(start.saturating_add(most)));
        ends.push(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_is_in_one_share_and_shares_cost_alike() {
        let groups = [(20, 700.0), (0, 5.0), (1000, 1.0), (7, 0.0)];
        for workers in [1, 2, 3, 5, 16, 100] {
            let shares = partition_by_cost(&groups, workers);
            for (group, &(tasks, _)) in groups.iter().enumerate() {
                let mut end = 0;
                for share in &shares {
                    assert_eq!(share[group].start, end);
                    end = share[group].end;
                }
                assert_eq!(end, tasks);
            }
            for share in &shares {
                let cost: f64 = share
                    .iter()
                    .zip(&groups)
                    .map(|(range, group)| range.len() as f64 * group.1)
                    .sum();
                assert!(
                    cost <= 15_000.0 / workers as f64 + 700.0,
                    "{workers} {cost}"
                );
            }
        }
    }

    #[test]
    fn shares_of_unequal_tasks_cost_alike_and_none_has_too_many() {
        let cost = |task: usize| (task * 7919 % 101) as f64 + 1.0;
        let mut ends = Vec::new();
        for tasks in [0, 1, 3, 100, 1000] {
            for workers in [1, 2, 3, 5, 16] {
                let costs = (0..tasks).map(cost);
                share_ends(costs.clone(), workers, tasks, &mut ends);
                assert_eq!((ends.len(), ends[workers - 1]), (workers, tasks));
                let part = costs.sum::<f64>() / workers as f64;
                let starts = std::iter::once(0).chain(ends.iter().copied());
                for (start, &end) in starts.zip(&ends) {
                    let share: f64 = (start..end).map(cost).sum();
                    assert!((share - part).abs() <= 101.0, "{tasks} {workers}: {share}");
                }
                // The first tasks cost nearly all, but no share has more tasks than allowed.
                let most = tasks.div_ceil(workers);
                let costs = (0..tasks).map(|task| if task < 2 { 1e6 } else { 1.0 });
                share_ends(costs, workers, most, &mut ends);
                let starts = std::iter::once(0).chain(ends.iter().copied());
                assert!(starts.zip(&ends).all(|(start, &end)| end - start <= most));
                assert_eq!(ends[workers - 1], tasks);
            }
        }
    }
}
