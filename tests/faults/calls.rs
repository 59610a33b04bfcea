//! Every call that changes a file is killed and failed in turn, for n = 1, 2, … until none is left:
//! a run is resumed to the bits of the uninterrupted one, a study has its rows, and a file that is
//! replaced has its old content or the new.

use std::cell::Cell;
use std::io;
use std::path::Path;
use std::rc::Rc;

use ndarray::array;
use nplus1::error::{Error, Result};
use nplus1::format::disk::{Call, Fate, watch};
use nplus1::format::export::ExportFormat;
use nplus1::format::file::is_temporary;
use nplus1::optimizer::OptimizerConfig;
use nplus1::optimizer::adam::AdamConfig;
use nplus1::run::Environment;
use nplus1::study::record::{Question, StudyRecord};
use nplus1::{Dataset, Model, Trainer};
use serde_json::{Value, json};

use super::{Promises, TinyRun, promised_epoch, scratch, tree};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// The process is killed before it: no later call is made.
    Killed,
    /// The process is killed when half of a write is done.
    KilledInside,
    /// It is not made, and fails with this error.
    Error(i32),
    /// It is made, and fails with this error.
    ErrorAfter(i32),
    /// Half of a write is done, and the rest fails with this error.
    ErrorInside(i32),
    /// A signal interrupts it.
    Interrupted,
    /// A write takes only so many bytes.
    Short(usize),
}

impl Fault {
    const ALL: [Self; 11] = [
        Self::Killed,
        Self::KilledInside,
        Self::Error(libc::EIO),
        Self::Error(libc::ENOSPC),
        Self::Error(libc::EROFS),
        Self::ErrorAfter(libc::EIO),
        Self::ErrorInside(libc::ENOSPC),
        Self::ErrorInside(libc::EIO),
        Self::Interrupted,
        Self::Short(1),
        Self::Short(200),
    ];

    /// Returns whether the program cannot notice it.
    fn is_harmless(self) -> bool {
        matches!(self, Self::Interrupted | Self::Short(_))
    }

    /// Returns the watcher that lets it happen to the calls numbered `at` (from 1), and the number
    /// of calls so far.
    fn watcher(self, at: Vec<usize>) -> (impl FnMut(&Call<'_>) -> Fate + 'static, Rc<Cell<usize>>) {
        let calls = Rc::new(Cell::new(0));
        let counter = Rc::clone(&calls);
        let mut dead = false;
        let mut fails_next = None;
        let watcher = move |call: &Call<'_>| {
            if dead {
                return Fate::Fail(io::Error::other("the process has been killed"));
            }
            if let Some(code) = fails_next.take() {
                return Fate::Fail(io::Error::from_raw_os_error(code));
            }
            counter.set(counter.get() + 1);
            if !at.contains(&counter.get()) {
                return Fate::Make;
            }
            let half = match call {
                Call::Write(_, bytes) => bytes.len() / 2,
                _ => 0,
            };
            match self {
                Self::Killed => {
                    dead = true;
                    Fate::Fail(io::Error::other("the process has been killed"))
                }
                Self::KilledInside => {
                    dead = true;
                    Fate::Shorten(half)
                }
                Self::Error(code) => Fate::Fail(io::Error::from_raw_os_error(code)),
                Self::ErrorAfter(code) => Fate::FailAfter(io::Error::from_raw_os_error(code)),
                Self::ErrorInside(code) if matches!(call, Call::Write(..)) => {
                    fails_next = Some(code);
                    Fate::Shorten(half)
                }
                Self::ErrorInside(code) => Fate::Fail(io::Error::from_raw_os_error(code)),
                Self::Interrupted => Fate::Fail(io::ErrorKind::Interrupted.into()),
                Self::Short(bytes) => Fate::Shorten(bytes),
            }
        };
        (watcher, calls)
    }
}

