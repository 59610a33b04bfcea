//! After a loss of power at any time, a run continues from a checkpoint that is no older than the
//! last that was confirmed, to the bits of the uninterrupted run; a study has every row that was
//! confirmed. The model can fail: each sync that is taken away breaks a promise.

use std::collections::HashMap;
use std::path::Path;

use nplus1::optimizer::OptimizerConfig;
use nplus1::optimizer::adam::AdamConfig;
use nplus1::run::directory::{CONFIG, MODEL};
use nplus1::run::{Environment, RunDirectory};
use nplus1::study::record::{Question, StudyRecord};
use serde_json::{Value, json};

use super::disk_model::{Change, Subsets, Trace, explore};
use super::{Promise, Promises, SETTINGS, TinyRun, promised_epoch, scratch};

/// Judges what was left of a run.
struct RunJudge<'a> {
    run: &'a TinyRun,
    uninterrupted: String,
    /// The hash of the weights to which a checkpoint, or the start, was trained.
    trained: HashMap<Option<Vec<u8>>, String>,
}

impl RunJudge<'_> {
    fn judge(&mut self, folder: &Path, promises: &[Promise]) -> Result<(), String> {
        let path = folder.join("tiny/001");
        if !path.exists() && promises.is_empty() {
            return Ok(());
        }
        let config = std::fs::read_to_string(path.join(CONFIG)).unwrap_or_default();
        if config != SETTINGS {
            return Err(format!("the config is {config:?}"));
        }
        let opened = RunDirectory::open(&path).and_then(|directory| self.run.recovered(&directory));
        let found = opened.map_err(|error| error.to_string())?;
        let epoch = found.as_ref().map_or(0, |found| found.epoch);
        let promised = promised_epoch(promises);
        if epoch < promised || epoch > promised + 1 {
            return Err(format!("epoch {promised} was confirmed, {epoch} was found"));
        }
        let run = self.run;
        let bytes = found.as_ref().map(|found| found.to_bytes());
        let hash = self.trained.entry(bytes).or_insert_with(|| {
            let mut state = run.state(found.as_ref()).unwrap();
            let observer = &mut nplus1::train::NoObserver;
            run.train(&mut state, observer).unwrap();
            state.parameters.sha256()
        });
        if *hash != self.uninterrupted {
            return Err(format!("a run resumed from epoch {epoch} has other bits"));
        }
        let model = std::fs::read_to_string(path.join(MODEL)).ok();
        let whole = model.as_ref() == Some(&self.uninterrupted);
        if !whole && (model.is_some() || promises.contains(&Promise::Model)) {
            return Err(format!("the model is {model:?}"));
        }
        Ok(())
    }
}

/// Returns the trace of a run, its promises, and their judge.
fn traced(run: &TinyRun) -> (Trace, Vec<Promise>, RunJudge<'_>) {
    let folder = scratch();
    let promises = Promises::default();
    let trace = Trace::record(folder.path(), &promises, || {
        run.begin(folder.path(), &promises).unwrap();
    });
    let promises = promises.take();
    assert_eq!(promises.len(), 2 + super::EPOCHS, "{promises:?}");
    let judge = RunJudge {
        run,
        uninterrupted: run.uninterrupted(),
        trained: HashMap::new(),
    };
    (trace, promises, judge)
}

#[test]
fn slow_every_state_that_a_loss_of_power_may_leave_of_a_run_continues_to_the_same_bits() {
    let mut states = 0;
    for run in TinyRun::all(false) {
        let (trace, promises, mut judge) = traced(&run);
        let explored = explore(&trace, &promises, Subsets::All, |folder, promises| {
            judge.judge(folder, promises)
        });
        assert_eq!(explored.broken, None, "{:?}", run.optimizer);
        // The start, and each checkpoint.
        assert_eq!(judge.trained.len(), 1 + super::EPOCHS);
        states += explored.states;
    }
    println!("{states} states of runs after a loss of power: 0 checkpoints lost");
    assert!(states >= 10_000, "{states} states");
}

