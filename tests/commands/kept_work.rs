//! A run or a study loses no completed work to a failed read, or to a kill at any moment.

#![cfg(unix)]

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::flowers::SOFTMAX as CONFIG;
use crate::support::program::{Workplace, lines, names};
use serde_json::Value;

const ENDLESS: &str = "--set train.epochs=100000000";
const RACE: &str = "race flowers.toml --methods backprop,forward-difference/full \
                    --set train.epochs=200 --limit 600 --seeds 3..3";
const SLOW: &str = "forward-difference/full";

/// Returns the config of a cross-validation.
fn folds() -> String {
    CONFIG
        .replace("test = 30", "folds = 3")
        .replace("validation = 30", "")
}

/// A file that no user can read, not even root: it is replaced by a link to itself.
struct Unreadable {
    path: PathBuf,
    aside: tempfile::TempDir,
}

impl Unreadable {
    /// Moves the file at `path` aside, and puts a link to itself in its place.
    fn make(path: PathBuf) -> Self {
        let aside = tempfile::tempdir().unwrap();
        fs::copy(&path, aside.path().join("file")).unwrap();
        fs::remove_file(&path).unwrap();
        symlink(path.file_name().unwrap(), &path).unwrap();
        Self { path, aside }
    }

    /// Makes the file readable again; fails if something was written in its place.
    fn restore(self) {
        let found = fs::symlink_metadata(&self.path).unwrap();
        assert!(found.is_symlink(), "{} was replaced", self.path.display());
        fs::remove_file(&self.path).unwrap();
        fs::copy(self.aside.path().join("file"), &self.path).unwrap();
    }
}

/// Returns the paths of the checkpoints in `folder`, oldest first.
fn checkpoints(folder: &Path) -> Vec<PathBuf> {
    let names = names(folder).into_iter();
    let checkpoints = names.filter(|name| name.starts_with("checkpoint-"));
    checkpoints.map(|name| folder.join(name)).collect()
}

/// Runs the program with `line`, waits until `ready`, calls `inspect`, and kills the program;
/// returns the result of `inspect`.
fn kill_once<T>(
    folder: &Workplace,
    line: &str,
    ready: impl Fn() -> bool,
    inspect: impl Fn() -> T,
) -> T {
    let mut child = folder
        .command(line)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !ready() {
        assert!(child.try_wait().unwrap().is_none(), "{line}: ended early");
        assert!(start.elapsed() < Duration::from_secs(120), "{line}");
        std::hint::spin_loop();
    }
    let inspected = inspect();
    child.kill().unwrap();
    child.wait().unwrap();
    inspected
}

/// Kills the run of `line` in `directory` after its first epoch, long before its first checkpoint.
fn kill_after_an_epoch(folder: &Workplace, line: &str, directory: &str) {
    let log = folder.path().join(directory).join("metrics.jsonl");
    let logged = || fs::read_to_string(&log).is_ok_and(|text| text.contains('\n'));
    kill_once(folder, line, logged, || ());
    assert!(!log.with_file_name("model.safetensors").exists());
}

/// Fails if `rows` contains two rows of one method at the same step.
fn assert_each_state_once(rows: &[String]) {
    let mut seen = HashSet::new();
    for row in rows {
        let row: Value = serde_json::from_str(row).unwrap();
        let state = (row["method"].to_string(), row["steps"].as_u64().unwrap());
        assert!(seen.insert(state.clone()), "duplicate row of {state:?}");
    }
}

/// Returns the temporary files in `folder` and its subfolders that an unfinished write left behind.
fn leftovers(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with(".nplus1-") {
            found.push(path);
        } else if path.is_dir() {
            found.extend(leftovers(&path));
        }
    }
    found
}

