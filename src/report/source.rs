//! What a page is made from: the files of a run or of a study, and nothing else.
//!
//! A file that is missing, damaged or of a newer version costs what it would have told, never the
//! page: what is wrong is noted, and the page shows the notes. Only a folder that holds neither a run
//! nor a study is refused.

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
use crate::study::{cost, least_squares, race, record, scaling, sweep};

/// Largest file that is read, but for logs, which have a limit of their own.
const CAP: u64 = 64 << 20;

/// A directory, and what is in it.
#[derive(Debug)]
pub struct ReportSource {
    /// What every directory holds.
    pub held: CommonContent,
    /// The rest.
    pub content: Content,
}

/// What every directory holds.
#[derive(Debug)]
pub struct CommonContent {
    /// The directory.
    pub path: PathBuf,
    /// What its figures are called: the path that it was made in, or that it was given by.
    pub label: String,
    /// The resolved config.
    pub config: Option<String>,
    /// Program and machine.
    pub environment: Option<Environment>,
    /// What is wrong with the files.
    pub notes: Vec<String>,
}

/// A run, or a study with its plan and rows.
#[derive(Debug)]
pub enum Content {
    /// A run.
    Run,
    /// A cross-validation, a run in each of these.
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
}

/// What only the end of a study tells; nothing, if it has not ended.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct StudyConclusion {
    /// Which rows a race's accuracies are of.
    pub judged: Option<String>,
    /// What makes the figures of a study of scaling doubtful.
    pub warnings: Option<Vec<String>>,
}

impl StudyConclusion {
    /// Which rows accuracies are of, in a word.
    pub fn judged(&self) -> &str {
        self.judged.as_deref().unwrap_or("held-out")
    }
}

impl ReportSource {
    /// Reads what `path` holds.
    ///
    /// # Errors
    /// A folder that is missing, or holds neither a run nor a study; a study whose plan cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        match file_type(path)? {
            Some(kind) if kind.is_dir() => {}
            Some(kind) => {
                let kind = open::kind_name(kind);
                let problem = format!("is {kind}, not the directory of a run or a study");
                return Err(nothing(path, &problem));
            }
            None => return Err(nothing(path, "no such folder")),
        }
        let there = |name: &str| Ok::<_, Error>(file_type(&path.join(name))?.is_some());
        let mut held = CommonContent::read(path);
        let content = if there(STUDY)? {
            study(&mut held)?
        } else if there(ROWS_JSONL)? {
            return Err(Error::refused(
                path,
                format!("the rows of a study, but no {STUDY} that says of which"),
            )
            .help("give a study's whole directory"));
        } else if let Some(folds) = folds(&mut held)? {
            Content::Folds(folds)
        } else if there(SUMMARY)?
            || there(METRICS_JSONL)?
            || there(CONFIG)?
            || has_checkpoint(path)?
        {
            Content::Run
        } else {
            return Err(nothing(path, "neither a run nor a study in this folder"));
        };
        Ok(Self { held, content })
    }
}

impl ReportSource {
    /// What it is, in a word or two.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Run => "Training run",
            Content::Folds(_) => "Cross-validation",
            Content::Cost(_) => "Cost of a gradient",
            Content::LeastSquares(_) => "Cost of a derivative",
            Content::Race(..) => "Race",
            Content::Scale(..) => "Thread scaling",
            Content::Accuracy(_) => "Accuracy of differences",
        }
    }
}

impl CommonContent {
    fn read(path: &Path) -> Self {
        let mut held = Self {
            path: path.to_path_buf(),
            label: path.display().to_string(),
            config: None,
            environment: None,
            notes: Vec::new(),
        };
        held.environment = held.document(ENVIRONMENT);
        // Where it was made, so that the page does not depend on where it is read from.
        for (file, key) in [(SUMMARY, "run"), (RESULTS, "study")] {
            let text = read_capped(&path.join(file), CAP).unwrap_or_default();
            let document: Option<Value> = serde_json::from_slice(&text).ok();
            if let Some(label) = document
                .as_ref()
                .and_then(|document| document[key].as_str())
            {
                label.clone_into(&mut held.label);
            }
        }
        let config = path.join(CONFIG);
        held.config = match file_type(&config)
            .and_then(|kind| kind.map(|_| read_capped(&config, CAP)).transpose())
        {
            Ok(bytes) => bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
            Err(failed) => {
                held.notes.push(format!(
                    "{CONFIG} cannot be read, and what it tells is left out: {failed}."
                ));
                None
            }
        };
        if let Some(version) = held.newer() {
            held.notes.push(format!(
                "Made by nplus1 {version}, which is newer than this {}: what this version does not know is left out.",
                env!("CARGO_PKG_VERSION")
            ));
        }
        held
    }

    /// The version that made it, if that is newer than this one.
    fn newer(&self) -> Option<String> {
        let numbers = |version: &str| -> Vec<u64> {
            let parts = version.split(['.', '-', '+']);
            parts.map_while(|part| part.parse().ok()).collect()
        };
        let made = &self.environment.as_ref()?.version;
        (numbers(made) > numbers(env!("CARGO_PKG_VERSION"))).then(|| made.clone())
    }

