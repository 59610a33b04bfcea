//! The study of `nplus1 explain lbfgs`: one row for each gradient, and their summary.

use serde::{Deserialize, Serialize};

use super::{MinimizationEnding, MinimizationRow, MinimizationSubject, MinimizationVerdict, cases};
use crate::config::Config;
use crate::error::Result;
use crate::numeric::Precision;
use crate::study::record::StudyRecord;
use crate::study::table::{Table, list, topology};
use crate::study::{Study, StudyReport, closing};

/// The parameters of the study, with all defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LbfgsPlan {
    /// Layer sizes.
    pub sizes: Vec<usize>,
    /// Number of parameters, N.
    pub parameters: usize,
    /// Rows of the objective: all training rows.
    pub batch_rows: usize,
    /// Coefficient of the l2 term.
    pub l2: f64,
    /// Pairs in the history of L-BFGS.
    pub memory: usize,
    /// Tolerance of the largest element of the gradient.
    pub tolerance: f64,
    /// Maximum number of iterations.
    pub max_iterations: usize,
    /// The increments of all kinds of quotients; `None` for the usual ones.
    pub increments: Option<Vec<f64>>,
}

/// The study, ready to run.
pub struct LbfgsStudy<'a> {
    /// The config.
    pub config: &'a Config,
    /// The minimization problem.
    pub subject: MinimizationSubject<'a>,
}

impl Study for LbfgsStudy<'_> {
    const KIND: &'static str = "lbfgs";
    const COMMAND: &'static str = "explain lbfgs";
    type Plan = LbfgsPlan;
    type Row = MinimizationRow;

    fn config(&self) -> Option<&Config> {
        Some(self.config)
    }

    fn threads(&self, _plan: &LbfgsPlan) -> usize {
        self.subject.pool.threads()
    }

    fn run(&mut self, plan: &LbfgsPlan, record: &mut StudyRecord<MinimizationRow>) -> Result<bool> {
        let cases = cases(plan.increments.as_deref());
        for case in &cases[record.rows().len().min(cases.len())..] {
            let Some(row) = self.subject.pool.install(|| self.subject.row(case))? else {
                return Ok(false);
            };
            record.push(row)?;
        }
        Ok(true)
    }

    fn line(row: &MinimizationRow) -> String {
        format!("{}: {} iterations", row.title(), row.iterations)
    }

    fn report<'a>(
        &'a self,
        plan: &'a LbfgsPlan,
        record: &'a StudyRecord<MinimizationRow>,
    ) -> impl StudyReport + 'a {
        LbfgsReport::new(&self.config.name, record.label(), plan, record.rows())
    }
}

/// The JSON document.
#[derive(Clone, Debug, Serialize)]
pub struct LbfgsReport<'a> {
    name: String,
    #[serde(flatten)]
    plan: &'a LbfgsPlan,
    rows: &'a [MinimizationRow],
    /// The summary of the rows.
    pub answer: Option<String>,
    study: String,
}

impl<'a> LbfgsReport<'a> {
    /// Summarizes the rows of the study in the directory `study`.
    pub fn new(
        name: &str,
        study: String,
        plan: &'a LbfgsPlan,
        rows: &'a [MinimizationRow],
    ) -> Self {
        Self {
            name: name.to_owned(),
            plan,
            rows,
            answer: answer(rows),
            study,
        }
    }

    /// Returns the table of the minimizations.
    pub fn table(&self) -> Table {
        let mut table = Table::new([
            "gradient",
            "increment",
            "iterations",
            "losses",
            "objective",
            "exact ‖g‖",
            "largest |g|",
            "its own",
            "error",
            "relative",
            "ended by",
        ]);
        let number = |number: Option<f64>| number.map_or("–".to_owned(), |x| format!("{x:.1e}"));
        for row in self.rows {
            table.row([
                row.label(),
                row.increment.map_or("–".to_owned(), |h| format!("{h:.0e}")),
                row.iterations.to_string(),
                row.evaluations.to_string(),
                format!("{:.8}", row.objective),
                number(Some(row.gradient_norm)),
                number(Some(row.largest_gradient)),
                number(row.largest_computed),
                number(row.largest_error),
                number(row.relative_error),
                match row.ending {
                    MinimizationEnding::Tolerance => "tolerance",
                    MinimizationEnding::LineSearch => "line search",
                    MinimizationEnding::Iterations => "iterations",
                    MinimizationEnding::IncrementLost => "lost increment",
                    MinimizationEnding::NotFinite => "not finite",
                }
                .to_owned(),
            ]);
        }
        table
    }
}

impl StudyReport for LbfgsReport<'_> {
    fn heading(&self) -> String {
        format!("L-BFGS with gradients of every precision: {}", self.name)
    }

    fn render(&self, heading: &str, table: &dyn Fn(&Table) -> String) -> String {
        let plan = self.plan;
        let entries = list(&[
            ("config", self.name.clone()),
            ("network", topology(&plan.sizes)),
            ("parameters", plan.parameters.to_string()),
            ("rows", plan.batch_rows.to_string()),
            ("l2", format!("{:e}", plan.l2)),
            ("pairs kept", plan.memory.to_string()),
            ("tolerance", format!("{:e}", plan.tolerance)),
        ]);
        let mut text = format!(
            "{heading}Minimizations\n\n{entries}\n{}\n",
            table(&self.table())
        );
        let is_failing = |row: &&MinimizationRow| row.verdict != MinimizationVerdict::Converges;
        for row in self.rows.iter().filter(is_failing) {
            text += &format!("{}: {}\n", row.title(), row.explanation);
        }
        text + "\n" + &closing(&self.answer, &self.study)
    }
}

impl MinimizationRow {
    /// Returns the method without its increment.
    pub fn label(&self) -> String {
        let mut label = format!("{} {}", self.method, self.precision);
        if self.arithmetic.as_deref() == Some("cancellation-free") {
            label.push_str(", cancellation-free");
        } else if self.precision == Precision::F32.name()
            && self.summation.as_deref() == Some("differences")
        {
            label.push_str(", per sample");
        }
        label
    }

    /// Returns the label with the increment.
    fn title(&self) -> String {
        let increment = self.increment;
        self.label() + &increment.map_or(String::new(), |h| format!(" at {h:.0e}"))
    }
}

/// Summarizes the rows; `None` without any.
fn answer(rows: &[MinimizationRow]) -> Option<String> {
    let exact = rows.first()?;
    let quotients = rows.iter().filter(|row| row.increment.is_some());
    let judged = |verdicts: &[MinimizationVerdict]| {
        let alike = quotients
            .clone()
            .filter(|row| verdicts.contains(&row.verdict));
        alike.count()
    };
    Some(format!(
        "With exact gradients L-BFGS makes {} iterations ({}). Of {} minimizations by plain quotients {} reach a point where the exact gradient is within twice the tolerance. {} stop too early, judged by their own gradient; {} end where the truncation error (increments too large), and {} where round-off (too small) has grown to the gradient's own size. L-BFGS does not need exact gradients: it needs an error below the gradient that it is to reach.",
        exact.iterations,
        exact.explanation,
        quotients.clone().count(),
        judged(&[MinimizationVerdict::Converges]),
        judged(&[MinimizationVerdict::Deceived]),
        judged(&[MinimizationVerdict::Truncation]),
        judged(&[MinimizationVerdict::RoundOff]),
    ))
}
