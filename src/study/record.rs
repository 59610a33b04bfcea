//! The directory of a study, `studies/NAME/NNN/`, up to date after every row.
//!
//! | file | content |
//! |---|---|
//! | `study.json` | the kind of the study and its arguments |
//! | `config.toml` | the resolved config, if there is one |
//! | `environment.json` | program and machine, as in a run's directory |
//! | `rows.jsonl`, `rows.csv` | one line per row, written as soon as the row is measured |
//! | `results.json`, `results.md` | the complete results, written at the end |
//!
//! An interrupted study continues after the rows it has. Refused: to continue it with other
//! arguments, another config, another version, or on another machine, because its rows would not be
//! comparable.

use std::fmt;
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

/// Size limit of a study's files that are read back, in bytes, except for its rows.
const CAP: u64 = 1 << 20;

/// The question of a study; studies with equal questions measure the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// The kind of the study: `cost`, `race`, ….
    pub study: String,
    /// Its arguments, with all defaults filled in.
    pub arguments: Value,
}

impl Question {
    /// Creates the question of the kind `study` with `arguments`.
    pub fn new(study: &str, arguments: &impl Serialize) -> Self {
        Self {
            study: study.to_owned(),
            arguments: serde_json::to_value(arguments)
                .expect("arguments have string keys and no failing serializer"),
        }
    }
}

/// The directory of a study, locked until this value is dropped, and its rows.
#[derive(Debug)]
pub struct StudyRecord<T> {
    directory: RunDirectory,
    log: Metrics,
    rows: Vec<T>,
    environment: Environment,
    on_row: RowObserver<T>,
}

/// What is called with each new row.
struct RowObserver<T>(Box<dyn FnMut(&T) + Send>);

impl<T> fmt::Debug for RowObserver<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RowObserver")
    }
}

impl<T: Serialize + DeserializeOwned> StudyRecord<T> {
    /// Continues the study in `resume`, or starts one as [`StudyRecord::create`] does.
    ///
    /// # Errors
    /// The errors of [`StudyRecord::resume`] and [`StudyRecord::create`].
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

    /// Starts a study in `out`, or in the next number of `studies/NAME`.
    ///
    /// # Errors
    /// [`Error::InUse`] if `out` has a run or a study; errors of the operating system.
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
        // Written last, so that a directory with a question has all files that belong to it.
        files.push((STUDY, json::document(question).into_bytes()));
        let directory = match out {
            Some(out) => RunDirectory::create_at(out, &files)?,
            None => RunDirectory::create_numbered(Path::new("studies"), name, &files)?,
        };
        Self::open(directory, Vec::new(), environment)
    }

    /// Continues the study in `path`.
    ///
    /// # Errors
    /// A folder without a study; another question, config, version or machine than at its start;
    /// [`Error::InUse`] if it is running.
    pub fn resume(
        path: &Path,
        question: &Question,
        config: Option<&str>,
        environment: &Environment,
    ) -> Result<Self> {
        let begun = read_question(path)?;
        let directory = RunDirectory::open(path)?;
        let mut differences = Vec::new();
        compare_texts("study", &begun.study, &question.study, &mut differences);
        compare_fields(&begun.arguments, &question.arguments, &mut differences);
        if let Some(config) = config {
            let begun_config = read_text(&directory.file(CONFIG))?;
            compare_lines(&begun_config, config, &mut differences);
        }
        let begun_on: Environment = read_json(&directory.file(ENVIRONMENT))?;
        let machine = |environment: &Environment| {
            serde_json::json!({
                "version": environment.version,
                "cpu": environment.cpu,
                "kernel": environment.kernel,
                "threads": environment.threads,
            })
        };
        compare_fields(&machine(&begun_on), &machine(environment), &mut differences);
        if !differences.is_empty() {
            return Err(Error::refused(
                path,
                format!(
                    "this study was begun with other settings, so its rows would not be comparable:\n    {}",
                    differences.join("\n    ")
                ),
            )
            .help("use the same settings, or omit --resume to start a new study"));
        }
        let rows = metrics::read_log(&directory.file(ROWS_JSONL))?.records;
        Self::open(directory, rows, environment)
    }

    fn open(directory: RunDirectory, rows: Vec<T>, environment: &Environment) -> Result<Self> {
        let log = Metrics::start_as(directory.path(), [ROWS_JSONL, ROWS_CSV], &rows)?;
        Ok(Self {
            directory,
            log,
            rows,
            environment: environment.clone(),
            on_row: RowObserver(Box::new(|_| {})),
        })
    }

    /// Returns the path of the study's directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Returns the path of the study's directory as text.
    pub fn label(&self) -> String {
        self.path().display().to_string()
    }

    /// Returns the program and the machine.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Returns the rows so far.
    pub fn rows(&self) -> &[T] {
        &self.rows
    }

    /// Calls `on_row` with each row from now on, when it is on disk.
    pub fn observe(&mut self, on_row: impl FnMut(&T) + Send + 'static) {
        self.on_row = RowObserver(Box::new(on_row));
    }

    /// Adds a row and writes it to disk.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn push(&mut self, row: T) -> Result<()> {
        self.log.append(&row)?;
        self.log.sync()?;
        (self.on_row.0)(&row);
        self.rows.push(row);
        Ok(())
    }

    /// Removes the rows for which `keep` returns false, also on disk.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) -> Result<()> {
        let all = self.rows.len();
        self.rows.retain(keep);
        if self.rows.len() < all {
            let names = [ROWS_JSONL, ROWS_CSV];
            self.log = Metrics::start_as(self.directory.path(), names, &self.rows)?;
        }
        Ok(())
    }

    /// Writes the results of the study: `results.json` and `results.md`.
    ///
    /// # Errors
    /// Errors of the operating system.
    pub fn conclude(&self, results: &impl Serialize, markdown: &str) -> Result<()> {
        self.directory
            .write(RESULTS, json::document(results).as_bytes())?;
        self.directory.write(RESULTS_MARKDOWN, markdown.as_bytes())
    }

    /// Returns the error for a study that a signal interrupted and whose rows are kept.
    pub fn interrupted(&self, code: u8) -> Error {
        Error::Interrupted {
            code,
            saved: Some(self.path().to_path_buf()),
        }
    }
}