/// Lets `fault` happen to each call of `work` in turn, each time in a new folder, and asks `judge`
/// for a verdict on the folder; returns the number of calls. A fault that is reported must be
/// [`Error::Io`], and must leave no temporary file.
fn each_call(
    fault: Fault,
    mut work: impl FnMut(&Path) -> Result<()>,
    mut judge: impl FnMut(&Path, bool),
) -> usize {
    for at in 1.. {
        let folder = scratch();
        let (watcher, calls) = fault.watcher(vec![at]);
        let result = watch(watcher, || work(folder.path()));
        if calls.get() < at {
            result.unwrap();
            return calls.get();
        }
        if fault.is_harmless() {
            result
                .as_ref()
                .unwrap_or_else(|error| panic!("{fault:?} of call {at}: {error}"));
        }
        if matches!(fault, Fault::Error(_) | Fault::ErrorInside(_)) {
            let error = result.as_ref().unwrap_err();
            assert_eq!(error.exit_code(), 8, "{fault:?} of call {at}: {error}");
            assert_no_temporaries(folder.path(), &format!("{fault:?} of call {at}"));
        }
        judge(folder.path(), result.is_ok());
    }
    unreachable!("some call is the last")
}

fn assert_no_temporaries(folder: &Path, fault: &str) {
    let is_left = |path: &std::path::PathBuf| path.file_name().is_some_and(is_temporary);
    let left: Vec<_> = tree(folder).into_iter().filter(is_left).collect();
    assert!(left.is_empty(), "{fault}: {left:?}");
}

#[test]
fn slow_every_call_of_a_run_killed_or_failed_in_turn_loses_no_checkpoint() {
    let mut faults = 0;
    for run in TinyRun::all(true) {
        let uninterrupted = run.uninterrupted();
        for fault in Fault::ALL {
            let promises = Promises::default();
            let calls = each_call(
                fault,
                |folder| {
                    promises.take();
                    run.begin(folder, &promises)
                },
                |folder, _| {
                    let promised = promised_epoch(&promises.borrow());
                    let (hash, epoch) = run.resume(folder).unwrap();
                    assert_eq!(hash, uninterrupted, "{fault:?}");
                    assert!(
                        epoch >= promised,
                        "{fault:?}: {promised} was saved, not {epoch}"
                    );
                    assert_no_temporaries(&folder.join("tiny/001"), &format!("{fault:?}"));
                },
            );
            assert!(calls > 40, "{calls} calls");
            faults += calls;
        }
    }
    println!("{faults} faults, one in each call of a run: 0 checkpoints lost");
}

#[test]
fn slow_any_two_calls_of_a_run_failed_lose_no_checkpoint() {
    let run = TinyRun::new(OptimizerConfig::Adam(AdamConfig::default()), true);
    let uninterrupted = run.uninterrupted();
    let mut faults = 0;
    for first in 1.. {
        for second in first + 1.. {
            let folder = scratch();
            let promises = Promises::default();
            let (watcher, calls) = Fault::Error(libc::EIO).watcher(vec![first, second]);
            let result = watch(watcher, || run.begin(folder.path(), &promises));
            if calls.get() < first {
                println!("{faults} pairs of faults: 0 checkpoints lost");
                return result.unwrap();
            }
            // The program ends at the first, so few calls come after it.
            if calls.get() < second {
                break;
            }
            faults += 1;
            assert_eq!(result.unwrap_err().exit_code(), 8);
            let (hash, epoch) = run.resume(folder.path()).unwrap();
            assert_eq!(hash, uninterrupted);
            assert!(epoch >= promised_epoch(&promises.borrow()));
        }
    }
}

/// Returns a model of two inputs that was trained from `seed`.
fn model(seed: u64, folder: &Path) -> Model {
    let x = array![[5.1, 3.5], [4.9, 3.0], [7.0, 3.2], [6.4, 3.2]];
    let data = Dataset::from_arrays(x.view(), &["a", "a", "b", "b"]).unwrap();
    let trainer = Trainer::new().hidden([3]).epochs(1).seed(seed).threads(1);
    let path = folder.join("model.safetensors");
    trainer.fit(&data).unwrap().save(&path).unwrap();
    Model::load(&path).unwrap()
}

