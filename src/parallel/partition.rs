//! Partition of work by predicted cost: one contiguous share per worker.

use std::ops::Range;

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
}
