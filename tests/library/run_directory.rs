//! A run's directory belongs to one run, and its files survive crashes and damage.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::program::names;
use nplus1::data::Schema;
use nplus1::numeric::Precision;
use nplus1::optimizer::state::StateScalars;
use nplus1::run::checkpoint::{self, Checkpoint};
use nplus1::run::{Lock, Metrics, RunDirectory, metrics};
use nplus1::train::EpochSums;

fn checkpoint(epoch: usize) -> Checkpoint {
    Checkpoint {
        config: "seed = 1\n".to_owned(),
        schema: Schema::default(),
        epoch,
        steps: 100 * epoch as u64,
        precision: Precision::F64,
        parameters: vec![epoch as u8; 64],
        scalars: StateScalars::default(),
        optimizer_vectors: Vec::new(),
        best: None,
        partial: EpochSums::default(),
        unevaluated: None,
        records: Vec::new(),
    }
}

#[test]
fn directories_are_numbered_from_one_above_the_highest() {
    let runs = tempfile::tempdir().unwrap();
    let create = |name: &str| RunDirectory::create_numbered(runs.path(), name, &[]).unwrap();
    assert_eq!(create("a").path(), runs.path().join("a/001"));
    assert_eq!(create("a").path(), runs.path().join("a/002"));
    assert_eq!(create("b").path(), runs.path().join("b/001"));
    fs::create_dir(runs.path().join("a/0041")).unwrap();
    fs::write(runs.path().join("a/notes.txt"), "mine").unwrap();
    assert_eq!(create("a").path(), runs.path().join("a/042"));
    fs::create_dir(runs.path().join("a/1000")).unwrap();
    assert_eq!(create("a").path(), runs.path().join("a/1001"));
}

#[test]
fn runs_that_start_together_never_share_a_directory() {
    let runs = tempfile::tempdir().unwrap();
    let mut paths = HashSet::new();
    std::thread::scope(|scope| {
        let started: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    (0..8)
                        .map(|_| RunDirectory::create_numbered(runs.path(), "same", &[]).unwrap())
                        .map(|directory| directory.path().to_path_buf())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for thread in started {
            paths.extend(thread.join().unwrap());
        }
    });
    assert_eq!(paths.len(), 64);
}

#[test]
fn a_directory_with_any_file_of_a_run_is_refused_and_left_as_it_was() {
    for file in [
        "config.toml",
        "environment.json",
        "metrics.jsonl",
        "metrics.csv",
        "evaluation.json",
        "model.safetensors",
        "checkpoint-000001.bin",
        "summary.json",
        "report.html",
    ] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(file), "x").unwrap();
        let error = RunDirectory::create_at(folder.path(), &[]).unwrap_err();
        assert_eq!(error.exit_code(), 6, "{file}");
        assert!(error.to_string().contains(file), "{error}");
        assert_eq!(names(folder.path()), [file]);
    }
}

#[test]
fn a_directory_is_created_if_it_is_missing_and_may_contain_other_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("notes.txt"), "mine").unwrap();
    RunDirectory::create_at(folder.path(), &[]).unwrap();
    let deep = folder.path().join("x/y");
    let directory = RunDirectory::create_at(&deep, &[]).unwrap();
    directory.write("config.toml", b"seed = 1\n").unwrap();
    assert_eq!(fs::read(deep.join("config.toml")).unwrap(), b"seed = 1\n");
    let file = folder.path().join("notes.txt");
    assert_eq!(
        RunDirectory::create_at(&file, &[]).unwrap_err().exit_code(),
        2
    );
}

#[test]
fn a_directory_gets_its_first_files_whether_it_is_new_or_exists() {
    let folder = tempfile::tempdir().unwrap();
    let files = [("config.toml", b"seed = 1\n".to_vec())];
    let new = RunDirectory::create_at(&folder.path().join("new"), &files).unwrap();
    let existing = RunDirectory::create_at(folder.path(), &files).unwrap();
    let numbered = RunDirectory::create_numbered(folder.path(), "runs", &files).unwrap();
    for directory in [&new, &existing, &numbered] {
        let config = fs::read(directory.file("config.toml")).unwrap();
        assert_eq!(config, b"seed = 1\n");
        assert!(directory.ended_before_first_checkpoint().unwrap());
    }
    assert_eq!(names(folder.path()), ["config.toml", "lock", "new", "runs"]);
    assert_eq!(names(&folder.path().join("runs")), ["001"]);
}

#[test]
fn a_directory_is_in_use_as_long_as_its_run_exists() {
    let folder = tempfile::tempdir().unwrap();
    let running = RunDirectory::create_at(folder.path(), &[]).unwrap();
    let second = RunDirectory::create_at(folder.path(), &[]).unwrap_err();
    assert_eq!(second.exit_code(), 6);
    running.write("config.toml", b"").unwrap();
    let resumed = RunDirectory::open(folder.path()).unwrap_err();
    assert_eq!(resumed.exit_code(), 6);
    drop(running);
    RunDirectory::open(folder.path()).unwrap();
}

#[test]
fn a_folder_without_a_run_cannot_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path(), &folder.path().join("missing")] {
        assert_eq!(RunDirectory::open(path).unwrap_err().exit_code(), 2);
    }
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

/// The next test starts this one in a separate process, with a variable set; without it, it does
/// nothing.
#[test]
fn holder_of_a_lock_in_another_process() {
    if let Some(folder) = std::env::var_os("NPLUS1_TEST_LOCK") {
        let _lock = Lock::take(Path::new(&folder)).unwrap();
        println!("locked");
        std::thread::sleep(std::time::Duration::from_secs(600));
    }
}

