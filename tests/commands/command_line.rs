//! The commands that a new user runs first work as documented: their output, their files and their
//! exit codes.

use std::fs;
use std::process::Stdio;

use crate::support::flowers::SOFTMAX as CONFIG;
use crate::support::program::{Workplace, lines, names, text};
use serde_json::Value;

#[test]
fn a_run_leaves_every_file_of_its_directory_and_prints_its_summary() {
    let folder = Workplace::new(CONFIG);
    let summary = folder.report("train flowers.toml --json");
    assert_eq!(summary["run"], "runs/flowers/001");
    assert_eq!(summary["parameters"], 4 * 5 + 5 + 5 * 3 + 3);
    assert_eq!(summary["epochs"], 4);
    assert_eq!(summary["samples_per_epoch"], 90);
    for key in [
        "train_loss",
        "validation_accuracy",
        "test_accuracy",
        "test_loss",
        "seconds",
        "seconds_per_epoch",
    ] {
        assert!(summary[key].as_f64().is_some_and(f64::is_finite), "{key}");
    }
    assert!(summary["tally"]["multiplications"].as_u64().unwrap() > 0);
    let run = folder.path().join("runs/flowers/001");
    assert_eq!(
        names(&run),
        [
            "checkpoint-000001.bin",
            "config.toml",
            "environment.json",
            "evaluation.json",
            "lock",
            "metrics.csv",
            "metrics.jsonl",
            "model.safetensors",
            "report.html",
            "summary.json",
        ]
    );
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    assert_eq!(metrics.lines().count(), 4);
    let written: Value =
        serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    assert_eq!(written, summary);
}

#[test]
fn the_resolved_config_of_a_run_trains_the_same_weights() {
    let folder = Workplace::new(CONFIG);
    let first = folder.report("train flowers.toml --json --out a");
    let again = folder.report("train a/config.toml --json --out b");
    assert_eq!(first["weights_sha256"], again["weights_sha256"]);
}

#[test]
fn plain_progress_is_one_line_per_epoch_on_standard_error() {
    let folder = Workplace::new(CONFIG);
    let output = folder.nplus1("train flowers.toml");
    let errors = text(&output.stderr);
    assert_eq!(errors.lines().count(), 4, "{errors}");
    assert!(errors.starts_with("epoch 1/4  train loss "), "{errors}");
    let result = text(&output.stdout);
    for word in [
        "4-5-3",
        "test accuracy",
        "weights sha256",
        "runs/flowers/001",
    ] {
        assert!(result.contains(word), "{result}");
    }
    let silent = folder.nplus1("train flowers.toml -q");
    assert_eq!(text(&silent.stderr), "");
}

#[test]
fn a_dry_run_predicts_the_time_of_all_steps() {
    let folder = Workplace::new(CONFIG);
    let plan = folder.report("train flowers.toml --dry-run --json --set train.epochs=40");
    let number = |name: &str| plan[name].as_f64().unwrap();
    // 90 rows in mini-batches of 10.
    let expected = 40.0 * 9.0 * number("seconds_per_step");
    let ratio = number("predicted_seconds") / expected;
    assert!((ratio - 1.0).abs() < 1e-12, "{plan}");
}

/// The options of a run that trains by full finite differences.
const WHOLE_PASSES: &str =
    "--set gradient.method=forward-difference --set gradient.evaluation=full";

#[test]
fn a_run_predicted_to_exceed_its_limit_is_refused_with_cheaper_settings() {
    let folder = Workplace::new(CONFIG);
    let line = format!("train flowers.toml {WHOLE_PASSES} --set run.limit_seconds=1e-6");
    let errors = folder.failure(&line, 2);
    for part in [
        "predicted to take",
        "run.limit_seconds = 0.000001",
        "cheaper here",
        "gradient.method = \"backprop\"",
    ] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert_eq!(names(folder.path()), ["flowers.toml"]);
    let line = format!("train flowers.toml {WHOLE_PASSES} --set run.limit_seconds=1e6 --json");
    assert!(folder.report(&line)["test_accuracy"].as_f64().unwrap() > 0.5);
}