#[test]
fn a_checkpoint_that_cannot_be_read_ends_a_resume_with_8_and_is_kept() {
    let folder = Workplace::new(CONFIG);
    folder.report("train flowers.toml --json --out here");
    folder.report("train --resume here --json --set train.epochs=6");
    let here = folder.path().join("here");
    let before = names(&here);
    // The older checkpoint is readable, but a run resumed from it would later delete the newer one.
    let newest = checkpoints(&here).pop().unwrap();
    let hidden = Unreadable::make(newest);
    let errors = folder.failure("train --resume here --set train.epochs=8", 8);
    assert!(errors.contains("checkpoint-000002.bin"), "{errors}");
    assert!(!errors.contains("from the start"), "{errors}");
    assert_eq!(names(&here), before);
    hidden.restore();
    let resumed = folder.report("train --resume here --json --set train.epochs=8");
    let whole = folder.report("train flowers.toml --json --out whole --set train.epochs=8");
    assert_eq!(resumed["weights_sha256"], whole["weights_sha256"]);
}

#[test]
fn a_config_that_cannot_be_read_ends_a_resume_with_8() {
    let folder = Workplace::new(CONFIG);
    folder.write("folds.toml", &folds());
    folder.report("train folds.toml --json --out here");
    let config = folder.path().join("here/config.toml");
    let hidden = Unreadable::make(config);
    let errors = folder.failure("train --resume here", 8);
    assert!(errors.contains("config.toml"), "{errors}");
    folder.report("report here --json -o page.html");
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("config.toml cannot be read"));
    hidden.restore();
}

#[test]
fn a_fold_that_cannot_be_read_is_not_trained_again() {
    let folder = Workplace::new(CONFIG);
    folder.write("folds.toml", &folds());
    let whole = folder.report("train folds.toml --json --out here");
    let fold = folder.path().join("here/fold-02");
    let kept = fs::read(fold.join("metrics.jsonl")).unwrap();
    for file in ["checkpoint-000001.bin", "config.toml"] {
        let hidden = Unreadable::make(fold.join(file));
        let errors = folder.failure("train --resume here", 8);
        assert!(errors.contains(&format!("fold-02/{file}")), "{errors}");
        assert_eq!(fs::read(fold.join("metrics.jsonl")).unwrap(), kept);
        hidden.restore();
    }
    // A damaged checkpoint is reported, and not replaced.
    let checkpoint = fold.join("checkpoint-000001.bin");
    let valid = fs::read(&checkpoint).unwrap();
    fs::write(&checkpoint, "rubbish").unwrap();
    let errors = folder.failure("train --resume here", 7);
    assert!(errors.contains("fold-02"), "{errors}");
    assert_eq!(fs::read(fold.join("metrics.jsonl")).unwrap(), kept);
    fs::write(&checkpoint, valid).unwrap();
    let resumed = folder.report("train --resume here --json");
    assert_eq!(resumed["test_accuracy"], whole["test_accuracy"]);
}

/// Interrupts a race in its second method; returns its directory and the text of its rows.
fn interrupted_race(folder: &Workplace) -> (PathBuf, String) {
    let study = folder.path().join("studies/flowers/001");
    let rows = study.join("rows.jsonl");
    folder.interrupted(RACE, &rows, |text| text.contains(SLOW));
    let kept = fs::read_to_string(&rows).unwrap();
    (study, kept)
}

