//! Trains every config with a known result and compares the accuracies.
//!
//! `cargo bench --bench results` writes `docs/results.md`; `-- iris wine` prints only these rows and
//! writes nothing. The exit code is 3 if a goal is missed.
//!
//! Each row runs the program with the command that the row names. The file holds no times, so it is
//! the same on every machine until the arithmetic or a config changes.

use std::path::Path;
use std::process::{Command, ExitCode};

use nplus1::numeric::statistics::{mean, range, sample_deviation};
use serde_json::Value;

/// The goal of a row, for accuracies in percent.
#[derive(Clone, Copy)]
enum Goal {
    /// The least accuracy of the best seed that keeps all output units. Which seeds do is luck: a
    /// row without one is not judged.
    BestAlive(f64),
    /// The least mean.
    Mean(f64),
    /// The mean, up to a difference of 1.0.
    Near(f64),
}

/// Percent of MNIST's test images that a network recognizes at most if one of its outputs is dead:
/// the rarest digit is 8.9 % of them.
const WITH_A_DEAD_OUTPUT: f64 = 91.1;

/// A config with a known result.
struct Row {
    config: &'static str,
    network: &'static str,
    /// `A..B`, both included; `None`: the seed in the config.
    seeds: Option<&'static str>,
    on: Part,
    published: &'static str,
    goal: Goal,
}

/// The rows that the accuracy is measured on.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    Test,
    Validation,
    Folds,
}

const fn row(
    config: &'static str,
    network: &'static str,
    seeds: Option<&'static str>,
    on: Part,
    published: &'static str,
    goal: Goal,
) -> Row {
    Row {
        config,
        network,
        seeds,
        on,
        published,
        goal,
    }
}

/// The known results: Nielsen, "Neural Networks and Deep Learning", and scikit-learn's
/// MLPClassifier (logistic units, L-BFGS) and LogisticRegression on standardized features.
#[rustfmt::skip]
const ROWS: [Row; 14] = [
    row("mnist-30", "784-30-10, quadratic, lr 3", Some("1..5"), Part::Test, "95.42, the book's best epoch", Goal::BestAlive(94.8)),
    row("mnist-100", "784-100-10, quadratic, lr 3", Some("1..5"), Part::Test, "96.59, the book's best of 3", Goal::BestAlive(96.2)),
    row("mnist-100", "784-100-10, quadratic, lr 3", Some("6..25"), Part::Test, "96.59, the book's best of 3", Goal::BestAlive(96.2)),
    row("mnist-30-cross-entropy", "784-30-10, cross-entropy, lr 0.5", Some("1..3"), Part::Test, "95.49, the book", Goal::Near(95.49)),
    row("mnist-100-cross-entropy", "784-100-10, cross-entropy, lr 0.5", Some("1..3"), Part::Test, "96.82, the book", Goal::Near(96.82)),
    row("mnist-30-l2", "784-30-10, cross-entropy, lr 0.1, λ 5", Some("1..3"), Part::Validation, "96.48, the book", Goal::Near(96.48)),
    row("mnist-100-l2", "784-100-10, cross-entropy, lr 0.1, λ 5, 60 epochs", Some("1..3"), Part::Validation, "98.04, the book", Goal::Near(98.04)),
    row("mnist", "784-100-10, cross-entropy, lr 0.5 cosine, l2", Some("1..3"), Part::Test, "98.11, another implementation of this recipe, one seed", Goal::Mean(97.8)),
    row("mnist-softmax", "784-10, softmax", Some("1..3"), Part::Test, "about 92", Goal::Near(92.23)),
    row("iris", "4-8-3, softmax", None, Part::Folds, "95.3, scikit-learn's MLP", Goal::Mean(93.8)),
    row("wine", "13-8-3, softmax", None, Part::Folds, "98.3, scikit-learn's MLP", Goal::Mean(96.8)),
    row("breast-cancer", "30-8-2, softmax", None, Part::Folds, "97.2, scikit-learn's MLP", Goal::Mean(95.7)),
    row("digits", "64-32-10, softmax", None, Part::Folds, "96.3, scikit-learn's MLP", Goal::Mean(94.8)),
    row("logistic", "30-1, logistic", None, Part::Folds, "97.9, scikit-learn's logistic regression", Goal::Mean(96.4)),
];

impl Row {
    /// Returns the command that trains the config.
    fn command(&self) -> String {
        let seeds = self.seeds.map(|seeds| format!(" --seeds {seeds}"));
        format!(
            "nplus1 train configs/{}.toml{}",
            self.config,
            seeds.unwrap_or_default()
        )
    }

