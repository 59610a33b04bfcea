//! The summary of a race: when each method first reached each target accuracy, and its cost until
//! then: the median of the seeds, with their spread.

use serde::Serialize;

use super::sentences::{choice_of_rates, cost_of_random_directions, divergences, sentences};
use super::{RacePlan, RaceRow};
use crate::study::table::{Table, duration, percent};
use crate::study::{StudyReport, closing};

/// The cost of a method up to one row.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Reached {
    /// Seconds of shuffling and training steps.
    pub seconds: f64,
    /// Number of steps.
    pub steps: u64,
    /// Number of epochs.
    pub epochs: f64,
    /// Number of losses and directional derivatives evaluated.
    pub passes: u64,
    /// Number of multiplications performed.
    pub multiplications: u64,
    /// Number of multiplications of a plain implementation; `None` if the method has no plain form.
    pub dense_multiplications: Option<u64>,
}

impl From<&RaceRow> for Reached {
    fn from(row: &RaceRow) -> Self {
        Self {
            seconds: row.seconds,
            steps: row.steps,
            epochs: row.epochs,
            passes: row.tally.passes(),
            multiplications: row.tally.multiplications,
            dense_multiplications: row.dense_multiplications,
        }
    }
}

/// The summary of one method with one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedSummary {
    /// The seed.
    pub seed: u64,
    /// The cost of first reaching each target, in the order of the targets.
    pub reached: Vec<Option<Reached>>,
    /// The best accuracy.
    pub best_accuracy: f64,
    /// The last accuracy.
    pub accuracy: f64,
    /// The total cost.
    #[serde(flatten)]
    pub total: Reached,
    /// The reason why it ended.
    pub ending: Option<String>,
}

/// The summary of one method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodSummary {
    /// The label of the method.
    pub method: String,
    /// The learning rate; `None` if the optimizer has none.
    pub learning_rate: Option<f64>,
    /// Whether the learning rate was found by trying.
    pub tuned: bool,
    /// For each target the cost of first reaching it with the median seed; `None` if half of the
    /// seeds or more did not.
    pub reached: Vec<Option<Reached>>,
    /// The median of the seeds' best accuracies.
    pub best_accuracy: f64,
    /// The median of the seeds' last accuracies.
    pub accuracy: f64,
    /// The total cost with the seed of median time.
    #[serde(flatten)]
    pub total: Reached,
    /// The reason why it ended with the first seed.
    pub ending: Option<String>,
    /// The summaries of the seeds.
    pub seeds: Vec<SeedSummary>,
}

/// The rows of a race and their summary.
#[derive(Clone, Debug, Serialize)]
pub struct RaceReport<'a> {
    /// The config's name.
    pub name: &'a str,
    /// The study's directory.
    pub study: String,
    /// The rows on which accuracy is measured: `validation` or `test`.
    pub judged: &'a str,
    /// The targets, ascending.
    pub targets: &'a [f64],
    /// The summaries of the methods.
    pub standings: Vec<MethodSummary>,
    /// Summary sentences: one per target, then what random directions cost, how rates were chosen,
    /// and what diverged.
    pub findings: Vec<String>,
    /// The progress of each method at each evaluation.
    pub rows: &'a [RaceRow],
}

impl<'a> RaceReport<'a> {
    /// Summarizes all `rows` of the study in the directory `study`.
    pub fn new(
        name: &'a str,
        study: String,
        judged: &'a str,
        plan: &'a RacePlan,
        rows: &'a [RaceRow],
    ) -> Self {
        let standings: Vec<MethodSummary> = (plan.methods.iter())
            .filter_map(|label| summarize(label, plan, rows))
            .collect();
        let mut findings = sentences(&standings, &plan.targets);
        findings.extend(cost_of_random_directions(&standings, rows));
        findings.extend(choice_of_rates(&standings, plan, judged));
        findings.extend(divergences(&standings));
        Self {
            name,
            study,
            judged,
            targets: &plan.targets,
            standings,
            findings,
            rows,
        }
    }

