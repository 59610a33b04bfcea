//! The source of a page: the files of a run or of a study.
//!
//! A file that is missing, damaged or of a newer version never prevents the page: its content is left
//! out, and a note describes the problem. Refused are a folder that has neither a run nor a study,
//! and a study whose question or plan cannot be read.

use std::fs::DirEntry;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::page::Origin;
use crate::error::{Error, Result};
use crate::format::file::read_capped;
use crate::open::{self, file_type};
use crate::run::directory::{
    CONFIG, ENVIRONMENT, METRICS_JSONL, RESULTS, ROWS_JSONL, STUDY, SUMMARY,
};
use crate::run::{Environment, checkpoint, json, metrics};
use crate::study::lbfgs_precision::{LbfgsPlan, MinimizationRow};
use crate::study::table::counted;
use crate::study::{cost, least_squares, race, record, scaling, sweep};

/// Size limit of the files that are read, in bytes; logs have a limit of their own.
const CAP: u64 = 64 << 20;

/// A directory and its content.
#[derive(Debug)]
pub struct ReportSource {
    /// The content common to all directories.
    pub common: CommonContent,
    /// The content that depends on the kind of run or study.
    pub content: Content,
}

/// The content common to the directories of runs and studies.
#[derive(Debug)]
pub struct CommonContent {
    /// The directory.
    pub path: PathBuf,
    /// The label in tables and figures: the path where it was made if its files record it, else the
    /// path that the user gave.
    pub label: String,
    /// The resolved config.
    pub config: Option<String>,
    /// The program and the machine.
    pub environment: Option<Environment>,
    /// The problems with the files.
    pub notes: Vec<String>,
}

/// A run, or a study with its plan and rows.
#[derive(Debug)]
pub enum Content {
    /// A run.
    Run,
    /// A cross-validation, with one run per fold.
    Folds(Vec<ReportSource>),
    /// `nplus1 cost`.
    Cost(Vec<cost::CostRow>),
    /// `nplus1 cost llsq`.
    LeastSquares(Vec<least_squares::LeastSquaresRow>),
    /// `nplus1 race`.
    Race(race::RacePlan, Vec<race::RaceRow>, StudyConclusion),
    /// `nplus1 scale`.
    Scale(
        scaling::ScalingPlan,
        Vec<scaling::ScalingSample>,
        StudyConclusion,
    ),
    /// `nplus1 check --sweep`.
    Accuracy(Vec<sweep::SweepRow>),
    /// `nplus1 explain lbfgs`.
    Lbfgs(LbfgsPlan, Vec<MinimizationRow>),
}

/// The part of `results.json` that cannot be computed from the rows; empty if the study has not
/// ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StudyConclusion {
    /// The part of the data on which a race measures accuracy: `validation` or `test`.
    pub judged: Option<String>,
    /// The reasons why the results of a scaling study are doubtful.
    pub warnings: Option<Vec<String>>,
}

impl StudyConclusion {
    /// Returns the name of the part of the data on which accuracies are measured.
    pub fn part(&self) -> &str {
        self.judged.as_deref().unwrap_or("held-out")
    }
}

impl ReportSource {
    /// Reads the directory `path`.
    ///
    /// # Errors
    /// A folder that is missing, or has neither a run nor a study; a study whose plan cannot be
    /// read.
    pub fn read(path: &Path) -> Result<Self> {
        match file_type(path)? {
            Some(kind) if kind.is_dir() => {}
            Some(kind) => {
                let kind = open::kind_name(kind);
                let problem = format!("is {kind}, not the directory of a run or a study");
                return Err(not_a_result(path, &problem));
            }
            None => return Err(not_a_result(path, "no such folder")),
        }
        let exists = |name: &str| Ok::<_, Error>(file_type(&path.join(name))?.is_some());
        let mut common = CommonContent::read(path);
        let content = if exists(STUDY)? {
            read_study(&mut common)?
        } else if exists(ROWS_JSONL)? {
            return Err(Error::refused(
                path,
                format!("this folder has the rows of a study, but no {STUDY} that describes it"),
            )
            .help("give the complete directory of a study"));
        } else if let Some(folds) = read_folds(&mut common)? {
            Content::Folds(folds)
        } else if exists(SUMMARY)?
            || exists(METRICS_JSONL)?
            || exists(CONFIG)?
            || has_checkpoint(path)?
        {
            Content::Run
        } else {
            return Err(not_a_result(
                path,
                "neither a run nor a study in this folder",
            ));
        };
        Ok(Self { common, content })
    }
}

