//! Training by several ranks under `mpirun`: the bits of one process, the counted bytes, one message
//! and one exit code for whatever ends a run, and nothing left behind by a rank that is killed.
//!
//! Skipped with a message where there is no `mpirun`.

use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::support::program::Workplace;
use nplus1::gradient::GradientConfig;
use nplus1::gradient::finite_difference::DifferenceConfig;
use nplus1::gradient::operation_counts::communication::{self, Communication};
use nplus1::model::{Loss, Network, OutputUnits};
use nplus1::parallel::cluster::Reduce;
use serde_json::Value;

const CONFIG: &str = r#"
name = "flowers"
seed = 3
[data]
dataset = "iris"
validation = 30
test = 31
normalize = "standard"
[model]
hidden = [19]
output = "sigmoid"
initialization = "scaled"
[loss]
kind = "quadratic"
[optimizer]
learning_rate = 0.2
[train]
epochs = 3
batch_size = 10
[run]
threads = 1
"#;

/// Returns whether there is an `mpirun`; says so if there is none.
fn has_mpirun() -> bool {
    let found = Command::new("mpirun")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        eprintln!("skipped: there is no mpirun (Debian: openmpi-bin)");
    }
    found
}

/// Returns `mpirun` with `ranks` ranks of `nplus1` and the words of `line`, to run in `place`.
fn mpirun(place: &Workplace, ranks: usize, line: &str) -> Command {
    let mut command = Command::new("mpirun");
    command
        .current_dir(place.path())
        .args([
            "--allow-run-as-root",
            "--oversubscribe",
            "--bind-to",
            "none",
            "-n",
        ])
        .arg(ranks.to_string())
        .arg(env!("CARGO_BIN_EXE_nplus1"))
        .args(line.split_whitespace())
        // Ranks share processors with each other and with other tests.
        .env("OMPI_MCA_mpi_yield_when_idle", "1")
        // Containers without the needed rights make the shared memory transport complain.
        .env("OMPI_MCA_btl_vader_single_copy_mechanism", "none")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn run(mut command: Command) -> Output {
    let child = command.spawn().unwrap();
    crate::support::program::finish(child, "mpirun")
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Trains on `ranks` ranks; returns the summary.
fn summary(place: &Workplace, ranks: usize, line: &str) -> Value {
    let output = run(mpirun(
        place,
        ranks,
        &format!("{line} --json --quiet --no-report"),
    ));
    assert!(output.status.success(), "{line}: {}", errors(&output));
    serde_json::from_slice(&output.stdout).expect("one JSON document, of the first rank")
}

#[test]
fn slow_any_number_of_ranks_gives_the_weights_of_one_process() {
    if !has_mpirun() {
        return;
    }
    let place = Workplace::new(CONFIG);
    let differences = "gradient.method=\"forward-difference\"";
    for (name, changes) in [
        ("backprop", vec![]),
        ("f64", vec!["model.precision=\"f64\"", "train.batch_size=7"]),
        ("threads", vec!["run.threads=2", "optimizer.momentum=0.5"]),
        (
            "adam",
            vec!["optimizer.kind=\"adam\"", "optimizer.learning_rate=0.01"],
        ),
        ("incremental", vec![differences]),
        (
            "full",
            vec![
                differences,
                "gradient.evaluation=\"full\"",
                "model.precision=\"f64\"",
                "train.epochs=1",
            ],
        ),
    ] {
        let changes: String = changes
            .iter()
            .map(|change| format!(" --set {change}"))
            .collect();
        let line = |out: &str| format!("train flowers.toml --out {out}{changes}");
        let alone = place.report(&format!("{} --json --quiet --no-report", line(name)));
        for ranks in [1, 2, 3, 4] {
            let found = summary(&place, ranks, &line(&format!("{name}-{ranks}")));
            assert_eq!(
                found["weights_sha256"], alone["weights_sha256"],
                "{name}, {ranks} ranks"
            );
            assert_eq!(
                found["train_loss"], alone["train_loss"],
                "{name}, {ranks} ranks"
            );
            assert_eq!(found["tally"], alone["tally"], "{name}, {ranks} ranks");
            assert_eq!(found["ranks"].is_null(), ranks == 1);
        }
    }
}

/// What training on the 89 rows of the config exchanges: its steps, and the norm of each epoch's last
/// gradient.
fn expected(method: &GradientConfig, reduce: Reduce) -> Communication {
    let network = Network::new(
        &[4, 19, 3],
        true,
        OutputUnits::Sigmoid,
        Loss::Quadratic,
        0.0,
    )
    .unwrap();
    let of = |rows| communication::gradient(method, &network, (rows, 4), reduce);
    let mut sum = Communication::default();
    for _ in 0..3 {
        for _ in 0..8 {
            sum = sum + of(10);
        }
        sum = sum + of(9) + of(9);
    }
    sum
}

#[test]
fn bytes_and_messages_are_those_of_the_model() {
    if !has_mpirun() {
        return;
    }
    let place = Workplace::new(CONFIG);
    let full = GradientConfig::Difference(DifferenceConfig::TEXTBOOK);
    for (name, changes, method, reduce) in [
        ("exact", "", GradientConfig::Backprop, Reduce::Exact),
        (
            "fast",
            " --set run.reduce=\"fast\"",
            GradientConfig::Backprop,
            Reduce::Fast,
        ),
        (
            "full",
            " --set gradient.method=\"forward-difference\" --set gradient.evaluation=\"full\"",
            full,
            Reduce::Exact,
        ),
    ] {
        let found = summary(
            &place,
            3,
            &format!("train flowers.toml --out {name}{changes}"),
        );
        let expected = expected(&method, reduce);
        assert_eq!(found["ranks"]["count"], 3, "{name}");
        assert_eq!(found["ranks"]["bytes"], expected.delivered(3), "{name}");
        assert_eq!(found["ranks"]["exchanges"], expected.exchanges, "{name}");
    }
}

#[test]
fn what_ends_one_rank_ends_all_with_one_message_and_one_exit_code() {
    if !has_mpirun() {
        return;
    }
    let place = Workplace::new(CONFIG);
    let fails = |line: &str, code: i32, message: &str| {
        let output = run(mpirun(&place, 3, line));
        let errors = errors(&output);
        assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
        assert_eq!(errors.matches("error:").count(), 1, "{line}: {errors}");
        assert!(errors.contains(message), "{line}: {errors}");
    };
    // All ranks see it.
    fails("train absent.toml", 2, "absent.toml");
    fails("train flowers.toml --dry-run", 2, "without mpirun or srun");
    fails(
        "train flowers.toml --set run.split=\"units\"",
        2,
        "divide a mini-batch by rows",
    );
    fails(
        "race flowers.toml",
        2,
        "does not divide its work among ranks",
    );
    fails(
        "train flowers.toml --out diverged --set optimizer.learning_rate=1e38 --set loss.l2=1e30",
        4,
        "diverged",
    );
    // Only the first rank sees it.
    fs::write(place.path().join("file"), "").unwrap();
    fails("train flowers.toml --out file", 2, "not a folder");
    let taken = summary(&place, 2, "train flowers.toml --out taken");
    assert_eq!(taken["epochs"], 3);
    fails("train flowers.toml --out taken", 6, "another run");
    // Only another rank sees it: other data, as on a machine with other files.
    let script = "if [ $OMPI_COMM_WORLD_RANK = 1 ]; then extra='--set model.hidden=[5]'; fi; \
                  exec \"$0\" train flowers.toml --out other $extra";
    let mut command = Command::new("mpirun");
    command
        .current_dir(place.path())
        .args([
            "--allow-run-as-root",
            "--oversubscribe",
            "-n",
            "3",
            "sh",
            "-c",
            script,
        ])
        .arg(env!("CARGO_BIN_EXE_nplus1"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = run(command);
    let errors = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("rank 1 has another config than rank 0"),
        "{errors}"
    );
    assert!(!place.path().join("other").exists(), "nothing is written");
}

/// Returns the processes whose command line has `mark`.
fn processes(mark: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let has_mark = |process: &u32| {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    };
    numbers.filter(has_mark).collect()
}

/// Returns the processes of the ranks whose command line has `mark`, without `mpirun`.
fn ranks_of(mark: &str) -> Vec<u32> {
    let is_rank = |process: &u32| {
        let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
        name.trim() == "nplus1"
    };
    processes(mark).into_iter().filter(is_rank).collect()
}

fn wait_until(what: &str, limit: u64, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(limit), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends `signal` to a rank of a run in `place` that begins now; returns the exit code of the job.
fn signalled(place: &Workplace, line: &str, mark: &str, kill: (usize, &str, u64)) -> Option<i32> {
    let (victim, signal, delay) = kill;
    let mut command = mpirun(place, 3, line);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("all ranks start", 60, || ranks_of(mark).len() == 3);
    std::thread::sleep(Duration::from_millis(delay));
    let mut ranks = ranks_of(mark);
    ranks.sort_unstable();
    if let Some(rank) = ranks.get(victim) {
        let _ = Command::new("kill")
            .args([signal, &rank.to_string()])
            .status();
    }
    let mut status = None;
    wait_until("the job ends within 10 s", 10, || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    wait_until("no rank is left behind", 5, || ranks_of(mark).is_empty());
    status.and_then(|status| status.code())
}

/// Kills ranks at `delays` ms after they started, and resumes with other numbers of ranks. Returns how
/// many runs had begun and not ended, and so were resumed. No other test may have the same `name`, by
/// which the processes are known.
fn assert_survives(name: &str, delays: impl IntoIterator<Item = u64>) -> usize {
    let epochs = "--set train.epochs=600 --set run.checkpoint_seconds=1";
    let place = Workplace::new(CONFIG);
    let line = |out: &str| format!("train flowers.toml --out {out} --quiet --no-report {epochs}");
    let alone = place.report(&format!("{} --json", line("alone")));
    let mut runs = 0;
    for (k, delay) in delays.into_iter().enumerate() {
        let mark = format!("{name}-{}-{k}", std::process::id());
        let code = signalled(&place, &line(&mark), &mark, (k % 3, "-KILL", delay));
        let directory = place.path().join(&mark);
        if code == Some(0) || !directory.exists() {
            // It ended before the kill, or was killed before it wrote anything.
            continue;
        }
        let resumed = summary(&place, [1, 2, 4][k % 3], &format!("train --resume {mark}"));
        assert_eq!(
            resumed["weights_sha256"], alone["weights_sha256"],
            "killed after {delay} ms"
        );
        assert_eq!(resumed["epochs"], alone["epochs"]);
        runs += 1;
    }
    runs
}

#[test]
fn slow_a_killed_rank_ends_the_job_and_another_number_of_ranks_resumes_it() {
    if has_mpirun() {
        assert_survives("killed", [50, 400, 1300]);
    }
}

/// The long form of the test above: `cargo test --features mpi --test commands fifty -- --ignored`.
#[test]
#[ignore = "takes many minutes"]
fn slow_fifty_killed_ranks_end_their_jobs() {
    if has_mpirun() {
        let runs = assert_survives("fifty", (0..50).map(|k| 37 * k * k % 2500));
        println!("50 ranks killed: {runs} runs resumed, 0 lost, 0 ranks left");
        assert!(runs >= 25, "{runs} of 50 kills hit a run");
    }
}

#[test]
fn a_signal_to_one_rank_saves_the_state_and_ends_all() {
    if !has_mpirun() {
        return;
    }
    let place = Workplace::new(CONFIG);
    for (rank, signal, code) in [(0, "-INT", 130), (2, "-TERM", 143)] {
        let mark = format!("signalled-{}-{rank}", std::process::id());
        let endless = "--set train.epochs=100000000";
        let line = format!("train flowers.toml --out {mark} --quiet --no-report {endless}");
        let ended = signalled(&place, &line, &mark, (rank, signal, 700));
        assert_eq!(ended, Some(code), "rank {rank}");
        let directory = place.path().join(&mark);
        let files = fs::read_dir(directory).unwrap().filter_map(Result::ok);
        let names: Vec<_> = files
            .map(|file| file.file_name().into_string().unwrap())
            .collect();
        assert!(
            names.iter().any(|name| name.starts_with("checkpoint")),
            "{names:?}"
        );
    }
}
