//! What a study leaves behind: `studies/NAME/NNN/`, complete after every row.
//!
//! | file | what it holds |
//! |---|---|
//! | `study.json` | which study, and what was asked |
//! | `config.toml` | the resolved config, if there is one |
//! | `environment.json` | program and machine, as in a run's directory |
//! | `rows.jsonl`, `rows.csv` | a line a row, written as soon as the row is there |
//! | `results.json`, `results.md` | the whole, at the end |
//!
//! A study that was interrupted goes on with the rows it has. Refused: to go on with other
//! arguments, another config, or on another machine, because its rows would not belong together.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::format::file::read_capped;
use crate::open::file_type;
use crate::run::directory::{
    CONFIG, ENVIRONMENT, RESULTS, RESULTS_MARKDOWN, ROWS_CSV, ROWS_JSONL, STUDY,
};
use crate::run::{Environment, Metrics, RunDirectory, json, metrics};

/// Largest file of a study that is read back, but for its rows.
const CAP: u64 = 1 << 20;

/// What was asked of a study: two that are equal have the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The study's kind: `cost`, `race`, ….
    pub study: String,
    /// Its arguments, every default filled in.
    pub arguments: Value,
}

impl Question {
    /// `arguments` of a `study`.
    pub fn new(study: &str, arguments: &impl Serialize) -> Self {
        Self {
            study: study.to_owned(),
            arguments: serde_json::to_value(arguments)
                .expect("arguments have string keys and no failing serializer"),
        }
    }
}

/// A study's directory, locked for as long as this lives, and the rows in it.
#[derive(Debug)]
pub struct StudyRecord<T> {
    directory: RunDirectory,
    log: Metrics,
    rows: Vec<T>,
}

impl<T: Serialize + DeserializeOwned> StudyRecord<T> {
    /// Goes on with the study in `resume`, or starts one as [`StudyRecord::create`] does.
    ///
    /// # Errors
    /// As [`StudyRecord::resume`] and [`StudyRecord::create`].
    pub fn begin(
        resume: Option<&Path>,
        out: Option<&Path>,
        name: &str,
        question: &Question,
        config: Option<&str>,
        environment: &Environment,
    ) -> Result<Self> {
        match resume {
            Some(path) => Self::resume(path, question, config, environment),
            None => Self::create(out, name, question, config, environment),
        }
    }

    /// Starts a study in `out`, or in the next of `studies/NAME`.
    ///
    /// # Errors
    /// [`Error::InUse`] if something is in `out`; whatever the operating system refuses.
    pub fn create(
        out: Option<&Path>,
        name: &str,
        question: &Question,
        config: Option<&str>,
        environment: &Environment,
    ) -> Result<Self> {
        let mut files = Vec::new();
        if let Some(config) = config {
            files.push((CONFIG, config.into()));
        }
        files.push((ENVIRONMENT, json::document(environment).into_bytes()));
        // Last, so that a directory with a question has all that belongs to it.
        files.push((STUDY, json::document(question).into_bytes()));
        let directory = match out {
            Some(out) => RunDirectory::create_at(out, &files)?,
            None => RunDirectory::create_numbered(Path::new("studies"), name, &files)?,
        };
        Self::open(directory, Vec::new())
    }

    /// Goes on with the study in `path`.
    ///
    /// # Errors
    /// A folder without a study; another question, config or machine than it was begun with;
    /// [`Error::InUse`] if it is running.
    pub fn resume(
        path: &Path,
        question: &Question,
        config: Option<&str>,
        environment: &Environment,
    ) -> Result<Self> {
        let begun = asked(path)?;
        let directory = RunDirectory::open(path)?;
        let mut differences = Vec::new();
        differing("study", &begun.study, &question.study, &mut differences);
        differing_fields(&begun.arguments, &question.arguments, &mut differences);
        if let Some(config) = config {
            let held = read_text(&directory.file(CONFIG))?;
            differing_lines(&held, config, &mut differences);
        }
        let held: Environment = read_json(&directory.file(ENVIRONMENT))?;
        let machine = |environment: &Environment| {
            serde_json::json!({
                "version": environment.version,
                "cpu": environment.cpu,
                "kernel": environment.kernel,
                "threads": environment.threads,
            })
        };
        differing_fields(&machine(&held), &machine(environment), &mut differences);
        if !differences.is_empty() {
            return Err(Error::refused(
                path,
                format!(
                    "this study was begun otherwise, and its rows would not belong together:\n    {}",
                    differences.join("\n    ")
                ),
            )
            .help("ask as it was begun, or leave --resume out to start anew"));
        }
        let rows = metrics::read_log(&directory.file(ROWS_JSONL))?.records;
        Self::open(directory, rows)
    }