/// Reads the question of the study in `path`.
///
/// # Errors
/// A folder without a study; a question that cannot be read.
pub fn read_question(path: &Path) -> Result<Question> {
    let file = path.join(STUDY);
    if file_type(&file)?.is_none() {
        return Err(Error::refused(path, "no study in this folder")
            .help("give the directory of a study, such as studies/mnist-30/001"));
    }
    read_json(&file)
}

/// Returns the path of the config, and the plan, with which the study of `kind` in `path` was
/// begun.
///
/// # Errors
/// A folder without a study, or with a study of another kind or a plan of another version.
pub fn read_plan<P: DeserializeOwned>(path: &Path, kind: &str) -> Result<(PathBuf, P)> {
    let question = read_question(path)?;
    let refused = |problem: String| {
        Error::refused(path, format!("is not a study of kind `{kind}`: {problem}"))
            .help("continue it with the command that began it")
    };
    if question.study != kind {
        return Err(refused(format!("its kind is `{}`", question.study)));
    }
    let plan = json::from_value(question.arguments).map_err(|error| refused(error.to_string()))?;
    Ok((config_of(path), plan))
}

/// Returns the path of the config with which the study in `path` was begun.
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

/// Adds a line to `differences` if `begun` and `now` differ.
fn compare_texts(name: &str, begun: &str, now: &str, differences: &mut Vec<String>) {
    if begun != now {
        differences.push(format!("{name}: begun with {begun}, now {now}"));
    }
}

/// Adds a line to `differences` for each field that differs between two objects.
fn compare_fields(begun: &Value, now: &Value, differences: &mut Vec<String>) {
    let (Value::Object(begun), Value::Object(now)) = (begun, now) else {
        return compare_texts(
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
        compare_texts(
            name,
            &shown(begun.get(name)),
            &shown(now.get(name)),
            differences,
        );
    }
}

/// Adds a line to `differences` for each line of a config that changed.
fn compare_lines(begun: &str, now: &str, differences: &mut Vec<String>) {
    let only = |of: &str, other: &str| -> Vec<String> {
        let missing = of.lines().filter(|line| !other.lines().any(|o| o == *line));
        missing.map(str::to_owned).collect()
    };
    let (before, after) = (only(begun, now), only(now, begun));
    for place in 0..before.len().max(after.len()) {
        let line = |lines: &[String]| lines.get(place).cloned().unwrap_or("nothing".to_owned());
        compare_texts("config", &line(&before), &line(&after), differences);
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
    fn rows_are_written_before_the_study_ends_and_are_kept_on_resume() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let mut record = begin(&path);
        record.push(json!({"n": 1, "x": 0.5})).unwrap();
        let lines = std::fs::read_to_string(path.join(ROWS_JSONL)).unwrap();
        assert_eq!(lines, "{\"n\":1,\"x\":0.5}\n");
        drop(record);
        // Simulates a crash in the middle of a line.
        std::fs::write(path.join(ROWS_JSONL), format!("{lines}{{\"n\":2,")).unwrap();
        let question = read_question(&path).unwrap();
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
    fn a_study_is_resumed_only_with_the_same_settings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        drop(begin(&path));
        let same = read_question(&path).unwrap();
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
