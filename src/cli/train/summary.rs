//! Results of training, as documents and as text.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::cli::evaluation::{score, target_errors};
use crate::cli::session::{Session, TimeEstimate, load_note};
use crate::kernels::Isa;
use crate::model::TargetErrors;
use crate::numeric::statistics::{mean, sample_deviation};
use crate::run::RunSummary;
use crate::study::table::{Table, duration, list, loss, percent, topology};
use crate::text::plain_line;
use crate::train::TrainConfig;

/// Description of what would be trained, for `--dry-run`.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// The config's name.
    pub name: String,
    /// Layer sizes n_0 … n_L.
    pub sizes: Vec<usize>,
    /// Number of parameters, N.
    pub parameters: usize,
    /// Training rows.
    pub train_rows: usize,
    /// Validation rows.
    pub validation_rows: usize,
    /// Test rows.
    pub test_rows: usize,
    /// Runs of a cross-validation; 1 without one.
    pub folds: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// Epochs at most.
    pub epochs: Option<usize>,
    /// Steps at most.
    pub max_steps: Option<u64>,
    /// Seconds at most.
    pub max_seconds: Option<f64>,
    /// Upper bound of the workers.
    pub threads: usize,
    /// The kernel chosen.
    pub kernel: &'static str,
    /// Precision of the computation.
    pub precision: &'static str,
    /// Kind of optimizer.
    pub optimizer: &'static str,
    /// Gradient method.
    pub method: &'static str,
    /// Evaluations per step.
    pub evaluations_per_step: u64,
    /// Seconds per step, predicted from a short measurement.
    pub seconds_per_step: f64,
    /// Predicted seconds of all runs; absent if the number of steps is unknown.
    pub predicted_seconds: Option<f64>,
    /// Processors that other processes kept busy during the measurement; absent if the system does
    /// not report it.
    pub processors_busy_elsewhere: Option<f64>,
}

impl DryRun {
    /// Describes what `session`, the first of `folds`, would train.
    pub fn new(
        session: &Session<'_>,
        folds: usize,
        threads: usize,
        isa: Isa,
        prediction: TimeEstimate,
    ) -> Self {
        let (split, config) = (session.split, session.config);
        let TrainConfig {
            epochs,
            max_steps,
            max_seconds,
            batch_size,
            ..
        } = config.train;
        Self {
            name: config.name.clone(),
            sizes: session.network.layout.sizes().to_vec(),
            parameters: session.network.layout.len(),
            train_rows: split.train.len(),
            validation_rows: split.validation.as_ref().map_or(0, |part| part.len()),
            test_rows: split.test.as_ref().map_or(0, |part| part.len()),
            folds,
            steps_per_epoch: split.train.len().div_ceil(batch_size),
            epochs,
            max_steps,
            max_seconds,
            threads,
            kernel: isa.name(),
            precision: config.model.precision.name(),
            optimizer: config.optimizer.kind(),
            method: config.gradient.method(),
            evaluations_per_step: session.evaluations_a_step(),
            seconds_per_step: prediction.seconds_per_step,
            predicted_seconds: prediction.seconds.map(|seconds| folds as f64 * seconds),
            processors_busy_elsewhere: prediction.busy_elsewhere,
        }
    }
}