impl ReportSource {
    /// Returns the kind of the run or study, in a few words.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Run => "Training run",
            Content::Folds(_) => "Cross-validation",
            Content::Cost(_) => "Cost of a gradient",
            Content::LeastSquares(_) => "Cost of a derivative",
            Content::Race(..) => "Race",
            Content::Scale(..) => "Thread scaling",
            Content::Accuracy(_) => "Accuracy of differences",
            Content::Lbfgs(..) => "Precision that L-BFGS needs",
        }
    }
}

impl CommonContent {
    fn read(path: &Path) -> Self {
        let mut common = Self {
            path: path.to_path_buf(),
            label: path.display().to_string(),
            config: None,
            environment: None,
            notes: Vec::new(),
        };
        common.environment = common.document(ENVIRONMENT);
        // The path where it was made, so that the page does not depend on where it is read from.
        for (file, key) in [(SUMMARY, "run"), (RESULTS, "study")] {
            let text = read_capped(&path.join(file), CAP).unwrap_or_default();
            let document: Option<Value> = serde_json::from_slice(&text).ok();
            if let Some(label) = document
                .as_ref()
                .and_then(|document| document[key].as_str())
            {
                label.clone_into(&mut common.label);
            }
        }
        let config = path.join(CONFIG);
        common.config = match file_type(&config)
            .and_then(|kind| kind.map(|_| read_capped(&config, CAP)).transpose())
        {
            Ok(bytes) => bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            Err(failed) => {
                common.notes.push(format!(
                    "{CONFIG} cannot be read, and its content is left out: {failed}."
                ));
                None
            }
        };
        if let Some(version) = common.newer_version() {
            common.notes.push(format!(
                "Made by nplus1 {version}, which is newer than this version, {}: content that this version does not know is left out.",
                env!("CARGO_PKG_VERSION")
            ));
        }
        common
    }

    /// Returns the version that made the directory, if it is newer than this one.
    fn newer_version(&self) -> Option<String> {
        let numbers = |version: &str| -> Vec<u64> {
            let parts = version.split(['.', '-', '+']);
            parts.map_while(|part| part.parse().ok()).collect()
        };
        let made = &self.environment.as_ref()?.version;
        (numbers(made) > numbers(env!("CARGO_PKG_VERSION"))).then(|| made.clone())
    }

    /// Reads the JSON document `name`; absent if the file is missing. An error becomes a note.
    pub fn document<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let path = self.path.join(name);
        let read = match file_type(&path) {
            Ok(Some(_)) => read_capped(&path, CAP),
            Ok(None) => return None,
            Err(failed) => Err(failed),
        };
        let parsed = read.map_err(|error| error.to_string()).and_then(|bytes| {
            let text = String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned())?;
            json::parse(&text).map_err(|error| error.to_string())
        });
        match parsed {
            Ok(document) => Some(document),
            Err(problem) => {
                self.notes.push(format!(
                    "{name} cannot be read, and its content is left out: {problem}."
                ));
                None
            }
        }
    }

    /// Reads the records of the log `name`; damaged lines are skipped, and a note gives their
    /// number.
    pub fn log<T: DeserializeOwned>(&mut self, name: &str) -> Vec<T> {
        let path = self.path.join(name);
        let log = match metrics::read_log(&path) {
            Ok(log) => log,
            Err(error) => {
                self.notes.push(format!(
                    "{name} cannot be read, and its content is left out: {error}."
                ));
                return Vec::new();
            }
        };
        match log.damaged {
            0 => {}
            1 => self
                .notes
                .push(format!("1 line of {name} cannot be read, and was skipped.")),
            more => self.notes.push(format!(
                "{more} lines of {name} cannot be read, and were skipped."
            )),
        }
        log.records
    }

    /// Returns the command that made the numbers, and the machine on which it ran.
    pub fn origin(&self) -> Origin {
        let Some(environment) = &self.environment else {
            return Origin {
                command: None,
                machine: format!("{}, on an unknown machine", self.label),
            };
        };
        let cpu = environment.cpu.as_deref().unwrap_or(&environment.arch);
        Origin {
            command: environment.command.clone(),
            machine: format!(
                "{cpu}, {}, {}, {} kernel, {}; nplus1 {}",
                counted(environment.physical_cores, "core"),
                environment.os,
                environment.kernel,
                counted(environment.threads, "thread"),
                environment.version
            ),
        }
    }
}

