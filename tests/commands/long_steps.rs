//! An interrupt within a step that takes long ends the run at its last whole step; within the evaluation
//! of an epoch or of the finished run, before that.

#![cfg(unix)]

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::program::{Workplace, finish, lines, send, text};

/// Steps of some 10⁹ multiplications.
const CONFIG: &str = r#"
name = "long"
seed = 3
[data]
dataset = "mnist"
validation = 1000
normalize = "unit"
[model]
hidden = [100, 100]
output = "softmax"
initialization = "scaled"
[loss]
kind = "cross-entropy"
[optimizer]
learning_rate = 0.2
momentum = 0.5
[train]
max_steps = 4
batch_size = 14750
"#;

#[test]
fn slow_a_run_that_is_interrupted_within_a_step_resumes_to_the_same_bits() {
    let folder = Workplace::new(CONFIG);
    let start = Instant::now();
    let options = "--json --no-report";
    let whole = folder.report(&format!("train flowers.toml --out whole {options}"));
    let whole_seconds = start.elapsed();
    let mut line = format!("train flowers.toml --out run {options}");
    let mut interrupted = 0;
    for part in [0.3, 0.4, 0.5] {
        let mut command = folder.command(&line);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        // The file is written when the run watches for signals.
        while !folder.path().join("run/environment.json").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(whole_seconds.mul_f64(part));
        let sent = Instant::now();
        send("-INT", &child);
        let output = child.wait_with_output().unwrap();
        let errors = text(&output.stderr);
        eprintln!("ended {:?} after the interrupt", sent.elapsed());
        match output.status.code() {
            Some(130) => interrupted += 1,
            // A resumed run may still have been reading its data.
            code => assert!(matches!(code, None | Some(0)), "{errors}"),
        }
        line = format!("train --resume run {options}");
    }
    assert!(interrupted > 0, "each run ended before its interrupt");
    let resumed = folder.report(&line);
    assert_eq!(resumed["weights_sha256"], whole["weights_sha256"]);
    assert_eq!(resumed["train_loss"], whole["train_loss"]);
    assert_eq!(resumed["tally"], whole["tally"]);
}

/// Starts a run, and waits until it watches for signals.
fn begin(folder: &Workplace, line: &str, run: &str) -> Child {
    let mut command = folder.command(line);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    while !folder.path().join(run).join("environment.json").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Returns the lines of a run's metrics, without their times.
fn metrics(run: &Path) -> Vec<Value> {
    let without_seconds = |line: &String| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        assert!(record["seconds"].take().is_number());
        record
    };
    let lines = lines(&run.join("metrics.jsonl"));
    lines.iter().map(without_seconds).collect()
}

#[test]
fn slow_a_run_that_is_interrupted_within_an_evaluation_resumes_to_the_same_figures() {
    // Three short steps, and 40,000 rows to evaluate.
    let config = CONFIG
        .replace("validation = 1000", "validation = 30000")
        .replace("[100, 100]", "[300, 300]")
        .replace("max_steps = 4", "max_steps = 3\nearly_stopping = 5")
        .replace("14750", "20");
    let folder = Workplace::new(&config);
    let options = "--json --no-report";
    let line = |run: &str| format!("train flowers.toml --out {run} {options}");
    let child = begin(&folder, &line("whole"), "whole");
    let start = Instant::now();
    let output = finish(child, "train");
    let seconds = start.elapsed();
    let whole: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut interrupted = [0, 0];
    for (number, part) in [0.2, 0.4, 0.6, 0.85].into_iter().enumerate() {
        let run = format!("run-{number}");
        let child = begin(&folder, &line(&run), &run);
        std::thread::sleep(seconds.mul_f64(part));
        let sent = Instant::now();
        send("-INT", &child);
        let output = finish(child, "train");
        eprintln!("ended {:?} after the interrupt", sent.elapsed());
        let errors = text(&output.stderr);
        // The last one may have come too late.
        assert!(matches!(output.status.code(), Some(130 | 0)), "{errors}");
        if output.status.code() == Some(0) {
            continue;
        }
        let run_folder = folder.path().join(&run);
        let epochs = metrics(&run_folder).len();
        assert!(!run_folder.join("summary.json").exists());
        interrupted[epochs] += 1;
        let resumed = folder.report(&format!("train --resume {run} {options}"));
        for figure in [
            "weights_sha256",
            "train_loss",
            "validation_loss",
            "test_loss",
            "tally",
        ] {
            assert_eq!(resumed[figure], whole[figure], "{figure}");
        }
        assert_eq!(metrics(&run_folder), metrics(&folder.path().join("whole")));
    }
    eprintln!("{interrupted:?} within the evaluation of the epoch, of the run");
    assert!(
        interrupted[0] > 0,
        "no evaluation of the epoch was interrupted"
    );
}