    /// Returns the table of accuracies and times, and that of multiplications, each with its
    /// heading.
    pub fn tables(&self) -> [(&'static str, Table); 2] {
        [
            (
                "Time to each accuracy: median seed (least … most)",
                self.times(),
            ),
            (
                "Multiplications to each accuracy: performed / dense",
                self.multiplications(),
            ),
        ]
    }

    fn times(&self) -> Table {
        let mut header = ["method", "rate", "best accuracy", "epochs"]
            .map(str::to_owned)
            .to_vec();
        header.extend(self.targets.iter().map(|target| percent(Some(*target))));
        let mut table = Table::new(header);
        for summary in &self.standings {
            let rate = summary.learning_rate;
            let accuracies = summary.seeds.iter().map(|seed| seed.best_accuracy);
            let least = accuracies.clone().fold(f64::INFINITY, f64::min);
            let most = accuracies.fold(0.0, f64::max);
            let mut cells = vec![
                summary.method.clone(),
                rate.map_or("–".to_owned(), |rate| format!("{rate:.2e}")),
                format!(
                    "{} ({:.2} … {:.2})",
                    percent(Some(summary.best_accuracy)),
                    100.0 * least,
                    100.0 * most
                ),
                format!("{:.2}", summary.total.epochs),
            ];
            for (target, reached) in summary.reached.iter().enumerate() {
                let spread = spread_of_times(summary, target);
                cells.push(match reached {
                    Some(reached) => format!("{} ({spread})", duration(reached.seconds)),
                    None => spread,
                });
            }
            table.row(cells);
        }
        table
    }

    fn multiplications(&self) -> Table {
        let mut header = vec!["method".to_owned()];
        header.extend(self.targets.iter().map(|target| percent(Some(*target))));
        let mut table = Table::new(header);
        for summary in &self.standings {
            let cell = |reached: &Option<Reached>| {
                reached.map_or("–".to_owned(), |reached| {
                    let dense = reached.dense_multiplications;
                    let shown = |count: u64| format!("{:.2e}", count as f64);
                    let dense = dense.map_or("–".to_owned(), shown);
                    format!("{} / {dense}", shown(reached.multiplications))
                })
            };
            let mut cells = vec![summary.method.clone()];
            cells.extend(summary.reached.iter().map(cell));
            table.row(cells);
        }
        table
    }
}

impl StudyReport for RaceReport<'_> {
    fn heading(&self) -> String {
        format!("Race: {}", self.name)
    }

    fn render(&self, _: &str, table: &dyn Fn(&Table) -> String) -> String {
        let sections = self.tables().into_iter();
        let sections =
            sections.map(|(heading, contents)| format!("{heading}\n{}\n", table(&contents)));
        sections.collect::<String>() + &closing(&self.findings, &self.study)
    }
}

/// Formats the least and the greatest time to a target over the seeds; `never` if a seed did not
/// reach it.
fn spread_of_times(summary: &MethodSummary, target: usize) -> String {
    let times: Vec<Option<f64>> = (summary.seeds.iter())
        .map(|seed| Some(seed.reached[target]?.seconds))
        .collect();
    let reached = || times.iter().copied().flatten();
    if reached().next().is_none() {
        return "never".to_owned();
    }
    let most = if times.contains(&None) {
        "never".to_owned()
    } else {
        duration(reached().fold(0.0, f64::max))
    };
    format!(
        "{} … {most}",
        duration(reached().fold(f64::INFINITY, f64::min))
    )
}

/// Summarizes the rows of one method; `None` if it has no rows.
fn summarize(label: &str, plan: &RacePlan, rows: &[RaceRow]) -> Option<MethodSummary> {
    let seeds: Vec<SeedSummary> = (plan.seeds.iter())
        .filter_map(|&seed| summarize_seed(label, seed, plan, rows))
        .collect();
    let first = seeds.first()?;
    let last_row = (rows.iter()).rfind(|row| row.method == label && !row.tuning)?;
    let target = |target: usize| -> Option<Reached> {
        // A seed that did not reach the target would have taken longer than all that did.
        let mut costs: Vec<Reached> = (seeds.iter())
            .filter_map(|seed| seed.reached[target])
            .collect();
        costs.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
        costs.get(seeds.len() / 2).copied()
    };
    let median = |of: fn(&SeedSummary) -> f64| {
        let mut numbers: Vec<f64> = seeds.iter().map(of).collect();
        numbers.sort_by(f64::total_cmp);
        numbers[(numbers.len() - 1) / 2]
    };
    let mut totals: Vec<Reached> = seeds.iter().map(|seed| seed.total).collect();
    totals.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Some(MethodSummary {
        method: label.to_owned(),
        learning_rate: last_row.learning_rate,
        tuned: rows.iter().any(|row| row.method == label && row.tuning),
        reached: (0..plan.targets.len()).map(target).collect(),
        best_accuracy: median(|seed| seed.best_accuracy),
        accuracy: median(|seed| seed.accuracy),
        total: totals[(totals.len() - 1) / 2],
        ending: first.ending.clone(),
        seeds,
    })
}