    /// Runs the command in `folder`; returns the accuracies of all seeds or folds, in percent.
    fn train(&self, root: &Path, folder: &Path) -> Result<Vec<f64>, String> {
        let config = root.join("configs").join(format!("{}.toml", self.config));
        let seeds = self.seeds.map(|seeds| ["--seeds", seeds]);
        let output = Command::new(env!("CARGO_BIN_EXE_nplus1"))
            .args(["train", "--json", "--quiet", "--datasets"])
            .args([&root.join("datasets"), &config])
            .args(seeds.iter().flatten())
            .current_dir(folder)
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let document: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let (list, figure) = match self.on {
            Part::Folds => ("folds", "test_accuracy"),
            Part::Test => ("runs", "test_accuracy"),
            Part::Validation => ("runs", "validation_accuracy"),
        };
        let runs = document[list].as_array();
        let runs = runs.ok_or_else(|| format!("the result has no `{list}`"))?;
        let accuracy = |run: &Value| run[figure].as_f64().map(|fraction| 100.0 * fraction);
        let accuracies: Option<Vec<f64>> = runs.iter().map(accuracy).collect();
        accuracies
            .filter(|accuracies| !accuracies.is_empty())
            .ok_or_else(|| format!("a run has no `{figure}`"))
    }

    /// Returns the row of the table, and whether the goal is met or not judged.
    fn line(&self, accuracies: &[f64]) -> (String, bool) {
        let mean = mean(accuracies).unwrap_or(f64::NAN);
        let deviation = sample_deviation(accuracies).unwrap_or(f64::NAN);
        let best = range(accuracies).map_or(f64::NAN, |[_, best]| best);
        let (ours, goal, met) = match self.goal {
            Goal::BestAlive(least) => {
                let alive = accuracies
                    .iter()
                    .filter(|&&accuracy| accuracy > WITH_A_DEAD_OUTPUT);
                let (alive, all) = (alive.count(), accuracies.len());
                (
                    format!("best {best:.2}; {alive} of {all} seeds keep all outputs"),
                    format!("best that keeps all outputs ≥ {least}"),
                    (alive > 0).then_some(best >= least),
                )
            }
            Goal::Mean(least) => (
                format!("{mean:.2} ± {deviation:.2}"),
                format!("mean ≥ {least}"),
                Some(mean >= least),
            ),
            Goal::Near(known) => (
                format!("{mean:.2} ± {deviation:.2}"),
                format!("mean within 1.0 of {known}"),
                Some((mean - known).abs() <= 1.0),
            ),
        };
        let on = match self.on {
            Part::Test => "test",
            Part::Validation => "validation",
            Part::Folds => "10 folds",
        };
        let listed: Vec<String> = accuracies.iter().map(|x| format!("{x:.2}")).collect();
        let line = format!(
            "| {} | {on} | {} | {ours} | {} | {goal}: {} | `{}` |",
            self.network,
            self.published,
            listed.join(", "),
            match met {
                Some(true) => "met",
                Some(false) => "**missed**",
                None => "none does, not judged",
            },
            self.command(),
        );
        (line, met != Some(false))
    }
}

const HEADER: &str = "\
# Results

Every config with a known result: the published accuracy and that of nplus1. Written by `cargo \
bench --bench results` (or `just results`), which runs the command of each row; the weights do \
not depend on the machine or the number of threads, so neither does this file.

Accuracies are in percent, after the last epoch; ± is the standard deviation over the seeds or \
the folds. MNIST: the first 50,000 training images are for training, the last 10,000 for \
validation; the test part has 10,000 images. The other datasets: 10 stratified folds, seed 0, \
standardized by the training rows of each fold; the goal is the published accuracy minus 1.5. \
With the quadratic loss and weights from N(0, 1), an output unit often saturates at 0 for every \
image, and the network then misses its class: 784-100-10 loses one in 17 of the 25 runs below. Such \
rows give the share of \
seeds that keep all outputs, and are judged by the best of these; the book gives the best of 3.

| network | on | published | ours | each | goal | command |
|---|---|---|---|---|---|---|
";

fn main() -> ExitCode {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let mut table = String::from(HEADER);
    let mut all_met = true;
    for row in &ROWS {
        if !named.is_empty() && !named.iter().any(|name| name == row.config) {
            continue;
        }
        let accuracies = match row.train(root, folder.path()) {
            Ok(accuracies) => accuracies,
            Err(problem) => {
                eprintln!("{}: {problem}", row.command());
                return ExitCode::from(1);
            }
        };
        let (line, met) = row.line(&accuracies);
        println!("{line}");
        table.push_str(&line);
        table.push('\n');
        all_met &= met;
    }
    if named.is_empty() {
        let file = root.join("docs/results.md");
        if let Err(error) = std::fs::write(&file, table) {
            eprintln!("cannot write {}: {error}", file.display());
            return ExitCode::from(8);
        }
        println!("written to {}", file.display());
    }
    ExitCode::from(if all_met { 0 } else { 3 })
}