#[test]
fn a_model_or_an_export_has_its_old_content_or_the_new_whichever_call_fails() {
    let folder = scratch();
    let (old, new) = (model(1, folder.path()), model(2, folder.path()));
    for (name, format) in ExportFormat::ALL {
        let whole = |model: &Model| {
            let path = folder.path().join(name);
            model.export(&path, format).unwrap();
            std::fs::read(&path).unwrap()
        };
        let (before, after) = (whole(&old), whole(&new));
        assert_ne!(before, after, "{name}");
        for fault in Fault::ALL {
            let calls = each_call(
                fault,
                |folder| {
                    std::fs::write(folder.join(name), &before).unwrap();
                    new.export(folder.join(name), format)
                },
                |folder, succeeded| {
                    let found = std::fs::read(folder.join(name)).unwrap();
                    let whole = found == after || found == before && !succeeded;
                    assert!(whole, "{name}: {fault:?}: {} bytes", found.len());
                },
            );
            assert!(calls >= 5, "{calls}");
        }
    }
}

/// Begins a study in `path`, measures three rows and concludes it.
fn study(path: &Path, environment: &Environment, confirmed: &Cell<usize>) -> Result<()> {
    let mut record = begin(path, environment)?;
    for row in 1..=3 {
        record.push(json!({"row": row}))?;
        confirmed.set(row);
    }
    record.conclude(&json!({"rows": 3}), "# 3\n")
}

fn question() -> Question {
    Question::new("cost", &json!({"widths": [1, 2, 3]}))
}

fn begin(path: &Path, environment: &Environment) -> Result<StudyRecord<Value>> {
    StudyRecord::create(Some(path), "a", &question(), Some("a = 1\n"), environment)
}

#[test]
fn a_study_has_every_row_whichever_call_is_killed_or_fails() {
    let environment = Environment::detect("portable", 2);
    let resume = |path: &Path| {
        StudyRecord::<Value>::resume(path, &question(), Some("a = 1\n"), &environment)
    };
    let mut faults = 0;
    for fault in Fault::ALL {
        for exists in [false, true] {
            let confirmed = Cell::new(0);
            faults += each_call(
                fault,
                |folder| {
                    confirmed.set(0);
                    let path = folder.join("study");
                    if exists {
                        std::fs::create_dir(&path).unwrap();
                        std::fs::write(path.join("notes.txt"), "mine").unwrap();
                    }
                    study(&path, &environment, &confirmed)
                },
                |folder, _| {
                    let path = folder.join("study");
                    let resumed = match resume(&path) {
                        // Nothing was measured, so the folder is as good as new.
                        Err(Error::Refused(_)) if confirmed.get() == 0 => {
                            begin(&path, &environment)
                        }
                        resumed => resumed,
                    };
                    let rows = resumed
                        .unwrap_or_else(|error| panic!("{fault:?}: {error}"))
                        .rows()
                        .to_vec();
                    let expected: Vec<Value> =
                        (1..=rows.len()).map(|row| json!({"row": row})).collect();
                    assert_eq!(rows, expected);
                    let (least, most) = (confirmed.get(), confirmed.get() + 1);
                    assert!((least..=most).contains(&rows.len()), "{fault:?}: {rows:?}");
                    assert!(!exists || super::text(&path.join("notes.txt")) == "mine");
                },
            );
        }
    }
    println!("{faults} faults, one in each call of a study: 0 rows lost");
}

/// Calls that change files or folders.
const CHANGES: [&str; 15] = [
    "fs::create_dir",
    "fs::remove_",
    "fs::rename(",
    "fs::write(",
    "fs::copy(",
    "File::create",
    "DirBuilder::new(",
    ".create_new(",
    ".set_len(",
    ".sync_all(",
    ".sync_data(",
    ".tempfile",
    ".tempdir",
    ".persist",
    "tempfile::tempdir",
];

#[test]
fn files_are_changed_in_one_place_in_which_each_call_can_fail() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = 0;
    for path in tree(&sources) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = super::text(&path);
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        for call in CHANGES.iter().filter(|call| code.contains(**call)) {
            let allowed = path.ends_with("src/format/disk.rs");
            assert!(allowed, "{} calls {call}", path.display());
            found += 1;
        }
    }
    assert!(found > 5, "{found} calls were found");
}