impl fmt::Display for DryRun {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limits: Vec<String> = [
            self.epochs.map(|epochs| format!("{epochs} epochs")),
            self.max_steps.map(|steps| format!("{steps} steps")),
            self.max_seconds.map(duration),
            (self.optimizer == "lbfgs").then(|| "convergence".to_owned()),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut entries = vec![
            ("name", self.name.clone()),
            ("network", topology(&self.sizes)),
            ("parameters", self.parameters.to_string()),
            ("precision", self.precision.to_owned()),
            (
                "rows",
                format!(
                    "{} train, {} validation, {} test",
                    self.train_rows, self.validation_rows, self.test_rows
                ),
            ),
            ("steps per epoch", self.steps_per_epoch.to_string()),
            ("ends after", limits.join(" or ")),
            ("optimizer", self.optimizer.to_owned()),
            ("threads", self.threads.to_string()),
            ("kernel", self.kernel.to_owned()),
            ("gradient", self.method.to_owned()),
            (
                "evaluations per step",
                self.evaluations_per_step.to_string(),
            ),
            (
                "predicted time",
                match self.predicted_seconds {
                    Some(seconds) => format!(
                        "{} ({} per step)",
                        duration(seconds),
                        duration(self.seconds_per_step)
                    ),
                    None => format!("{} per step", duration(self.seconds_per_step)),
                },
            ),
        ];
        if let Some(note) = self.processors_busy_elsewhere.and_then(load_note) {
            entries.push(("doubtful", note));
        }
        if self.folds > 1 {
            entries.insert(5, ("folds", self.folds.to_string()));
        }
        formatter.write_str(&list(&entries))
    }
}

/// Runs of a cross-validation and their means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CrossValidation {
    /// Directory that holds the directory of each fold.
    pub run: std::path::PathBuf,
    /// The config's name.
    pub name: String,
    /// The seed.
    pub seed: u64,
    /// Number of parameters, N.
    pub parameters: usize,
    /// Upper bound of the workers.
    pub threads: usize,
    /// Seconds of shuffle and steps, summed over all folds.
    pub seconds: f64,
    /// Mean of the folds' test accuracies.
    pub test_accuracy: f64,
    /// Standard deviation of the folds' test accuracies (of the folds, not of their mean).
    pub test_accuracy_deviation: f64,
    /// Mean of the folds' test losses.
    pub test_loss: f64,
    /// Mean of the folds' R² on their test rows, in a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_r2: Option<f64>,
    /// Standard deviation of the folds' R².
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_r2_deviation: Option<f64>,
    /// Means of the folds' errors of each target, in a regression.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub target_errors: Vec<TargetErrors>,
    /// One summary per fold.
    pub folds: Vec<RunSummary>,
}

/// Result of one config with one seed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TrainingResult {
    /// One run.
    Run(Box<RunSummary>),
    /// One run for each fold.
    Folds(Box<CrossValidation>),
}

impl TrainingResult {
    /// Returns the test accuracy, or its mean over folds.
    pub fn test_accuracy(&self) -> Option<f64> {
        match self {
            Self::Run(summary) => summary.test_accuracy,
            Self::Folds(folded) if folded.test_r2.is_some() => None,
            Self::Folds(folded) => Some(folded.test_accuracy),
        }
    }

    /// Returns the R² on the test rows, or its mean over folds.
    pub fn test_r2(&self) -> Option<f64> {
        match self {
            Self::Run(summary) => summary.test_r2,
            Self::Folds(folded) => folded.test_r2,
        }
    }
}

/// Runs with several seeds, for `--seeds`.
#[derive(Clone, Debug, Serialize)]
pub struct SeedsSummary<'a> {
    /// The mean test accuracy.
    pub mean_test_accuracy: Option<f64>,
    /// The standard deviation of the test accuracies over the seeds, by n − 1; `None` for one seed.
    pub test_accuracy_deviation: Option<f64>,
    /// The seed with the best validation accuracy; `None` without validation rows. Test rows never
    /// choose.
    pub best_seed_by_validation: Option<u64>,
    /// The test accuracy of that seed.
    pub test_accuracy_of_best_seed: Option<f64>,
    /// The mean R² on the test rows of a regression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mean_test_r2: Option<f64>,
    /// One result per seed.
    pub runs: &'a [TrainingResult],
}