    fn open(directory: RunDirectory, rows: Vec<T>) -> Result<Self> {
        let log = Metrics::start_as(directory.path(), [ROWS_JSONL, ROWS_CSV], &rows)?;
        Ok(Self {
            directory,
            log,
            rows,
        })
    }

    /// The study's directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// The rows so far.
    pub fn rows(&self) -> &[T] {
        &self.rows
    }

    /// Writes a row down.
    ///
    /// # Errors
    /// Whatever the operating system refuses.
    pub fn push(&mut self, row: T) -> Result<()> {
        self.log.append(&row)?;
        self.rows.push(row);
        Ok(())
    }

    /// Forgets the rows that `keep` does not want, on disk as well: they will be made again.
    ///
    /// # Errors
    /// Whatever the operating system refuses.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) -> Result<()> {
        let all = self.rows.len();
        self.rows.retain(keep);
        if self.rows.len() < all {
            let names = [ROWS_JSONL, ROWS_CSV];
            self.log = Metrics::start_as(self.directory.path(), names, &self.rows)?;
        }
        Ok(())
    }

    /// Writes what the study came to: `results.json` and `results.md`.
    ///
    /// # Errors
    /// Whatever the operating system refuses.
    pub fn conclude(&self, results: &impl Serialize, markdown: &str) -> Result<()> {
        self.directory
            .write(RESULTS, json::document(results).as_bytes())?;
        self.directory.write(RESULTS_MARKDOWN, markdown.as_bytes())
    }

    /// The error of a study that a signal ended, with its rows kept.
    pub fn interrupted(&self, code: u8) -> Error {
        Error::Interrupted {
            code,
            saved: Some(self.path().to_path_buf()),
        }
    }
}

/// What the study in `path` was asked.
///
/// # Errors
/// A folder without a study.
pub fn asked(path: &Path) -> Result<Question> {
    let file = path.join(STUDY);
    if file_type(&file)?.is_none() {
        return Err(Error::refused(path, "no study in this folder")
            .help("give the directory of a study, such as studies/mnist-30/001"));
    }
    read_json(&file)
}

/// The config's file and the plan that the study in `path`, one of `kind`, was begun with.
///
/// # Errors
/// A folder without a study, or with one of another kind or another version's plan.
pub fn begun<P: DeserializeOwned>(path: &Path, kind: &str) -> Result<(PathBuf, P)> {
    let question = asked(path)?;
    let refused = |problem: String| {
        Error::refused(path, format!("is no study of kind `{kind}`: {problem}"))
            .help("go on with the command that began it")
    };
    if question.study != kind {
        return Err(refused(format!("it is one of `{}`", question.study)));
    }
    let plan = json::from_value(question.arguments).map_err(|error| refused(error.to_string()))?;
    Ok((config_of(path), plan))
}

/// The config that the study in `path` was begun with.
pub fn config_of(path: &Path) -> PathBuf {
    path.join(CONFIG)
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = read_capped(path, CAP)?;
    String::from_utf8(bytes).map_err(|_| Error::refused(path, "is not UTF-8 text"))
}

fn read_json<D: DeserializeOwned>(path: &Path) -> Result<D> {
    json::parse(&read_text(path)?)
        .map_err(|error| Error::refused(path, format!("cannot be read: {error}")))
}

fn differing(name: &str, begun: &str, now: &str, differences: &mut Vec<String>) {
    if begun != now {
        differences.push(format!("{name}: begun with {begun}, now {now}"));
    }
}