/// Summarizes the rows of one method with one seed; `None` if there are none.
fn summarize_seed(
    label: &str,
    seed: u64,
    plan: &RacePlan,
    rows: &[RaceRow],
) -> Option<SeedSummary> {
    let own: Vec<&RaceRow> = (rows.iter())
        .filter(|row| row.method == label && row.seed == seed && !row.tuning)
        .collect();
    let last = own.last()?;
    let first_above = |target: &f64| {
        let row = own.iter().find(|row| row.accuracy >= *target)?;
        Some(Reached::from(*row))
    };
    Some(SeedSummary {
        seed,
        reached: plan.targets.iter().map(first_above).collect(),
        best_accuracy: own.iter().map(|row| row.accuracy).fold(0.0, f64::max),
        accuracy: last.accuracy,
        total: Reached::from(*last),
        ending: last.ending.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::tally::Tally;

    fn row(method: &str, seed: u64, seconds: f64, accuracy: f64, ending: Option<&str>) -> RaceRow {
        RaceRow {
            method: method.to_owned(),
            seed,
            learning_rate: Some(0.5),
            tuning: false,
            epochs: seconds,
            steps: (10.0 * seconds) as u64,
            seconds,
            accuracy,
            loss: 1.0,
            tally: Tally::multiplications((100.0 * seconds) as u64),
            dense_multiplications: Some((200.0 * seconds) as u64),
            ending: ending.map(str::to_owned),
        }
    }

    fn plan(methods: &[&str], seeds: &[u64]) -> RacePlan {
        RacePlan {
            methods: methods.iter().map(|&label| label.to_owned()).collect(),
            rates: Vec::new(),
            seeds: seeds.to_vec(),
            tuning: 1.0,
            targets: vec![0.9, 0.95],
            limit: 30.0,
        }
    }

    #[test]
    fn the_first_row_at_a_target_counts_and_methods_that_missed_it_are_named() {
        let plan = plan(&["slow", "fast", "lost"], &[1]);
        let rows = [
            row("slow", 1, 4.0, 0.5, None),
            row("slow", 1, 8.0, 0.91, None),
            row("slow", 1, 9.0, 0.89, Some("the time limit")),
            row("fast", 1, 1.0, 0.9, None),
            row("fast", 1, 2.0, 0.96, Some("as long as [train] asks for")),
            row("lost", 1, 3.0, 0.2, Some("the time limit")),
        ];
        let report = RaceReport::new("a", "s".to_owned(), "validation", &plan, &rows);
        let slow = &report.standings[0];
        let reached = slow.reached[0].unwrap();
        assert_eq!(reached.multiplications, 800);
        assert_eq!(reached.dense_multiplications, Some(1600));
        assert_eq!(slow.reached[1], None);
        assert_eq!((slow.best_accuracy, slow.accuracy), (0.91, 0.89));
        assert_eq!(
            report.findings[0],
            "fast reached 90 % first, after 1.00 s and 100 multiplications performed; slow after 8.00 s (8.00 times the time, 8.00 times the multiplications); not reached by lost (best 20.00 % in 3.00 s)."
        );
        assert!(report.findings[1].starts_with("fast reached 95 % first"));
        assert_eq!(report.findings.len(), 2);
    }

    #[test]
    fn the_median_seed_counts_and_a_seed_that_never_arrives_is_the_slowest() {
        let plan = plan(&["a"], &[1, 2, 3]);
        let mut rows = vec![
            row("a", 1, 5.0, 0.92, Some("the time limit")),
            row("a", 2, 3.0, 0.94, Some("the time limit")),
            row("a", 3, 9.0, 0.70, Some("the time limit")),
        ];
        let report = RaceReport::new("a", "s".to_owned(), "validation", &plan, &rows);
        let summary = &report.standings[0];
        assert_eq!(summary.reached[0].unwrap().seconds, 5.0);
        assert_eq!(summary.reached[1], None);
        assert_eq!(summary.best_accuracy, 0.92);
        assert_eq!(spread_of_times(summary, 0), "3.00 s … never");
        assert_eq!(spread_of_times(summary, 1), "never");
        // Of two seeds both must arrive.
        let two = self::plan(&["a"], &[1, 3]);
        let report = RaceReport::new("a", "s".to_owned(), "validation", &two, &rows);
        assert_eq!(report.standings[0].reached[0], None);
        // Two of three seeds that do not arrive: no median.
        rows[0].accuracy = 0.5;
        let report = RaceReport::new("a", "s".to_owned(), "validation", &plan, &rows);
        assert_eq!(report.standings[0].reached[0], None);
    }

    #[test]
    fn rows_of_tried_rates_are_no_part_of_the_race_but_are_said() {
        let plan = plan(&["backprop", "spsa:10"], &[1]);
        let mut tried = row("spsa:10", 1, 1.0, 0.99, Some("the time limit"));
        tried.tuning = true;
        let rows = [
            row("backprop", 1, 1.0, 0.96, Some("the time limit")),
            tried,
            row("spsa:10", 1, 9.0, 0.91, Some("the time limit")),
        ];
        let report = RaceReport::new("a", "s".to_owned(), "validation", &plan, &rows);
        let spsa = &report.standings[1];
        assert!(spsa.tuned && !report.standings[0].tuned);
        assert_eq!(spsa.best_accuracy, 0.91);
        let [.., directions, rates] = &report.findings[..] else {
            panic!("{:?}", report.findings)
        };
        assert!(
            directions.contains(
                "spsa:10 91.00 % after 90 steps of 0 evaluations, backprop after 10 at most"
            ),
            "{directions}"
        );
        assert!(
            rates.starts_with("Learning rates of spsa:10: the best of at least five, by accuracy on the validation rows after 1.00 s"),
            "{rates}"
        );
    }
}