/// Returns true if `path` has a valid checkpoint.
fn has_checkpoint(path: &Path) -> Result<bool> {
    match checkpoint::newest(path) {
        Ok(_) => Ok(true),
        Err(Error::NoCheckpoint(_)) => Ok(false),
        Err(failed) => Err(failed),
    }
}

/// Makes the error for a path that is not the directory of a run or a study.
fn not_a_result(path: &Path, problem: &str) -> Error {
    Error::refused(path, problem).help(
        "give the directory of a run or a study, such as runs/mnist/001 or studies/mnist-30/001",
    )
}

/// Reads the folds of a cross-validation, if there are any; a note says how many are missing.
fn read_folds(common: &mut CommonContent) -> Result<Option<Vec<ReportSource>>> {
    let entries: Vec<DirEntry> = std::fs::read_dir(&common.path)
        .and_then(Iterator::collect)
        .map_err(|source| Error::io("read", &common.path, source))?;
    let mut names: Vec<String> = (entries.iter())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.strip_prefix("fold-")
                .is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .filter(|name| common.path.join(name).is_dir())
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    names.sort();
    if let Some(planned) = super::environment::value(common, "data", "folds")
        && planned != names.len().to_string()
    {
        common
            .notes
            .push(format!("{} of {planned} folds were found.", names.len()));
    }
    let fold = |name: String| ReportSource {
        common: CommonContent {
            label: name.clone(),
            ..CommonContent::read(&common.path.join(name))
        },
        content: Content::Run,
    };
    Ok(Some(names.into_iter().map(fold).collect()))
}

/// Reads the question and the rows of a study.
fn read_study(common: &mut CommonContent) -> Result<Content> {
    let question = record::read_question(&common.path)?;
    fn plan<P: DeserializeOwned>(common: &CommonContent, question: &record::Question) -> Result<P> {
        json::from_value(question.arguments.clone()).map_err(|error| {
            let newer = common.newer_version().map_or(String::new(), |version| {
                format!(
                    " (it was made by nplus1 {version}, this is {})",
                    env!("CARGO_PKG_VERSION")
                )
            });
            Error::refused(
                common.path.join(STUDY),
                format!(
                    "the plan of a {} study cannot be read: {error}{newer}",
                    question.study
                ),
            )
            .help("make the report with the version of nplus1 that made the study")
        })
    }
    if !common.path.join(RESULTS).exists() {
        common.notes.push(
            "This study has not ended, or its last files are missing: the page shows the rows so far."
                .to_owned(),
        );
    }
    let conclusion = common.document(RESULTS).unwrap_or_default();
    let content = match question.study.as_str() {
        "cost" => Content::Cost(common.log(ROWS_JSONL)),
        "llsq" => Content::LeastSquares(common.log(ROWS_JSONL)),
        "race" => Content::Race(plan(common, &question)?, common.log(ROWS_JSONL), conclusion),
        "scale" => Content::Scale(plan(common, &question)?, common.log(ROWS_JSONL), conclusion),
        "check" => Content::Accuracy(common.log(ROWS_JSONL)),
        "lbfgs" => Content::Lbfgs(plan(common, &question)?, common.log(ROWS_JSONL)),
        other => {
            return Err(Error::refused(
                common.path.join(STUDY),
                format!("holds a study of kind `{other}`, which this version does not know"),
            )
            .help("known kinds are cost, llsq, race, scale, check and lbfgs; make the report with the version of nplus1 that made the study"));
        }
    };
    let empty = match &content {
        Content::Cost(rows) => rows.is_empty(),
        Content::LeastSquares(rows) => rows.is_empty(),
        Content::Race(_, rows, _) => rows.is_empty(),
        Content::Scale(_, samples, _) => samples.is_empty(),
        Content::Accuracy(rows) => rows.is_empty(),
        Content::Lbfgs(_, rows) => rows.is_empty(),
        Content::Run | Content::Folds(_) => false,
    };
    if empty {
        common.notes.push(format!("{ROWS_JSONL} has no rows."));
    }
    Ok(content)
}