#[test]
fn an_increment_that_is_lost_in_theta_is_refused_with_the_parameter() {
    let folder = Workplace::new(CONFIG);
    let line = format!("train flowers.toml {WHOLE_PASSES} --set gradient.increment=1e-30");
    let errors = folder.failure(&line, 2);
    for part in ["1e-30", "layers.0.weight[0, 0]", "incremental"] {
        assert!(errors.contains(part), "{part}: {errors}");
    }
    assert_eq!(names(folder.path()), ["flowers.toml"]);
}

#[test]
fn differences_train_like_backprop() {
    let folder = Workplace::new(CONFIG);
    let backprop = folder.report("train flowers.toml --json");
    let line = format!("train flowers.toml {WHOLE_PASSES} --set model.precision=f64 --json");
    let differences = folder.report(&line);
    let accuracy = |summary: &Value| summary["test_accuracy"].as_f64().unwrap();
    assert!((accuracy(&backprop) - accuracy(&differences)).abs() <= 0.034);
    // 90 rows are 9 steps per epoch, with N + 1 losses per step.
    let parameters = differences["parameters"].as_u64().unwrap();
    let steps = 4 * 9;
    assert_eq!(
        differences["tally"]["evaluations"].as_u64().unwrap(),
        steps * (parameters + 1)
    );
}

#[test]
fn a_dry_run_describes_the_network_and_writes_nothing() {
    let folder = Workplace::new(CONFIG);
    let plan = folder.report("train flowers.toml --json --dry-run");
    assert_eq!(plan["sizes"], serde_json::json!([4, 5, 3]));
    assert_eq!(
        (&plan["train_rows"], &plan["test_rows"]),
        (&90.into(), &30.into())
    );
    assert_eq!(names(folder.path()), ["flowers.toml"]);
}

#[test]
fn invalid_commands_are_refused_before_anything_is_written() {
    let folder = Workplace::new(CONFIG);
    folder.write("model.bin", "rubbish");
    for line in [
        "train",
        "train missing.toml",
        "train flowers.toml --set optimizer.learning_rat=1",
        "train flowers.toml --set data.dataset=\"iriss\"",
        "train flowers.toml --threads 0",
        "train flowers.toml --threads 70000",
        "train flowers.toml --init-from model.bin",
        "train flowers.toml --init-from missing.safetensors",
        "train flowers.toml --datasets nowhere",
        "train flowers.toml --set loss.kind=\"logistic\" --set model.output=\"linear\"",
        "train --resume missing",
        "train --resume .",
        "eval missing",
        "eval model.bin",
    ] {
        let message = folder.failure(line, 2);
        assert!(message.starts_with("error: "), "{line}: {message}");
        assert_eq!(
            names(folder.path()),
            ["flowers.toml", "model.bin"],
            "{line}"
        );
    }
}

#[test]
fn a_directory_with_a_run_in_it_is_in_use() {
    let folder = Workplace::new(CONFIG);
    folder.report("train flowers.toml --json --out here");
    let before = fs::read(folder.path().join("here/summary.json")).unwrap();
    let message = folder.failure("train flowers.toml --out here", 6);
    assert!(message.contains("--resume"), "{message}");
    assert_eq!(
        fs::read(folder.path().join("here/summary.json")).unwrap(),
        before
    );
}

#[test]
fn a_longer_run_in_two_parts_has_the_weights_and_the_metrics_of_one() {
    let folder = Workplace::new(CONFIG);
    let whole = folder.report("train flowers.toml --json --out whole --set train.epochs=7");
    folder.report("train flowers.toml --json --out parts");
    let parts = folder.report("train --resume parts --json --set train.epochs=7");
    assert_eq!(parts["epochs"], 7);
    assert_eq!(parts["weights_sha256"], whole["weights_sha256"]);
    let metrics = |run: &str| -> Vec<Value> {
        let text = fs::read_to_string(folder.path().join(run).join("metrics.jsonl")).unwrap();
        text.lines()
            .map(|line| {
                let mut record: Value = serde_json::from_str(line).unwrap();
                record.as_object_mut().unwrap().remove("seconds").unwrap();
                record
            })
            .collect()
    };
    assert_eq!(metrics("whole"), metrics("parts"));
}