#[test]
fn a_lock_is_released_when_its_process_is_killed() {
    use std::io::{BufRead, BufReader};
    let folder = tempfile::tempdir().unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "run_directory::holder_of_a_lock_in_another_process",
            "--nocapture",
        ])
        .env("NPLUS1_TEST_LOCK", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(holder.stdout.take().unwrap());
    let locked = output.lines().any(|line| line.unwrap().contains("locked"));
    let second_lock = Lock::take(folder.path());
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(locked);
    assert_eq!(second_lock.unwrap_err().exit_code(), 6);
    Lock::take(folder.path()).unwrap();
}

#[derive(serde::Serialize, serde::Deserialize, Debug)]
struct Record {
    epoch: usize,
    train_loss: f64,
    validation_loss: Option<f64>,
}

fn record(epoch: usize) -> Record {
    Record {
        epoch,
        train_loss: if epoch == 2 {
            f64::NAN
        } else {
            1.0 / epoch as f64
        },
        validation_loss: None,
    }
}

#[test]
fn metrics_are_on_disk_after_each_epoch_and_nan_does_not_break_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Metrics::start::<Record>(folder.path(), &[]).unwrap();
    for epoch in 1..=3 {
        log.append(&record(epoch)).unwrap();
        let recorded = metrics::read::<Record>(folder.path()).unwrap();
        assert_eq!((recorded.records.len(), recorded.damaged), (epoch, 0));
    }
    let recorded = metrics::read::<Record>(folder.path()).unwrap();
    assert!(recorded.records[1].train_loss.is_nan());
    assert_eq!(recorded.records[2].train_loss, 1.0 / 3.0);
    assert_eq!(
        fs::read_to_string(folder.path().join("metrics.csv")).unwrap(),
        "epoch,train_loss,validation_loss\n1,1.0,\n2,,\n3,0.3333333333333333,\n"
    );
}

#[test]
fn damaged_metrics_lines_are_skipped_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("metrics.jsonl"),
        b"{\"epoch\":1,\"train_loss\":1,\"validation_loss\":null}\n\
          {\"epoch\":\n\
          \xff\xfe\n\
          {\"epoch\":\"two\",\"train_loss\":1}\n\
          \n\
          {\"epoch\":4,\"train_loss\":0.5}\n\
          {\"epoch\":5,\"train_lo",
    )
    .unwrap();
    let recorded = metrics::read::<Record>(folder.path()).unwrap();
    let epochs: Vec<_> = recorded.records.iter().map(|record| record.epoch).collect();
    assert_eq!(epochs, [1, 4]);
    assert_eq!(recorded.damaged, 4);
}

#[test]
fn a_resumed_log_has_the_epochs_of_the_checkpoint_then_the_new_ones() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = Metrics::start::<Record>(folder.path(), &[]).unwrap();
    for epoch in 1..=5 {
        log.append(&record(epoch)).unwrap();
    }
    let uninterrupted = fs::read(folder.path().join("metrics.csv")).unwrap();
    drop(log);
    let kept: Vec<_> = (1..=3).map(record).collect();
    let mut log = Metrics::start(folder.path(), &kept).unwrap();
    for epoch in 4..=5 {
        log.append(&record(epoch)).unwrap();
    }
    assert_eq!(
        fs::read(folder.path().join("metrics.csv")).unwrap(),
        uninterrupted
    );
    let recorded = metrics::read::<Record>(folder.path()).unwrap();
    assert_eq!(recorded.records.len(), 5);
}

#[test]
fn two_checkpoints_are_kept_and_the_newest_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for epoch in 1..=4 {
        checkpoint::save(folder.path(), &checkpoint(epoch)).unwrap();
    }
    assert_eq!(
        names(folder.path()),
        ["checkpoint-000003.bin", "checkpoint-000004.bin"]
    );
    let found = checkpoint::newest(folder.path()).unwrap();
    assert_eq!(found.checkpoint, checkpoint(4));
    assert_eq!(found.refused, Vec::<String>::new());
}

#[test]
fn a_damaged_newest_checkpoint_falls_back_to_the_one_before_it() {
    let folder = tempfile::tempdir().unwrap();
    checkpoint::save(folder.path(), &checkpoint(1)).unwrap();
    let newest = checkpoint::save(folder.path(), &checkpoint(2)).unwrap();
    let whole = fs::read(&newest).unwrap();
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 0x10;
    for damaged in [&flipped, &whole[..whole.len() / 2].to_vec(), &Vec::new()] {
        fs::write(&newest, damaged).unwrap();
        let found = checkpoint::newest(folder.path()).unwrap();
        assert_eq!(found.checkpoint, checkpoint(1));
        assert_eq!(found.refused.len(), 1);
        assert!(found.refused[0].contains("checkpoint-000002.bin"));
    }
}

#[test]
fn without_a_valid_checkpoint_resume_ends_with_7_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        checkpoint::newest(folder.path()).unwrap_err().exit_code(),
        7
    );
    fs::write(folder.path().join("checkpoint-000001.bin"), "rubbish").unwrap();
    let error = checkpoint::newest(folder.path()).unwrap_err();
    assert_eq!(error.exit_code(), 7);
    assert!(
        error.to_string().contains("checkpoint-000001.bin"),
        "{error}"
    );
}