/// Returns the syncs whose loss breaks no promise.
fn needless(
    trace: &Trace,
    promises: &[Promise],
    mut judge: impl FnMut(&Path, &[Promise]) -> Result<(), String>,
) -> Vec<Change> {
    let needless = trace.syncs().into_iter().filter(|&place| {
        let explored = explore(&trace.without(place), promises, Subsets::Few, &mut judge);
        explored.broken.is_none()
    });
    needless
        .map(|place| trace.changes[place].0.clone())
        .collect()
}

#[test]
fn without_any_one_sync_a_loss_of_power_breaks_a_promise_of_a_run() {
    let run = TinyRun::new(OptimizerConfig::Adam(AdamConfig::default()), false);
    let (trace, promises, mut judge) = traced(&run);
    let needless = needless(&trace, &promises, |folder, promises| {
        judge.judge(folder, promises)
    });
    assert!(trace.syncs().len() > 10);
    assert!(needless.is_empty(), "{needless:?}");
}

/// Measures a study of three rows in the new folder `path`.
fn study(path: &Path, environment: &Environment, promises: &Promises) {
    let mut record =
        StudyRecord::create(Some(path), "a", &question(), Some("a = 1\n"), environment).unwrap();
    promises.borrow_mut().push(Promise::Directory);
    for row in 1..=3 {
        record.push(json!({"row": row})).unwrap();
        promises.borrow_mut().push(Promise::Row);
    }
    record.conclude(&json!({"rows": 3}), "# 3\n").unwrap();
    promises.borrow_mut().push(Promise::Model);
}

fn question() -> Question {
    Question::new("cost", &json!({"widths": [1, 2, 3]}))
}

/// Judges what was left of a study.
fn judge_study(
    folder: &Path,
    environment: &Environment,
    promises: &[Promise],
) -> Result<(), String> {
    let path = folder.join("study");
    if !path.exists() && promises.is_empty() {
        return Ok(());
    }
    let record = StudyRecord::<Value>::resume(&path, &question(), Some("a = 1\n"), environment);
    let rows = record.map_err(|error| error.to_string())?.rows().to_vec();
    let expected: Vec<Value> = (1..=rows.len()).map(|row| json!({"row": row})).collect();
    let promised = promises
        .iter()
        .filter(|promise| **promise == Promise::Row)
        .count();
    if rows != expected || rows.len() < promised || rows.len() > promised + 1 {
        return Err(format!("{promised} rows were confirmed, found: {rows:?}"));
    }
    let read = |name: &str| std::fs::read_to_string(path.join(name)).unwrap_or_default();
    let results = read("results.json") + &read("results.md");
    if promises.contains(&Promise::Model) && !results.ends_with("}\n# 3\n") {
        return Err(format!("the results are {results:?}"));
    }
    Ok(())
}

#[test]
fn every_state_that_a_loss_of_power_may_leave_of_a_study_has_its_rows() {
    let environment = Environment::detect("portable", 2);
    let folder = scratch();
    let promises = Promises::default();
    let trace = Trace::record(folder.path(), &promises, || {
        study(&folder.path().join("study"), &environment, &promises);
    });
    let promises = promises.take();
    let mut judge =
        |folder: &Path, promises: &[Promise]| judge_study(folder, &environment, promises);
    let explored = explore(&trace, &promises, Subsets::All, &mut judge);
    println!(
        "{} states of a study after a loss of power: 0 rows lost",
        explored.states
    );
    assert_eq!(explored.broken, None);
    // The sync of each row is needed.
    for row in (0..promises.len()).filter(|&promise| promises[promise] == Promise::Row) {
        let of_row = |place: &usize| trace.changes[*place].1 == row;
        let sync = trace.syncs().into_iter().rfind(of_row);
        let without = trace.without(sync.expect("a sync before each row is confirmed"));
        let explored = explore(&without, &promises, Subsets::Few, &mut judge);
        assert!(explored.broken.is_some(), "the sync of row {row}");
    }
}