#[test]
fn early_stopping_keeps_the_best_weights_and_goes_on_from_the_last() {
    let folder = Workplace::new(CONFIG);
    let early = "--set train.early_stopping=50 --set optimizer.learning_rate=6.0";
    let whole = folder.report(&format!(
        "train flowers.toml --json --out whole {early} --set train.epochs=9"
    ));
    let first = folder.report(&format!(
        "train flowers.toml --json --out parts {early} --set train.epochs=5"
    ));
    // Both parts end after their best epoch; otherwise best and last weights would be the same.
    assert!(first["kept_epoch"].as_u64().unwrap() < 5);
    assert!((6..9).contains(&whole["kept_epoch"].as_u64().unwrap()));
    let parts = folder.report("train --resume parts --json --set train.epochs=9");
    for key in [
        "kept_epoch",
        "weights_sha256",
        "test_accuracy",
        "validation_loss",
    ] {
        assert_eq!(parts[key], whole[key], "{key}");
    }
    let losses: Vec<f64> = fs::read_to_string(folder.path().join("whole/metrics.jsonl"))
        .unwrap()
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["validation_loss"]
                .as_f64()
                .unwrap()
        })
        .collect();
    let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(whole["validation_loss"].as_f64().unwrap(), best);
}

/// With a learning rate that is 0 in single precision, θ and the loss do not change, so no epoch is
/// better than the first.
#[test]
fn an_exact_plateau_stops_early_after_as_many_epochs_as_patience_allows() {
    let folder = Workplace::new(CONFIG);
    let summary = folder.report(
        "train flowers.toml --json --out here --set train.epochs=20 \
         --set train.early_stopping=3 --set optimizer.learning_rate=1e-300",
    );
    let losses: Vec<Value> = lines(&folder.path().join("here/metrics.jsonl"))
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["validation_loss"].take())
        .collect();
    assert!(losses.iter().all(|loss| *loss == losses[0]), "{losses:?}");
    assert_eq!(summary["kept_epoch"], 1);
    assert_eq!(summary["epochs"], 1 + 3);
}

#[test]
fn a_run_that_stopped_early_stays_stopped_when_it_is_resumed() {
    let folder = Workplace::new(CONFIG);
    let line = "train flowers.toml --json --out here --set train.epochs=500 \
                --set train.early_stopping=1 --set optimizer.learning_rate=2.0";
    let mut stopped = folder.report(line);
    let epochs = stopped["epochs"].as_u64().unwrap();
    assert_eq!(stopped["kept_epoch"].as_u64().unwrap() + 1, epochs);
    let mut resumed = folder.report("train --resume here --json");
    for summary in [&mut stopped, &mut resumed] {
        summary["seconds"] = Value::Null;
    }
    assert_eq!(resumed, stopped);
}

#[test]
fn a_run_that_stopped_early_goes_on_from_its_last_weights_however_often_it_was_resumed() {
    let folder = Workplace::new(CONFIG);
    let line = "train flowers.toml --json --no-report --set train.epochs=500 \
                --set train.early_stopping=1 --set optimizer.learning_rate=2.0";
    let losses = |run: &str| {
        let lines = lines(&folder.path().join(run).join("metrics.jsonl"));
        let losses = lines.iter().map(|line| {
            let record: Value = serde_json::from_str(line).unwrap();
            record["train_loss"].as_f64().unwrap()
        });
        losses.collect::<Vec<_>>()
    };
    for (run, idle) in [("once", 0), ("often", 2)] {
        folder.report(&format!("{line} --out {run}"));
        let epochs = losses(run).len();
        for _ in 0..idle {
            folder.report(&format!("train --resume {run} --json --no-report"));
        }
        let more = "--set train.early_stopping=4";
        folder.report(&format!("train --resume {run} --json --no-report {more}"));
        assert!(losses(run).len() > epochs);
    }
    assert_eq!(losses("once"), losses("often"));
}

#[test]
fn resume_without_a_valid_checkpoint_ends_with_7() {
    let folder = Workplace::new(CONFIG);
    folder.report("train flowers.toml --json --out here");
    folder.write("here/checkpoint-000001.bin", "rubbish");
    folder.failure("train --resume here", 7);
}