    /// The JSON document `name`, if it is there; why it cannot be read becomes a note.
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
                    "{name} cannot be read, and what it tells is left out: {problem}."
                ));
                None
            }
        }
    }

    /// The records of the log `name`; damaged lines are skipped, counted and noted.
    pub fn log<T: DeserializeOwned>(&mut self, name: &str) -> Vec<T> {
        let path = self.path.join(name);
        let recorded = match metrics::read_log(&path) {
            Ok(recorded) => recorded,
            Err(error) => {
                self.notes.push(format!(
                    "{name} cannot be read, and what it tells is left out: {error}."
                ));
                return Vec::new();
            }
        };
        match recorded.damaged {
            0 => {}
            1 => self
                .notes
                .push(format!("1 line of {name} cannot be read, and was skipped.")),
            more => self.notes.push(format!(
                "{more} lines of {name} cannot be read, and were skipped."
            )),
        }
        recorded.records
    }

    /// Which command made the numbers, on which machine.
    pub fn origin(&self) -> Origin {
        let Some(environment) = &self.environment else {
            return Origin {
                command: None,
                machine: format!("{}, on a machine that its files do not tell", self.label),
            };
        };
        let cpu = environment.cpu.as_deref().unwrap_or(&environment.arch);
        Origin {
            command: environment.command.clone(),
            machine: format!(
                "{cpu}, {} cores, {}, {} kernel, {} threads; nplus1 {}",
                environment.physical_cores,
                environment.os,
                environment.kernel,
                environment.threads,
                environment.version
            ),
        }
    }
}

/// Whether there is a valid checkpoint in `path`.
fn has_checkpoint(path: &Path) -> Result<bool> {
    match checkpoint::newest(path) {
        Ok(_) => Ok(true),
        Err(Error::NoCheckpoint(_)) => Ok(false),
        Err(failed) => Err(failed),
    }
}

fn nothing(path: &Path, problem: &str) -> Error {
    Error::refused(path, problem).help(
        "give the directory of a run or a study, such as runs/mnist/001 or studies/mnist-30/001",
    )
}

/// The folds of a cross-validation, if there are any; those that are missing or cannot be read are noted.
fn folds(held: &mut CommonContent) -> Result<Option<Vec<ReportSource>>> {
    let entries: Vec<DirEntry> = std::fs::read_dir(&held.path)
        .and_then(Iterator::collect)
        .map_err(|source| Error::io("read", &held.path, source))?;
    let mut names: Vec<String> = (entries.iter())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| {
            name.strip_prefix("fold-")
                .is_some_and(|number| number.parse::<u32>().is_ok())
        })
        .filter(|name| held.path.join(name).is_dir())
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    names.sort();
    if let Some(asked) = super::environment::value(held, "data", "folds")
        && asked != names.len().to_string()
    {
        held.notes
            .push(format!("{} of {asked} folds are there.", names.len()));
    }
    let fold = |name: String| ReportSource {
        held: CommonContent::read(&held.path.join(name)),
        content: Content::Run,
    };
    Ok(Some(names.into_iter().map(fold).collect()))
}

fn study(held: &mut CommonContent) -> Result<Content> {
    let question = record::asked(&held.path)?;
    fn plan<P: DeserializeOwned>(held: &CommonContent, question: &record::Question) -> Result<P> {
        json::from_value(question.arguments.clone()).map_err(|error| {
            let newer = held.newer().map_or(String::new(), |version| {
                format!(
                    " (it was made by nplus1 {version}, this is {})",
                    env!("CARGO_PKG_VERSION")
                )
            });
            Error::refused(
                held.path.join(STUDY),
                format!(
                    "the plan of a {} study cannot be read: {error}{newer}",
                    question.study
                ),
            )
            .help("make the report with the version that made the study")
        })
    }
    if !held.path.join(RESULTS).exists() {
        held.notes.push(
            "This study has not ended, or its end is lost: what follows is of the rows so far."
                .to_owned(),
        );
    }
    let concluded = held.document(RESULTS).unwrap_or_default();
    let content = match question.study.as_str() {
        "cost" => Content::Cost(held.log(ROWS_JSONL)),
        "llsq" => Content::LeastSquares(held.log(ROWS_JSONL)),
        "race" => Content::Race(plan(held, &question)?, held.log(ROWS_JSONL), concluded),
        "scale" => Content::Scale(plan(held, &question)?, held.log(ROWS_JSONL), concluded),
        "check" => Content::Accuracy(held.log(ROWS_JSONL)),
        other => {
            return Err(Error::refused(
                held.path.join(STUDY),
                format!("holds a study of kind `{other}`, which this version does not know"),
            )
            .help("known are cost, llsq, race, scale and check; make the report with the version that made the study"));
        }
    };
    let empty = match &content {
        Content::Cost(rows) => rows.is_empty(),
        Content::LeastSquares(rows) => rows.is_empty(),
        Content::Race(_, rows, _) => rows.is_empty(),
        Content::Scale(_, samples, _) => samples.is_empty(),
        Content::Accuracy(rows) => rows.is_empty(),
        Content::Run | Content::Folds(_) => false,
    };
    if empty {
        held.notes.push(format!("{ROWS_JSONL} holds no row."));
    }
    Ok(content)
}