impl<'a> SeedsSummary<'a> {
    /// Computes mean, deviation and choice of `runs`.
    pub fn new(runs: &'a [TrainingResult]) -> Self {
        let accuracies: Vec<f64> = runs
            .iter()
            .filter_map(TrainingResult::test_accuracy)
            .collect();
        let scores: Vec<f64> = runs.iter().filter_map(TrainingResult::test_r2).collect();
        let all = accuracies.len() == runs.len();
        let validated = |result: &'a TrainingResult| match result {
            TrainingResult::Run(run) => Some((run.validation_accuracy?, &**run)),
            TrainingResult::Folds(_) => None,
        };
        // Of equal seeds the first.
        let best = (runs.iter().rev().filter_map(validated))
            .max_by(|one, other| one.0.total_cmp(&other.0))
            .map(|(_, run)| run);
        Self {
            mean_test_accuracy: mean(&accuracies).filter(|_| all),
            test_accuracy_deviation: sample_deviation(&accuracies).filter(|_| all),
            best_seed_by_validation: best.map(|run| run.seed),
            test_accuracy_of_best_seed: best.and_then(|run| run.test_accuracy),
            mean_test_r2: mean(&scores).filter(|_| scores.len() == runs.len()),
            runs,
        }
    }
}

/// Returns one result, one figure per line; a cross-validation also has one line per fold.
pub fn table(outcome: &TrainingResult) -> String {
    match outcome {
        TrainingResult::Run(summary) => list(&run_entries(summary)),
        TrainingResult::Folds(folded) => {
            let mut rows = runs_header("fold");
            for (index, fold) in folded.folds.iter().enumerate() {
                rows.row(run_cells(&(index + 1).to_string(), fold));
            }
            let mut entries = vec![
                ("parameters", folded.parameters.to_string()),
                ("threads", folded.threads.to_string()),
                ("training time", duration(folded.seconds)),
            ];
            let (name, [mean, deviation]) = match folded.test_r2 {
                Some(r2) => ("test R²", [Some(r2), folded.test_r2_deviation].map(score)),
                None => (
                    "test accuracy",
                    [folded.test_accuracy, folded.test_accuracy_deviation]
                        .map(|value| percent(Some(value))),
                ),
            };
            let folds = folded.folds.len();
            entries.push((
                name,
                format!("{mean} ± {deviation} (mean and standard deviation of {folds} folds)"),
            ));
            entries.extend(target_errors("mean test errors", &folded.target_errors));
            entries.extend([
                ("test loss", loss(Some(folded.test_loss))),
                ("run", folded.run.display().to_string()),
            ]);
            format!("{rows}\n{}", list(&entries))
        }
    }
}

/// Returns one line per seed, then their mean and deviation, and the best seed by validation.
pub fn seeds_table(outcomes: &[TrainingResult]) -> String {
    let mut rows = runs_header("seed");
    for outcome in outcomes {
        match outcome {
            TrainingResult::Run(summary) => rows.row(run_cells(&summary.seed.to_string(), summary)),
            TrainingResult::Folds(folded) => rows.row([
                folded.seed.to_string(),
                run_figure(Some(folded.test_accuracy), folded.test_r2),
                "–".to_owned(),
                "–".to_owned(),
                duration(folded.seconds),
                "–".to_owned(),
                folded.run.display().to_string(),
            ]),
        }
    }
    let seeds = SeedsSummary::new(outcomes);
    let accuracy = || {
        let mean = percent(seeds.mean_test_accuracy);
        match seeds.test_accuracy_deviation {
            Some(deviation) => format!(
                "{mean} ± {} (mean and standard deviation of {} seeds)",
                percent(Some(deviation)),
                outcomes.len()
            ),
            None => mean,
        }
    };
    let best = || match seeds.best_seed_by_validation {
        Some(seed) => format!(
            "{seed} by validation accuracy; its test accuracy is {}",
            percent(seeds.test_accuracy_of_best_seed)
        ),
        None => "– (no validation rows; test rows never choose)".to_owned(),
    };
    let entries = match seeds.mean_test_r2 {
        Some(r2) => list(&[("mean test R²", score(Some(r2)))]),
        None => list(&[("test accuracy", accuracy()), ("best seed", best())]),
    };
    format!("{rows}\n{entries}")
}