#[test]
fn a_resumed_run_keeps_its_network() {
    let folder = Workplace::new(CONFIG);
    folder.report("train flowers.toml --json --out here");
    let message = folder.failure("train --resume here --set model.hidden=[6]", 2);
    assert!(message.contains("43 parameters"), "{message}");
}

#[test]
fn a_diverged_run_ends_with_4_and_names_the_key_to_lower() {
    let folder = Workplace::new(CONFIG);
    let line = "train flowers.toml -q --set optimizer.learning_rate=1e38 --set loss.l2=1e3";
    let message = folder.failure(line, 4);
    assert!(message.contains("learning_rate"), "{message}");
    assert!(message.contains("runs/flowers/001"), "{message}");
}

#[test]
fn init_from_starts_with_the_parameters_of_a_model() {
    let folder = Workplace::new(CONFIG);
    let first = folder.report("train flowers.toml --json --out a");
    let line = "train flowers.toml --json --out b --init-from a/model.safetensors \
                --set optimizer.learning_rate=1e-30";
    let second = folder.report(line);
    assert_eq!(first["weights_sha256"], second["weights_sha256"]);
    let message = folder.failure(
        "train flowers.toml --out c --init-from a/model.safetensors --set model.hidden=[6]",
        2,
    );
    assert!(message.contains("[4, 5, 3]"), "{message}");
}

