//! The summary of a race: when each method first reached each target accuracy, and its cost until
//! then.

use serde::Serialize;

use super::{RacePlan, RaceRow};
use crate::study::table::{Table, duration, percent, times, whole};
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
    /// Number of multiplications.
    pub multiplications: u64,
}

impl From<&RaceRow> for Reached {
    fn from(row: &RaceRow) -> Self {
        Self {
            seconds: row.seconds,
            steps: row.steps,
            epochs: row.epochs,
            multiplications: row.tally.multiplications,
        }
    }
}

/// The summary of one method.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodSummary {
    /// The label of the method.
    pub method: String,
    /// The learning rate, if it is not the config's.
    pub learning_rate: Option<f64>,
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
    /// Summary sentences, one per target.
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
        let findings = sentences(&standings, &plan.targets);
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

    /// Returns the table of the methods, one row each.
    pub fn table(&self) -> Table {
        let mut header = vec!["method".to_owned(), "learning rate".to_owned()];
        for target in self.targets {
            let target = percent(Some(*target));
            header.push(format!("{target} after"));
            header.push("multiplications".to_owned());
        }
        let totals = [
            "best accuracy",
            "epochs",
            "time",
            "multiplications",
            "ended by",
        ];
        header.extend(totals.map(str::to_owned));
        let mut table = Table::new(header);
        for summary in &self.standings {
            let rate = summary.learning_rate;
            let mut cells = vec![
                summary.method.clone(),
                rate.map_or("the config's".to_owned(), |rate| format!("{rate:.3e}")),
            ];
            for reached in &summary.reached {
                let shown =
                    |of: &dyn Fn(&Reached) -> String| reached.as_ref().map_or("–".to_owned(), of);
                cells.push(shown(&|reached| duration(reached.seconds)));
                cells.push(shown(&|reached| whole(reached.multiplications)));
            }
            cells.extend([
                percent(Some(summary.best_accuracy)),
                format!("{:.2}", summary.total.epochs),
                duration(summary.total.seconds),
                whole(summary.total.multiplications),
                summary.ending.clone().unwrap_or("–".to_owned()),
            ]);
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
        format!("{}\n", table(&self.table())) + &closing(&self.findings, &self.study)
    }
}

/// Summarizes the rows of one method; `None` if it has no rows.
fn summarize(label: &str, plan: &RacePlan, rows: &[RaceRow]) -> Option<MethodSummary> {
    let method_rows: Vec<&RaceRow> = rows.iter().filter(|row| row.method == label).collect();
    let last = method_rows.last()?;
    let first_above = |target: &f64| {
        let row = method_rows.iter().find(|row| row.accuracy >= *target)?;
        Some(Reached::from(*row))
    };
    let rate = plan.rates.iter().find(|(method, _)| method == label);
    Some(MethodSummary {
        method: label.to_owned(),
        learning_rate: rate.map(|&(_, rate)| rate),
        reached: plan.targets.iter().map(first_above).collect(),
        best_accuracy: method_rows
            .iter()
            .map(|row| row.accuracy)
            .fold(0.0, f64::max),
        accuracy: last.accuracy,
        total: Reached::from(*last),
        ending: last.ending.clone(),
    })
}

/// Writes a sentence per target: the first method to reach it, how much longer the others took, and
/// the methods that did not reach it.
fn sentences(summaries: &[MethodSummary], targets: &[f64]) -> Vec<String> {
    let sentence = |(place, target): (usize, &f64)| {
        let target = format!("{} %", trimmed(100.0 * target));
        let mut reached: Vec<(&MethodSummary, Reached)> = (summaries.iter())
            .filter_map(|summary| Some((summary, summary.reached[place]?)))
            .collect();
        reached.sort_by(|a, b| a.1.seconds.total_cmp(&b.1.seconds));
        let missed: Vec<String> = (summaries.iter())
            .filter(|summary| summary.reached[place].is_none())
            .map(|summary| {
                format!(
                    "{} (best {} in {})",
                    summary.method,
                    percent(Some(summary.best_accuracy)),
                    duration(summary.total.seconds)
                )
            })
            .collect();
        let Some(((winner, best), others)) = reached.split_first() else {
            return format!("No method reached {target}: {}.", missed.join(", "));
        };
        let mut text = format!(
            "{} reached {target} first, after {} and {} multiplications",
            winner.method,
            duration(best.seconds),
            whole(best.multiplications),
        );
        for (other, reached) in others {
            text.push_str(&format!(
                "; {} after {} ({} times the time, {} times the multiplications)",
                other.method,
                duration(reached.seconds),
                times(reached.seconds / best.seconds),
                times(reached.multiplications as f64 / best.multiplications as f64),
            ));
        }
        if !missed.is_empty() {
            text.push_str(&format!("; not reached by {}", missed.join(", ")));
        }
        text + "."
    };
    targets.iter().enumerate().map(sentence).collect()
}

/// Formats a percentage without trailing zeros, such as `95` or `97.5`.
fn trimmed(number: f64) -> String {
    let text = format!("{number:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::tally::Tally;

    fn row(method: &str, seconds: f64, accuracy: f64, ending: Option<&str>) -> RaceRow {
        RaceRow {
            method: method.to_owned(),
            epochs: seconds,
            steps: (10.0 * seconds) as u64,
            seconds,
            accuracy,
            loss: 1.0,
            tally: Tally::multiplications((100.0 * seconds) as u64),
            ending: ending.map(str::to_owned),
        }
    }

    #[test]
    fn the_first_row_at_a_target_counts_and_methods_that_missed_it_are_named() {
        let plan = RacePlan {
            methods: ["slow", "fast", "lost"].map(str::to_owned).to_vec(),
            rates: vec![("lost".to_owned(), 0.5)],
            targets: vec![0.9, 0.95],
            limit: 30.0,
        };
        let rows = [
            row("slow", 4.0, 0.5, None),
            row("slow", 8.0, 0.91, None),
            row("slow", 9.0, 0.89, Some("the time limit")),
            row("fast", 1.0, 0.9, None),
            row("fast", 2.0, 0.96, Some("as long as [train] asks for")),
            row("lost", 3.0, 0.2, Some("the time limit")),
        ];
        let report = RaceReport::new("a", "s".to_owned(), "validation", &plan, &rows);
        let slow = &report.standings[0];
        assert_eq!(slow.reached[0].unwrap().multiplications, 800);
        assert_eq!(slow.reached[1], None);
        assert_eq!((slow.best_accuracy, slow.accuracy), (0.91, 0.89));
        assert_eq!(report.standings[2].learning_rate, Some(0.5));
        assert_eq!(
            report.findings[0],
            "fast reached 90 % first, after 1.00 s and 100 multiplications; slow after 8.00 s (8.00 times the time, 8.00 times the multiplications); not reached by lost (best 20.00 % in 3.00 s)."
        );
        assert!(report.findings[1].starts_with("fast reached 95 % first"));
    }
}