/// The fields of one object that another has otherwise.
fn differing_fields(begun: &Value, now: &Value, differences: &mut Vec<String>) {
    let (Value::Object(begun), Value::Object(now)) = (begun, now) else {
        return differing(
            "arguments",
            &begun.to_string(),
            &now.to_string(),
            differences,
        );
    };
    let mut names: Vec<&String> = begun.keys().chain(now.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let shown = |value: Option<&Value>| value.map_or("nothing".to_owned(), Value::to_string);
        differing(
            name,
            &shown(begun.get(name)),
            &shown(now.get(name)),
            differences,
        );
    }
}

/// The lines of a config that changed.
fn differing_lines(begun: &str, now: &str, differences: &mut Vec<String>) {
    let only = |of: &str, other: &str| -> Vec<String> {
        let missing = of.lines().filter(|line| !other.lines().any(|o| o == *line));
        missing.map(str::to_owned).collect()
    };
    let (before, after) = (only(begun, now), only(now, begun));
    for place in 0..before.len().max(after.len()) {
        let line = |lines: &[String]| lines.get(place).cloned().unwrap_or("nothing".to_owned());
        differing("config", &line(&before), &line(&after), differences);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn environment() -> Environment {
        Environment::detect("portable", 2)
    }

    fn begin(path: &Path) -> StudyRecord<Value> {
        let question = Question::new("cost", &json!({"widths": [1, 2]}));
        StudyRecord::create(Some(path), "a", &question, Some("a = 1\n"), &environment()).unwrap()
    }

    #[test]
    fn rows_are_on_disk_before_the_study_ends_and_are_kept_by_a_resumed_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut record = begin(&path);
        record.push(json!({"n": 1, "x": 0.5})).unwrap();
        let lines = std::fs::read_to_string(path.join(ROWS_JSONL)).unwrap();
        assert_eq!(lines, "{\"n\":1,\"x\":0.5}\n");
        drop(record);
        // A crash in the middle of a line.
        std::fs::write(path.join(ROWS_JSONL), format!("{lines}{{\"n\":2,")).unwrap();
        let question = asked(&path).unwrap();
        let mut record: StudyRecord<Value> =
            StudyRecord::resume(&path, &question, Some("a = 1\n"), &environment()).unwrap();
        assert_eq!(record.rows(), [json!({"n": 1, "x": 0.5})]);
        record.push(json!({"n": 2, "x": 1.5})).unwrap();
        record.conclude(&json!({"rows": 2}), "# a\n").unwrap();
        let csv = std::fs::read_to_string(path.join(ROWS_CSV)).unwrap();
        assert_eq!(csv, "n,x\n1,0.5\n2,1.5\n");
        assert!(path.join(RESULTS).exists() && path.join(RESULTS_MARKDOWN).exists());
    }

    #[test]
    fn a_study_goes_on_only_as_it_was_begun() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(begin(&path));
        let same = asked(&path).unwrap();
        let other = Question::new("cost", &json!({"widths": [1, 4]}));
        let kind = Question::new("race", &same.arguments);
        let mut machine = environment();
        machine.threads = 3;
        for (question, config, environment, named) in [
            (
                &other,
                "a = 1\n",
                environment(),
                "widths: begun with [1,2], now [1,4]",
            ),
            (
                &kind,
                "a = 1\n",
                environment(),
                "study: begun with cost, now race",
            ),
            (
                &same,
                "a = 2\n",
                environment(),
                "config: begun with a = 1, now a = 2",
            ),
            (&same, "a = 1\n", machine, "threads: begun with 2, now 3"),
        ] {
            let refused = StudyRecord::<Value>::resume(&path, question, Some(config), &environment);
            let refused = refused.unwrap_err();
            assert_eq!(refused.exit_code(), 2);
            assert!(refused.to_string().contains(named), "{refused}");
        }
        let none = StudyRecord::<Value>::resume(folder.path(), &same, None, &environment());
        assert!(none.unwrap_err().to_string().contains("no study"));
    }

    #[test]
    fn a_directory_with_a_study_in_it_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(begin(&path));
        assert_eq!(
            RunDirectory::create_at(&path, &[]).unwrap_err().exit_code(),
            6
        );
    }
}