#[test]
fn each_seed_has_its_run() {
    let folder = Workplace::new(CONFIG);
    let seeds = folder.report("train flowers.toml --json --seeds 3..5");
    let runs = seeds["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 3);
    let single = folder.report("train flowers.toml --json --seed 4");
    assert_eq!(runs[1]["weights_sha256"], single["weights_sha256"]);
    assert_ne!(runs[0]["weights_sha256"], runs[1]["weights_sha256"]);
    // The seed is chosen by validation rows; test rows give mean and deviation.
    let of = |run: &Value, name: &str| run[name].as_f64().unwrap();
    let best = (runs.iter().rev())
        .max_by(|a, b| of(a, "validation_accuracy").total_cmp(&of(b, "validation_accuracy")))
        .unwrap();
    assert_eq!(seeds["best_seed_by_validation"], best["seed"]);
    assert_eq!(seeds["test_accuracy_of_best_seed"], best["test_accuracy"]);
    let tests: Vec<f64> = runs.iter().map(|run| of(run, "test_accuracy")).collect();
    let mean = tests.iter().sum::<f64>() / 3.0;
    let squares: f64 = tests.iter().map(|test| (test - mean).powi(2)).sum();
    let close = |name: &str, expected: f64| (of(&seeds, name) - expected).abs() < 1e-12;
    assert!(close("mean_test_accuracy", mean), "{seeds}");
    assert!(
        close("test_accuracy_deviation", (squares / 2.0).sqrt()),
        "{seeds}"
    );
    assert_eq!(
        names(&folder.path().join("runs/flowers")),
        ["001", "002", "003", "004"]
    );
}

const FOLDS: &str = "train folds.toml --json --out here";

fn folded_workplace() -> Workplace {
    let folder = Workplace::new(CONFIG);
    let config = CONFIG
        .replace("test = 30", "folds = 3")
        .replace("validation = 30", "");
    folder.write("folds.toml", &config);
    folder
}

#[test]
fn folds_test_on_every_row_once_and_are_averaged() {
    let folder = folded_workplace();
    let folded = folder.report(FOLDS);
    let folds = folded["folds"].as_array().unwrap();
    assert_eq!(folds.len(), 3);
    let mean = folds
        .iter()
        .map(|fold| fold["test_accuracy"].as_f64().unwrap())
        .sum::<f64>()
        / 3.0;
    assert!((folded["test_accuracy"].as_f64().unwrap() - mean).abs() < 1e-15);
    let rows = (1..=3).map(|fold| {
        let evaluation = folder.report(&format!("eval here/fold-0{fold} --json"));
        assert_eq!(evaluation["accuracy"], folds[fold - 1]["test_accuracy"]);
        evaluation["rows"].as_u64().unwrap()
    });
    assert_eq!(rows.sum::<u64>(), 150);
}

#[test]
fn a_resumed_cross_validation_trains_the_missing_folds() {
    let folder = folded_workplace();
    let whole = folder.report(FOLDS);
    fs::remove_dir_all(folder.path().join("here/fold-03")).unwrap();
    fs::remove_file(folder.path().join("here/summary.json")).unwrap();
    let resumed = folder.report("train --resume here --json");
    for fold in 0..3 {
        assert_eq!(
            whole["folds"][fold]["weights_sha256"],
            resumed["folds"][fold]["weights_sha256"]
        );
    }
}

#[test]
fn eval_gives_the_test_figures_of_the_run_and_of_other_data() {
    let folder = Workplace::new(CONFIG);
    let summary = folder.report("train flowers.toml --json --out run");
    let test_part = folder.report("eval run --json");
    assert_eq!(test_part["accuracy"], summary["test_accuracy"]);
    assert_eq!(test_part["loss"], summary["test_loss"]);
    assert_eq!(test_part["rows"], 30);
    let whole_dataset = folder.report("eval run/model.safetensors --data iris --json");
    assert_eq!(whole_dataset["rows"], 150);
    let copy = folder.path().join("alone.safetensors");
    fs::copy(folder.path().join("run/model.safetensors"), copy).unwrap();
    assert!(
        folder
            .failure("eval alone.safetensors", 2)
            .contains("--data")
    );
    let misfit = folder.failure("eval alone.safetensors --data wine", 2);
    assert!(misfit.contains("13"), "{misfit}");
    let shown = text(&folder.nplus1("eval run --confusion").stdout);
    for word in ["precision", "setosa", "true \\ predicted"] {
        assert!(shown.contains(word), "{shown}");
    }
}

#[test]
fn a_confusion_matrix_has_true_classes_as_rows_and_predicted_ones_as_columns() {
    let folder = Workplace::new(&CONFIG.replace("dataset = \"iris\"", "train = \"right.csv\""));
    // The class is a where x is 0, and b where x is 1.
    folder.write(
        "right.csv",
        &format!("x,class\n{}", "0,a\n1,b\n".repeat(40)),
    );
    folder.report("train flowers.toml --out run --set train.epochs=20 --json");
    // Of 4 rows of class a, one has the x of b; of 6 rows of class b, two have the x of a.
    let rows = [
        "0,a\n".repeat(3),
        "1,a\n".to_owned(),
        "0,b\n".repeat(2),
        "1,b\n".repeat(4),
    ];
    folder.write("mixed.csv", &format!("x,class\n{}", rows.concat()));
    let found = folder.report("eval run --data mixed.csv --json");
    assert_eq!(found["confusion"], serde_json::json!([[3, 1], [2, 4]]));
    let figures = |class: usize, key: &str| found["classes"][class][key].as_f64().unwrap();
    assert_eq!((figures(0, "precision"), figures(0, "recall")), (0.6, 0.75));
    assert_eq!(
        (figures(1, "precision"), figures(1, "recall")),
        (0.8, 4.0 / 6.0)
    );
    let shown = text(
        &folder
            .nplus1("eval run --data mixed.csv --confusion")
            .stdout,
    );
    let words = |line: &str| {
        line.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let matrix: Vec<_> = shown.lines().map(words).collect();
    assert!(
        matrix.ends_with(&[
            words("true \\ predicted a b"),
            words("a 3 1"),
            words("b 2 4")
        ]),
        "{shown}"
    );
}

#[test]
fn a_closed_pipe_ends_quietly() {
    let folder = Workplace::new(CONFIG);
    for line in [
        "train flowers.toml -q",
        "config show flowers.toml",
        "--help",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = folder
            .command(line)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
            .wait_with_output()
            .unwrap();
        assert_eq!(text(&output.stderr), "", "{line}");
        assert_eq!(output.status.code(), Some(0), "{line}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_of_the_operating_system() {
    let folder = Workplace::new(CONFIG);
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = folder
        .command("config show flowers.toml")
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(8));
}

#[cfg(unix)]
mod signals {
    use super::*;
    use crate::support::program::send;
    use std::io::{BufRead, BufReader, Read};
    use std::process::Child;

    /// Starts a run that would take hours, and returns after its first epoch.
    fn long_run(folder: &Workplace) -> Child {
        let mut child = folder
            .command("train flowers.toml --out here --set train.epochs=100000000")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap()).lines();
        lines.next().unwrap().unwrap();
        child
    }

    #[test]
    fn an_interrupted_run_is_saved_and_goes_on_with_the_same_bits() {
        for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
            let folder = Workplace::new(CONFIG);
            let mut child = long_run(&folder);
            send(signal, &child);
            let mut rest = Vec::new();
            child.stderr.take().unwrap().read_to_end(&mut rest).unwrap();
            let status = child.wait().unwrap();
            let rest = String::from_utf8_lossy(&rest).into_owned();
            assert_eq!(status.code(), Some(code), "{signal}");
            assert!(rest.contains("--resume here"), "{signal}");
            let log = fs::read_to_string(folder.path().join("here/metrics.jsonl")).unwrap();
            let epochs = log.lines().count() + 2;
            let line = format!("train --resume here --json --set train.epochs={epochs}");
            let resumed = folder.report(&line);
            let line = format!("train flowers.toml --json --out whole --set train.epochs={epochs}");
            let whole = folder.report(&line);
            assert_eq!(
                resumed["weights_sha256"], whole["weights_sha256"],
                "{signal}"
            );
        }
    }

    /// An epoch of 240,000 steps takes seconds, so a checkpoint one second after the start is
    /// within the epoch. The run is killed and resumed from it.
    #[test]
    fn slow_a_run_killed_in_the_middle_of_an_epoch_goes_on_from_there_with_the_same_bits() {
        let folder = Workplace::new(CONFIG);
        let rows = "5.1,3.5,1.4,0.2,a\n6.2,2.9,4.3,1.3,b\n7.1,3.0,5.9,2.1,c\n".repeat(80_000);
        folder.write("long.csv", &rows);
        let config = "[data]\ntrain = 'long.csv'\n[model]\nhidden = [400]\n[optimizer]\n\
            learning_rate = 0.1\nmomentum = 0.5\n[train]\nepochs = 1\nbatch_size = 1\n\
            [run]\ncheckpoint_seconds = 1\n";
        folder.write("long.toml", config);
        let mut child = folder
            .command("train long.toml --out here -q")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let checkpoint = folder.path().join("here/checkpoint-000001.bin");
        while !checkpoint.exists() {
            assert!(child.try_wait().unwrap().is_none(), "the run is too short");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let log = fs::read_to_string(folder.path().join("here/metrics.jsonl")).unwrap();
        assert_eq!(log.lines().count(), 0, "the run was killed too late");

        let mut resumed = folder.report("train --resume here --json");
        let mut whole = folder.report("train long.toml --out whole --json");
        for summary in [&mut resumed, &mut whole] {
            for field in ["run", "seconds", "seconds_per_epoch"] {
                summary[field].take();
            }
        }
        assert_eq!(resumed, whole);
    }

    #[test]
    fn a_running_directory_cannot_be_resumed_or_trained_in() {
        let folder = Workplace::new(CONFIG);
        let mut child = long_run(&folder);
        let outcomes = ["train --resume here", "train flowers.toml --out here"]
            .map(|line| folder.nplus1(line).status.code());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(outcomes, [Some(6), Some(6)]);
    }
}

#[test]
fn lbfgs_says_why_it_ends_and_the_model_is_saved() {
    let folder = Workplace::new(CONFIG);
    let config = CONFIG
        .replace("learning_rate = 0.2\nmomentum = 0.5", "kind = \"lbfgs\"")
        .replace("batch_size = 10\n", "")
        .replace("epochs = 4", "epochs = 500")
        .replace(
            "kind = \"cross-entropy\"",
            "kind = \"cross-entropy\"\nl2 = 1e-2",
        );
    folder.write("flowers.toml", &config);
    let summary = folder.report("train flowers.toml --json --out a --set model.precision=\"f64\"");
    let ending = summary["ending"].as_str().unwrap();
    assert!(
        ending.starts_with("converged: no partial derivative is above"),
        "{ending}"
    );
    let epochs = summary["epochs"].as_u64().unwrap();
    assert!(epochs < 500);
    // With the same objective the run has converged already; with another one it goes on.
    let again = folder.report("train --resume a --json");
    assert_eq!(again["epochs"], epochs);
    assert_eq!(again["weights_sha256"], summary["weights_sha256"]);
    let other = folder.report("train --resume a --json --set loss.l2=0.1");
    assert!(other["epochs"].as_u64().unwrap() > epochs, "{other}");
    assert!(other["ending"].as_str().unwrap().starts_with("converged"));
    let rough = "--set gradient.method=\"forward-difference\" --set gradient.increment=0.5";
    let summary = folder.report(&format!("train flowers.toml --json --out b {rough}"));
    let ending = summary["ending"].as_str().unwrap();
    assert!(
        ending.starts_with("the line search found no lower loss"),
        "{ending}"
    );
    assert!(folder.path().join("b/model.safetensors").exists());
}

#[test]
fn the_study_of_lbfgs_has_a_row_per_case_and_refuses_networks_that_take_too_long() {
    let folder = Workplace::new(CONFIG);
    let small = "explain lbfgs flowers.toml -q --set data.limit=20 --set model.hidden=[2]";
    let document = folder.report(&format!("{small} --json --increments 1e-2,1e-6"));
    let rows = document["rows"].as_array().unwrap();
    let cases = nplus1::study::lbfgs_precision::cases(Some(&[1e-2, 1e-6]));
    assert_eq!(rows.len(), cases.len());
    for row in rows {
        assert!(
            row["objective"].as_f64().is_some_and(f64::is_finite),
            "{row}"
        );
        assert!(!row["explanation"].as_str().unwrap().is_empty());
    }
    let errors = folder.failure(&format!("{small} --increments 0"), 2);
    assert!(errors.contains("numbers above 0"), "{errors}");
    let large = "explain lbfgs flowers.toml --set model.hidden=[2000]";
    let errors = folder.failure(large, 2);
    assert!(
        errors.contains("N = 16003") && errors.contains("data.limit"),
        "{errors}"
    );
}

/// Returns the mean and the standard deviation of the accuracies of scikit-learn's logistic
/// regression, each over 10 folds, for ten random partitions into folds.
fn accuracies_of_scikit_learn() -> (f64, f64) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/reference/logistic.json");
    let reference: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let all = reference["accuracies_by_10_shuffled_folds"]
        .as_array()
        .unwrap();
    let all: Vec<f64> = all.iter().map(|x| x.as_f64().unwrap()).collect();
    let count = all.len() as f64;
    let mean = all.iter().sum::<f64>() / count;
    let squares = all.iter().map(|x| (x - mean).powi(2));
    (mean, (squares.sum::<f64>() / (count - 1.0)).sqrt())
}

#[test]
fn logistic_regression_has_scikit_learn_s_accuracy_by_every_optimizer() {
    let folder = Workplace::new(CONFIG);
    let configs = concat!(env!("CARGO_MANIFEST_DIR"), "/configs");
    let (mean, deviation) = accuracies_of_scikit_learn();
    let mut losses = Vec::new();
    for name in ["logistic", "logistic-lbfgs", "logistic-adam"] {
        let folded = folder.report(&format!("train {configs}/{name}.toml -q --json"));
        let accuracy = folded["test_accuracy"].as_f64().unwrap();
        // The folds differ from those of scikit-learn, so three of its standard deviations are
        // allowed.
        assert!(
            (accuracy - mean).abs() < 3.0 * deviation,
            "{name}: {accuracy}"
        );
        losses.push(folded["test_loss"].as_f64().unwrap());
        if name == "logistic-lbfgs" {
            for fold in folded["folds"].as_array().unwrap() {
                let ending = fold["ending"].as_str().unwrap();
                assert!(ending.starts_with("converged"), "{ending}");
            }
        }
    }
    // On the same folds there is one minimum, and mini-batches end near it.
    for loss in &losses {
        assert!((loss / losses[1] - 1.0).abs() < 0.05, "{losses:?}");
    }
}