#[test]
fn a_race_whose_checkpoints_cannot_be_read_keeps_its_rows() {
    let folder = Workplace::new(CONFIG);
    let (study, kept) = interrupted_race(&folder);
    let rows = study.join("rows.jsonl");
    let resume = "race --resume studies/flowers/001";
    let method = study.join("forward-difference-full-3");

    let all = checkpoints(&method).into_iter();
    let hidden: Vec<Unreadable> = all.map(Unreadable::make).collect();
    let errors = folder.failure(resume, 8);
    assert!(errors.contains("checkpoint-"), "{errors}");
    assert_eq!(fs::read_to_string(&rows).unwrap(), kept);
    hidden.into_iter().for_each(Unreadable::restore);

    let hidden = Unreadable::make(rows.clone());
    let errors = folder.failure(resume, 8);
    assert!(errors.contains("rows.jsonl"), "{errors}");
    hidden.restore();

    let hidden = Unreadable::make(study.join("study.json"));
    let errors = folder.failure(resume, 8);
    assert!(errors.contains("study.json"), "{errors}");
    folder.failure("report studies/flowers/001", 8);
    hidden.restore();

    // Damaged checkpoints are reported as well, instead of measuring the rows again silently.
    let valid: Vec<(PathBuf, Vec<u8>)> = (checkpoints(&method).into_iter())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    for (path, _) in &valid {
        fs::write(path, "rubbish").unwrap();
    }
    let errors = folder.failure(resume, 7);
    assert!(errors.contains("forward-difference-full"), "{errors}");
    assert_eq!(fs::read_to_string(&rows).unwrap(), kept);
    for (path, content) in valid {
        fs::write(path, content).unwrap();
    }
    folder.report(&format!("{resume} --json"));
    assert!(fs::read_to_string(&rows).unwrap().starts_with(&kept));
}

#[test]
fn a_run_killed_before_its_first_checkpoint_starts_again_from_the_beginning() {
    let folder = Workplace::new(CONFIG);
    let line = format!("train flowers.toml --out here {ENDLESS}");
    kill_after_an_epoch(&folder, &line, "here");
    assert_eq!(checkpoints(&folder.path().join("here")), [] as [PathBuf; 0]);
    let (resumed, errors) = folder.document("train --resume here --json --set train.epochs=4", 0);
    assert!(errors.contains("from the beginning"), "{errors}");
    let whole = folder.report("train flowers.toml --json --out whole");
    assert_eq!(resumed["weights_sha256"], whole["weights_sha256"]);
    assert_eq!(lines(&folder.path().join("here/metrics.jsonl")).len(), 4);
}

#[test]
fn a_killed_run_that_began_with_a_model_starts_again_from_that_model() {
    let folder = Workplace::new(CONFIG);
    folder.write("folds.toml", &folds());
    folder.report("train flowers.toml --json --out first");
    let from = "--init-from first/model.safetensors";
    for (config, began) in [("flowers", "flowers"), ("folds", "folds/fold-01")] {
        let line = format!("train {config}.toml {from} --out");
        kill_after_an_epoch(&folder, &format!("{line} {config} {ENDLESS}"), began);
        let resumed = folder.report(&format!(
            "train --resume {config} --json --set train.epochs=4"
        ));
        let whole = folder.report(&format!("{line} whole-{config} --json"));
        for document in [&resumed, &whole] {
            assert!(document["test_accuracy"].is_number(), "{document}");
        }
        assert_eq!(
            resumed["weights_sha256"], whole["weights_sha256"],
            "{config}"
        );
        for fold in 0..3 {
            let hash = |document: &Value| document["folds"][fold]["weights_sha256"].clone();
            assert_eq!(hash(&resumed), hash(&whole), "{config}, fold {fold}");
        }
    }
}

#[test]
fn a_run_that_lost_its_checkpoints_keeps_its_model() {
    let folder = Workplace::new(CONFIG);
    folder.report("train flowers.toml --json --out here");
    let here = folder.path().join("here");
    let model = fs::read(here.join("model.safetensors")).unwrap();
    fs::remove_file(here.join("checkpoint-000001.bin")).unwrap();
    folder.failure("train --resume here --set train.epochs=1", 7);
    assert_eq!(fs::read(here.join("model.safetensors")).unwrap(), model);
    assert_eq!(lines(&here.join("metrics.jsonl")).len(), 4);
}

