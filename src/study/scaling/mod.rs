//! The scaling study: how the speed of each method depends on the number of threads.
//!
//! A *cell* is a method, split by rows or by units if it is backprop, with a mini-batch size and a
//! number of threads. Each round takes one sample
//! of every cell (A B C A B C), so that a change of the machine's speed affects all cells. A
//! speedup is the median over the rounds of the ratio of two times of the same round. With each
//! sample the machine's peak rates are measured on the same threads ([`super::machine_peaks`]),
//! because a method may miss its ideal speedup when the clock rate drops.
//!
//! This module does not measure: samples come from a closure, for which tests substitute
//! arithmetic.

pub mod measurement;
mod placement;
mod plan;
mod rows;
pub mod summary;
mod warnings;

pub use self::placement::{Placement, Placements};
pub use self::plan::{Cell, PlannedDivision, ScalingPlan, ScalingSample, take_in_turns};
pub use self::rows::{
    ScalingFit, ScalingPrediction, ScalingRow, ScalingSummary, SynchronizationTime,
};
pub use self::warnings::warnings;
pub use crate::parallel::Split;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient::backprop::limits::DivisionLimits;

    fn plan() -> ScalingPlan {
        ScalingPlan {
            methods: vec!["backprop".to_owned(), "forward-difference/full".to_owned()],
            batches: vec![10, 40],
            threads: vec![1, 2, 4],
            predicted_threads: Vec::new(),
            divisions: Vec::new(),
            rounds: 5,
            weak: false,
            pinned: false,
            limit_seconds: 1.0,
        }
    }

    /// Simulates a machine whose gradient of B rows takes B·(1 + α(p − 1) + β·p(p − 1))/p, plus
    /// `join` seconds with more than one thread, all multiplied by the number of the round.
    fn synthetic(cell: &Cell, round: usize, join: f64) -> ScalingSample {
        let (alpha, beta) = if cell.method == "backprop" {
            (0.1, 0.01)
        } else {
            (0.0, 0.0)
        };
        let p = cell.threads as f64;
        let lost = alpha * (p - 1.0) + beta * p * (p - 1.0);
        let joined = if cell.threads > 1 { join } else { 0.0 };
        let seconds = (cell.batch_rows as f64 * (1.0 + lost) / p + joined) * round as f64;
        ScalingSample {
            round,
            method: cell.method.clone(),
            split: cell.split,
            batch_rows: cell.batch_rows,
            threads: cell.threads,
            seconds,
            cpu_seconds: Some(seconds * p),
            gradients: 1,
            share: 1.0,
            operations: 1000 * cell.batch_rows as u64,
            least_bytes: 1,
            peak_operations: 2000.0 * p / round as f64,
            peak_bytes: 1e9,
            meeting_seconds: Some(if round == 4 { 350e-9 } else { 90e-9 }),
            weights_sha256: Some(format!("{}-{}", cell.method, cell.batch_rows)),
        }
    }

    fn taken(plan: &ScalingPlan, join: f64) -> Vec<ScalingSample> {
        let mut samples = Vec::new();
        take_in_turns(
            plan,
            &[],
            |cell, round| Ok(Some(synthetic(cell, round, join))),
            |sample| {
                samples.push(sample);
                Ok(())
            },
        )
        .unwrap();
        samples
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found}, not {expected}");
    }

    #[test]
    fn every_round_goes_through_all_cells_and_resumes_where_it_ended() {
        let plan = plan();
        let cells = plan.cells();
        // Backprop has two splits.
        assert_eq!(cells.len(), 3 * 6);
        let all = taken(&plan, 0.0);
        for (index, sample) in all.iter().enumerate() {
            assert_eq!(sample.round, index / 18 + 1);
            assert!(sample.is_of(&cells[index % 18]));
        }
        let mut rest = 0;
        let mut keep = |_| {
            rest += 1;
            Ok(())
        };
        let take = |cell: &Cell, round| Ok(Some(synthetic(cell, round, 0.0)));
        assert!(take_in_turns(&plan, &all[..17], take, &mut keep).unwrap());
        assert_eq!(rest, all.len() - 17);
        let interrupted = |_: &Cell, _| Ok(None);
        assert!(!take_in_turns(&plan, &all[..17], interrupted, |_| Ok(())).unwrap());
    }

    #[test]
    fn speedups_compare_the_same_round_and_ignore_the_machine_s_drift() {
        let plan = plan();
        let summary = ScalingSummary::of(&plan, &taken(&plan, 0.0));
        for row in &summary.rows {
            let p = row.threads as f64;
            let lost = if row.method == "backprop" {
                0.1 * (p - 1.0) + 0.01 * p * (p - 1.0)
            } else {
                0.0
            };
            let expected = p / (1.0 + lost);
            close(row.speedup.unwrap(), expected);
            close(row.efficiency.unwrap(), expected / p);
            let [low, high] = row.speedup_range.unwrap();
            close(low, expected);
            close(high, expected);
            close(row.peak_efficiency.unwrap(), 1.0);
            // The median round is the third: 3 times as slow as the first.
            close(row.seconds, 3.0 * row.batch_rows as f64 / expected);
            close(row.of_peak, row.of_roofline);
            close(row.of_peak, 1000.0 / (3.0 / expected) / (2000.0 * p / 3.0));
        }
        assert_eq!(summary.differing_weights(), None);
    }

    /// A machine without any law: least, median and largest of every figure differ, and the median of
    /// the rounds' ratios is not the ratio of the medians.
    #[test]
    fn every_figure_is_a_median_over_uneven_rounds() {
        let mut plan = plan();
        plan.methods.truncate(1);
        (plan.batches, plan.threads) = (vec![10], vec![1, 2]);
        plan.weak = true;
        // By round: seconds with 1 thread, with 2, and with 2 on twice the rows.
        const ONE: [f64; 5] = [4.0, 9.0, 7.5, 10.0, 5.0];
        const TWO: [f64; 5] = [2.0, 9.0, 3.0, 2.5, 4.0];
        const WEAK: [f64; 5] = [5.0, 9.0, 12.0, 5.0, 10.0];
        const CPU: [f64; 5] = [3.0, 9.0, 1.0, 2.0, 8.0];
        const PEAK: [f64; 5] = [1200.0, 2000.0, 1600.0, 1000.0, 1900.0];
        const MEETING: [f64; 5] = [7e-7, 1e-7, 9e-7, 3e-7, 2e-7];
        let mut samples = taken(&plan, 0.0);
        for sample in &mut samples {
            let round = sample.round - 1;
            sample.peak_operations = 1000.0;
            sample.seconds = match (sample.threads, sample.batch_rows) {
                (1, _) => ONE[round],
                (_, 10) => TWO[round],
                _ => WEAK[round],
            };
            if sample.threads == 2 {
                sample.cpu_seconds = Some(CPU[round]);
                sample.peak_operations = PEAK[round];
                sample.meeting_seconds = Some(MEETING[round]);
            }
        }
        let summary = ScalingSummary::of(&plan, &samples);
        let of = |batch_rows, threads| {
            let mut rows = summary.rows.iter();
            let own = |row: &&ScalingRow| (row.batch_rows, row.threads) == (batch_rows, threads);
            rows.find(own).unwrap()
        };
        let row = of(10, 2);
        close(row.seconds, 3.0);
        // 2, 1, 2.5, 4 and 1.25.
        close(row.speedup.unwrap(), 2.0);
        assert_eq!(row.speedup_range, Some([1.0, 4.0]));
        close(row.efficiency.unwrap(), 1.0);
        close(row.cpu_seconds.unwrap(), 3.0);
        close(row.peak_efficiency.unwrap(), 1.6 / 2.0);
        close(row.operations_per_second, 10_000.0 / 3.0);
        close(row.of_peak, 10_000.0 / 3.0 / 1600.0);
        close(row.of_roofline, 10_000.0 / 3.0 / 1600.0);
        // .8, 1, .625, 2 and .5.
        close(of(20, 2).weak_efficiency.unwrap(), 0.8);
        close(of(10, 1).seconds, 7.5);
        close(summary.meetings[0].seconds, 3e-7);
        assert_eq!(summary.fits[0].fastest_threads, 2);
    }

    #[test]
    fn fits_recover_the_machine_s_laws() {
        let mut plan = plan();
        plan.threads = vec![1, 2, 3, 4];
        let summary = ScalingSummary::of(&plan, &taken(&plan, 0.0));
        let fit = &summary.fits[0];
        assert_eq!((fit.method.as_str(), fit.fastest_threads), ("backprop", 4));
        let universal = fit.universal.unwrap();
        close(universal.contention.value, 0.1);
        close(universal.coherence.value, 0.01);
        close(universal.best_workers.unwrap(), (0.9f64 / 0.01).sqrt());
        close(summary.fits[2].amdahl.unwrap().serial.value, 0.0);
        assert_eq!(summary.fits.len(), 6);
    }

    #[test]
    fn the_second_thread_pays_once_the_join_costs_less_than_half_the_work() {
        let mut plan = plan();
        plan.batches = vec![10, 20, 40, 80];
        let summary = ScalingSummary::of(&plan, &taken(&plan, 9.0));
        let pays = |method| summary.second_thread_pays_from(method);
        // Differences: B > B/2 + 9 from 18 rows on. Backprop: B > .56·B + 9 from 20.5 on.
        assert_eq!(pays("forward-difference/full"), Some((20, false)));
        assert_eq!(pays("backprop"), Some((40, false)));
        let summary = ScalingSummary::of(&plan, &taken(&plan, 1.0));
        assert_eq!(
            summary.second_thread_pays_from("backprop"),
            Some((10, true))
        );
        let summary = ScalingSummary::of(&plan, &taken(&plan, 90.0));
        assert_eq!(summary.second_thread_pays_from("backprop"), None);
    }

    #[test]
    fn weak_scaling_compares_equal_rows_per_thread() {
        let mut plan = plan();
        plan.weak = true;
        plan.batches = vec![10];
        assert_eq!(plan.cells().len(), 3 * 5);
        let summary = ScalingSummary::of(&plan, &taken(&plan, 0.0));
        let of = |method: &str, batch_rows, threads| {
            let found = summary.rows.iter().find(|row| {
                (row.method.as_str(), row.batch_rows, row.threads) == (method, batch_rows, threads)
            });
            found.unwrap().weak_efficiency
        };
        close(of("forward-difference/full", 40, 4).unwrap(), 1.0);
        close(of("backprop", 20, 2).unwrap(), 1.0 / (1.0 + 0.1 + 0.02));
        assert_eq!(of("backprop", 10, 4), None);
    }

    #[test]
    fn weights_that_depend_on_the_threads_are_found() {
        let plan = plan();
        let mut samples = taken(&plan, 0.0);
        for sample in &mut samples {
            if sample.threads == 4 && sample.batch_rows == 40 && sample.method == "backprop" {
                sample.weights_sha256 = Some("another".to_owned());
            }
        }
        let summary = ScalingSummary::of(&plan, &samples);
        assert_eq!(summary.differing_weights(), Some(("backprop", 40)));
    }

    /// Backprop on 10 rows with 1 and 2 threads; `change` makes the samples uneven.
    fn summary_of(change: impl Fn(&mut ScalingSample)) -> (ScalingPlan, Vec<ScalingSample>) {
        let mut plan = plan();
        plan.methods.truncate(1);
        (plan.batches, plan.threads) = (vec![10], vec![1, 2]);
        let mut samples = taken(&plan, 0.0);
        for sample in &mut samples {
            sample.peak_operations = 1000.0 * sample.threads as f64;
            sample.meeting_seconds = Some(100e-9);
            change(sample);
        }
        (plan, samples)
    }

    #[test]
    fn the_faster_split_is_the_one_that_auto_takes_and_the_fastest_alone_is_the_base() {
        let (plan, samples) = summary_of(|sample| {
            sample.seconds = match (sample.threads, sample.split) {
                (1, Some(Split::Units)) => 6.0,
                (1, _) => 5.0,
                (_, Some(Split::Units)) => 4.0,
                _ => 2.5,
            };
        });
        let summary = ScalingSummary::of(&plan, &samples);
        let row = |threads, split| {
            let own = |row: &&ScalingRow| (row.threads, row.split) == (threads, Some(split));
            summary.rows.iter().find(own).unwrap()
        };
        close(row(2, Split::Rows).efficiency.unwrap(), 1.0);
        close(row(2, Split::Units).efficiency.unwrap(), 5.0 / 4.0 / 2.0);
        assert!(row(2, Split::Rows).auto && !row(2, Split::Units).auto);
        // One worker has nothing to divide.
        assert!(row(1, Split::Units).auto && !row(1, Split::Rows).auto);
        assert_eq!(
            summary.second_thread_pays_from("backprop"),
            Some((10, true))
        );
    }

    #[test]
    fn samples_on_one_core_are_left_out_and_the_others_told_apart() {
        let (plan, samples) = summary_of(|sample| {
            sample.seconds = 8.0;
            if sample.threads == 2 {
                // By round: one core, near, near, far, far.
                let round = sample.round - 1;
                sample.meeting_seconds = Some([60e-9, 90e-9, 110e-9, 330e-9, 340e-9][round]);
                sample.peak_operations = if round == 0 { 1010.0 } else { 2000.0 };
                sample.seconds = [8.0, 4.0, 4.0, 5.0, 5.0][round];
            }
        });
        let summary = ScalingSummary::of(&plan, &samples);
        let row = summary.rows.iter().find(|row| row.threads == 2).unwrap();
        let (shared_core, near, far) = (1, 2, 2);
        let expected = Placements {
            shared_core,
            near,
            far,
        };
        assert_eq!(row.placements, expected);
        assert_eq!(row.placements.to_string(), "2 near, 2 far, 1 one core");
        assert_eq!(row.samples, [4.0, 4.0, 5.0, 5.0]);
        close(row.efficiency_near.unwrap(), 1.0);
        close(row.efficiency_far.unwrap(), 0.8);
        let warnings = warnings(&plan, &samples, None, [2, 2]).join("; ");
        assert!(
            warnings.contains("in 2 of 10 samples with several threads"),
            "{warnings}"
        );
        let alone: Vec<_> = samples
            .into_iter()
            .filter(|sample| sample.round == 1)
            .collect();
        let row = &ScalingSummary::of(&plan, &alone).rows[2];
        assert_eq!((row.threads, row.samples.len()), (2, 1));
        let warnings = super::warnings(&plan, &alone, None, [2, 2]).join("; ");
        assert!(warnings.contains("no speedup could be seen"), "{warnings}");
    }

    #[test]
    fn more_threads_than_processors_are_predicted_from_the_counted_limits() {
        let (mut plan, samples) = summary_of(|sample| {
            sample.seconds = if sample.split == Some(Split::Units) {
                8.0
            } else {
                10.0
            };
            sample.meeting_seconds = Some(0.25);
        });
        plan.predicted_threads = vec![4];
        plan.divisions = vec![PlannedDivision {
            method: "backprop".to_owned(),
            split: Some(Split::Rows),
            batch_rows: 10,
            threads: 4,
            limits: DivisionLimits {
                shared_work: 0.5,
                meetings: 2,
                moved_bytes: 0,
            },
        }];
        let summary = ScalingSummary::of(&plan, &samples);
        let [prediction] = &summary.predictions[..] else {
            panic!("{:?}", summary.predictions);
        };
        close(prediction.seconds, 10.0 / (4.0 * 0.5) + 2.0 * 0.25);
        close(prediction.speedup, 8.0 / 5.5);
    }

    #[test]
    fn samples_of_earlier_versions_are_those_by_units() {
        let (plan, mut samples) = summary_of(|_| {});
        samples.retain(|sample| sample.split == Some(Split::Units));
        for sample in &mut samples {
            sample.split = None;
        }
        let rows = ScalingSummary::of(&plan, &samples).rows;
        let splits: Vec<_> = rows.iter().map(|row| (row.threads, row.split)).collect();
        assert_eq!(splits, [(1, Some(Split::Units)), (2, Some(Split::Units))]);
    }

    #[test]
    fn warnings_report_load_shared_cores_and_a_changing_clock() {
        let plan = plan();
        let samples = taken(&plan, 0.0);
        let all = warnings(&plan, &samples, Some(0.8), [1, 2]);
        assert_eq!(all.len(), 4, "{all:?}");
        assert!(all[0].contains("0.80 processors"));
        assert!(all[1].contains("than 1 physical core to use: 2;"));
        assert!(all[2].contains("clock changed"));
        assert!(all[3].contains("synchronizing 2 threads took 90 to 350 ns"));
        let meetings = ScalingSummary::of(&plan, &samples).meetings;
        assert_eq!((meetings[1].threads, meetings[1].seconds), (4, 90e-9));
        let steady: Vec<ScalingSample> = samples
            .into_iter()
            .filter(|sample| sample.round == 1)
            .collect();
        assert!(warnings(&plan, &steady, Some(0.01), [4, 8]).is_empty());
    }
}