/// Returns the figures of one run.
fn run_entries(summary: &RunSummary) -> Vec<(&'static str, String)> {
    let epochs = if summary.kept_epoch == summary.epochs {
        summary.epochs.to_string()
    } else {
        format!(
            "{} (the weights of epoch {} are kept)",
            summary.epochs, summary.kept_epoch
        )
    };
    let per_epoch = summary.seconds_per_epoch;
    let mut entries = vec![
        ("network", topology(&summary.sizes)),
        ("parameters", summary.parameters.to_string()),
        ("threads", summary.threads.to_string()),
        ("epochs", epochs),
        ("ended", summary.ending.clone()),
        ("training time", duration(summary.seconds)),
        (
            "per epoch",
            per_epoch.map_or("–".to_owned(), |seconds| {
                format!("{} (median)", duration(seconds))
            }),
        ),
        ("train loss", loss(summary.train_loss)),
    ];
    if summary.target_errors.is_empty() {
        entries.extend([
            ("validation accuracy", percent(summary.validation_accuracy)),
            ("test accuracy", percent(summary.test_accuracy)),
        ]);
        entries.extend(rarest_class(summary));
        entries.push(("test loss", loss(summary.test_loss)));
    } else {
        entries.push(("validation R²", score(summary.validation_r2)));
        entries.push(("test R²", score(summary.test_r2)));
        entries.push(("test loss", loss(summary.test_loss)));
        let part = if summary.test_r2.is_some() {
            "test errors"
        } else {
            "validation errors"
        };
        entries.extend(target_errors(part, &summary.target_errors));
        entries.push(("losses are", "of standardized targets".to_owned()));
    }
    entries.extend([
        ("weights sha256", summary.weights_sha256.clone()),
        ("run", summary.run.display().to_string()),
    ]);
    entries
}

/// The share of the rarest class, relative to that of equally frequent ones, below which its
/// figures are shown.
const IMBALANCED: f64 = 0.8;

/// Returns the figures of the rarest class, if the classes are not equally frequent.
fn rarest_class(summary: &RunSummary) -> Option<(&'static str, String)> {
    let class = summary.rarest_class.as_ref()?;
    let classes = summary.sizes.last().map_or(2, |&outputs| outputs.max(2));
    if class.share * classes as f64 > IMBALANCED {
        return None;
    }
    let figures = format!(
        "{} ({} of the training rows): recall {}, F1 {}",
        plain_line(&class.name),
        percent(Some(class.share)),
        percent(class.recall),
        percent(class.f1)
    );
    Some(("rarest class", figures))
}

/// Returns one result on one line.
pub fn line(label: &str, outcome: &TrainingResult) -> String {
    let seconds = match outcome {
        TrainingResult::Run(summary) => summary.seconds,
        TrainingResult::Folds(folded) => folded.seconds,
    };
    format!(
        "{label}  test {}  {}",
        run_figure(outcome.test_accuracy(), outcome.test_r2()),
        duration(seconds)
    )
}

/// Formats the accuracy, or in a regression R²; a dash if there is neither.
fn run_figure(accuracy: Option<f64>, r2: Option<f64>) -> String {
    match r2 {
        Some(r2) => format!("R² {}", score(Some(r2))),
        None => percent(accuracy),
    }
}

fn runs_header(first: &str) -> Table {
    Table::new([
        first,
        "test",
        "validation",
        "train loss",
        "time",
        "weights",
        "run",
    ])
}

fn run_cells(first: &str, summary: &RunSummary) -> [String; 7] {
    [
        first.to_owned(),
        run_figure(summary.test_accuracy, summary.test_r2),
        run_figure(summary.validation_accuracy, summary.validation_r2),
        loss(summary.train_loss),
        duration(summary.seconds),
        summary.weights_sha256.chars().take(12).collect(),
        summary.run.display().to_string(),
    ]
}