#[test]
fn a_directory_that_exists_contains_all_that_a_resume_needs() {
    for (line, directory, needed, resume) in [
        (
            format!("train flowers.toml --out deep/here {ENDLESS}"),
            "deep/here",
            "config.toml",
            "train --resume deep/here --set train.epochs=4 --json",
        ),
        (
            format!("train flowers.toml {ENDLESS}"),
            "runs/flowers/001",
            "config.toml",
            "train --resume runs/flowers/001 --set train.epochs=4 --json",
        ),
        (
            format!("train folds.toml --out here {ENDLESS}"),
            "here/fold-01",
            "config.toml",
            "train --resume here --set train.epochs=4 --json",
        ),
        (
            RACE.to_owned(),
            "studies/flowers/001",
            "study.json",
            "race --resume studies/flowers/001 --json",
        ),
    ] {
        let folder = Workplace::new(CONFIG);
        folder.write("folds.toml", &folds());
        let path = folder.path().join(directory);
        let appeared = || path.exists();
        let complete = kill_once(&folder, &line, appeared, || path.join(needed).exists());
        assert!(complete, "{line}: {directory} appeared without {needed}");
        folder.report(resume);
    }
}

#[test]
fn processes_that_start_together_get_different_directories() {
    let folder = Workplace::new(CONFIG);
    let children: Vec<_> = (0..6)
        .map(|_| {
            let mut command = folder.command("train flowers.toml -q");
            command.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let runs = folder.path().join("runs/flowers");
    assert_eq!(names(&runs), ["001", "002", "003", "004", "005", "006"]);
    for run in names(&runs) {
        assert!(runs.join(run).join("summary.json").exists());
    }
}

#[test]
fn a_resumed_race_deletes_the_temporary_files_of_the_killed_one_and_nothing_else() {
    let folder = Workplace::new(CONFIG);
    let (study, _) = interrupted_race(&folder);
    let other = folder.path().join("studies/flowers/.nplus1-Zz09aA");
    fs::write(&other, "another's").unwrap();
    let methods = ["backprop-3", "forward-difference-full-3"];
    for method in methods {
        let method = study.join(method);
        fs::write(method.join(".nplus1-a1B2c3"), "half a checkpoint").unwrap();
        fs::write(method.join(".nplus1-notes.txt"), "mine").unwrap();
        fs::create_dir(method.join(".nplus1-a-folder")).unwrap();
        fs::create_dir(method.join(".nplus1-b2C3d4")).unwrap();
        fs::write(
            method.join(".nplus1-b2C3d4/config.toml"),
            "of a killed process",
        )
        .unwrap();
    }
    folder.report("race --resume studies/flowers/001 --json");
    for method in methods {
        let mut found: Vec<PathBuf> = leftovers(&study.join(method));
        found.sort();
        let expected = [".nplus1-a-folder", ".nplus1-notes.txt"];
        assert_eq!(found, expected.map(|name| study.join(method).join(name)));
    }
    assert!(other.exists(), "a file outside the study was deleted");
}

#[test]
fn a_race_has_one_row_per_state() {
    let folder = Workplace::new(CONFIG);
    // Epochs are far longer than the interval between rows, so each epoch ends with a row.
    let line = format!(
        "race flowers.toml --methods {SLOW} --set model.hidden=[60] --set train.epochs=3 --limit 600 --seeds 3..3"
    );
    let document = folder.report(&format!("{line} --json"));
    let study = folder.study(&document);
    let rows = lines(&study.join("rows.jsonl"));
    assert!(rows.len() >= 2, "{rows:?}");
    assert_each_state_once(&rows);
    assert_eq!(lines(&study.join("rows.csv")).len(), 1 + rows.len());

    // As if killed after the last row was written, but before the method was marked as finished.
    let (last, before) = rows.split_last().unwrap();
    let open = last.replace("\"as long as [train] asks for\"", "null");
    assert_ne!(&open, last);
    let cut = format!("{}\n{open}\n", before.join("\n"));
    fs::write(study.join("rows.jsonl"), cut).unwrap();
    let resume = format!("race --resume {} --json", study.display());
    folder.report(&resume);
    let again = lines(&study.join("rows.jsonl"));
    assert_each_state_once(&again);
    assert_eq!(again.len(), rows.len());
    assert_eq!(again.last().unwrap().matches("asks for").count(), 1);
}

#[test]
fn a_race_killed_again_and_again_loses_no_row_and_repeats_none() {
    let folder = Workplace::new(CONFIG);
    let study = folder.path().join("studies/flowers/001");
    let rows = study.join("rows.jsonl");
    let text = || fs::read_to_string(&rows).unwrap_or_default();
    let mut kept = String::new();
    let resume = "race --resume studies/flowers/001";
    for line in [RACE, resume, resume, resume] {
        let more = || text().matches(SLOW).count() > kept.matches(SLOW).count();
        kill_once(&folder, line, more, || ());
        let now = text();
        assert!(now.starts_with(&kept), "{line}: rows were lost");
        let whole = now.rfind('\n').map_or(0, |end| end + 1);
        now[..whole].clone_into(&mut kept);
    }
    folder.report(&format!("{resume} --json"));
    assert!(text().starts_with(&kept));
    assert_each_state_once(&lines(&rows));
    assert_eq!(leftovers(&study), [] as [PathBuf; 0]);
}

/// Runs the study of `line`, cuts its rows as a crash would, resumes it with `resume`, and returns
/// both documents without the directory. The rows that were kept are not measured again.
fn resumed_after_a_cut(line: &str, resume: &str) -> [Value; 2] {
    let folder = Workplace::new(CONFIG);
    let mut whole = folder.report(&format!("{line} --out s --json"));
    let path = folder.path().join("s/rows.jsonl");
    let rows = lines(&path);
    assert!(rows.len() > 8, "{rows:?}");
    fs::write(&path, rows[..8].join("\n") + "\n" + &rows[8][..9]).unwrap();
    fs::remove_file(folder.path().join("s/results.json")).unwrap();
    let mut resumed = folder.report(&format!("{resume} --resume s --json"));
    assert_eq!(lines(&path)[..8], rows[..8]);
    assert_eq!(lines(&path).len(), rows.len());
    for document in [&mut whole, &mut resumed] {
        document["study"].take();
    }
    [whole, resumed]
}

#[test]
fn a_sweep_is_resumed_with_the_same_increments_and_results() {
    let line = "check flowers.toml --sweep --rows 7";
    let [whole, resumed] = resumed_after_a_cut(line, "check");
    assert_eq!(whole, resumed);
    let [whole, resumed] = resumed_after_a_cut(line, line);
    assert_eq!(whole, resumed);
    let folder = Workplace::new(CONFIG);
    folder.report(&format!("{line} --out s --json"));
    let errors = folder.failure("check --resume s --rows 9", 2);
    assert!(errors.contains("original options"), "{errors}");
    let errors = folder.failure("check flowers.toml --resume s --rows 9", 2);
    assert!(
        errors.contains("batch_rows: begun with 7, now 9"),
        "{errors}"
    );
    let errors = folder.failure("check flowers.toml --out other", 2);
    assert!(errors.contains("--sweep"), "{errors}");
}

#[test]
fn the_study_of_lbfgs_is_resumed_with_the_same_results() {
    let small = "explain lbfgs flowers.toml --set data.limit=20 --set model.hidden=[2]";
    let [whole, resumed] = resumed_after_a_cut(small, "explain lbfgs");
    assert_eq!(whole, resumed);
    assert!(
        whole["answer"]
            .as_str()
            .unwrap()
            .contains("With exact gradients")
    );
}

#[cfg(unix)]
#[test]
fn slow_an_interrupted_sweep_and_an_interrupted_study_of_lbfgs_keep_their_rows() {
    let sweep = "check flowers.toml --sweep --full --rows 90 --set model.hidden=[80]";
    for (line, resume) in [
        (sweep, "check"),
        ("explain lbfgs flowers.toml", "explain lbfgs"),
    ] {
        let folder = Workplace::new(CONFIG);
        let rows = folder.path().join("s/rows.jsonl");
        let errors = folder.interrupted(&format!("{line} --out s"), &rows, |_| true);
        let way_out = format!("resume with: nplus1 {resume} --resume s");
        assert!(errors.contains(&way_out), "{errors}");
        assert!(!lines(&rows).is_empty() && !folder.path().join("s/results.json").exists());
    }
}
