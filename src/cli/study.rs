//! The runner of studies: what `cost`, `race`, `scale`, `check --sweep` and `explain lbfgs` have in
//! common.
//!
//! A command names its inputs ([`source`]) and makes its plan; [`StudyRunner`] begins or resumes the
//! record, prints a line for each row, answers an interruption, and ends with the results as JSON,
//! text and page.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arguments::{Global, PageArguments, RecordArguments};
use super::inputs::Inputs;
use super::output::{Messages, print};
use super::page;
use super::signals::Interrupt;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::gradient::Control;
use crate::kernels::Isa;
use crate::run::{Environment, json};
use crate::study::record::{Question, StudyRecord, read_plan};
use crate::study::{Study, StudyReport, Subject};

/// Default number of samples of a measured time.
pub const REPEATS: u32 = 7;

/// Returns the config file of a study, and the plan if the study is resumed without a config; `asks`
/// tells whether its options are given.
///
/// # Errors
/// Options beside a study that is resumed with its original ones; a folder without such a study.
pub fn source<S: Study>(
    config: Option<&Path>,
    record: &RecordArguments,
    asks: bool,
) -> Result<(PathBuf, Option<S::Plan>)> {
    if let Some(config) = config {
        return Ok((config.to_path_buf(), None));
    }
    let study = record.resume.as_deref().expect("clap asks for one");
    if asks {
        return Err(Error::Usage(
            "--resume without CONFIG uses the original options of the study\n  help: leave the other options out, or give CONFIG with all of them".to_owned(),
        ));
    }
    let (config, plan) = read_plan(study, S::KIND)?;
    Ok((config, Some(plan)))
}

/// Runs one study.
pub struct StudyRunner<'a> {
    arguments: &'a RecordArguments,
    global: &'a Global,
    messages: Messages,
    interrupt: Interrupt,
    /// Stops the study at the first signal.
    pub control: Control,
    isa: Isa,
}

impl<'a> StudyRunner<'a> {
    /// Watches for signals from now on, for a study of kind `S`.
    ///
    /// # Errors
    /// Those of [`Interrupt::watch`].
    pub fn start<S: Study>(
        arguments: &'a RecordArguments,
        global: &'a Global,
        messages: Messages,
    ) -> Result<Self> {
        let interrupt = Interrupt::watch(format!("keeping the {}", S::ROWS))?;
        Ok(Self::of(arguments, global, messages, interrupt))
    }

    /// Runs a study for which signals are watched already.
    pub fn of(
        arguments: &'a RecordArguments,
        global: &'a Global,
        messages: Messages,
        interrupt: Interrupt,
    ) -> Self {
        Self {
            arguments,
            global,
            messages,
            control: Control::new(interrupt.flag()),
            interrupt,
            isa: Isa::detect(),
        }
    }

    /// Returns what a study of `inputs` measures on.
    pub fn subject<'s>(&'s self, inputs: &'s Inputs) -> Subject<'s> {
        Subject {
            config: &inputs.config,
            split: &inputs.split,
            isa: self.isa,
            control: &self.control,
        }
    }

    /// Measures the rows that are missing, saves the results and prints them.
    ///
    /// # Errors
    /// A study that cannot be resumed with this plan; rows that cannot be measured; an
    /// interruption, after the rows are saved; [`Error::CheckFailed`], after the results are printed,
    /// if they say so.
    pub fn run<S: Study>(&self, mut study: S, plan: &S::Plan, out: &mut dyn Write) -> Result<()> {
        let config = study.config();
        let mut record = StudyRecord::begin(
            self.arguments.resume.as_deref(),
            self.arguments.out.as_deref(),
            config.map_or(S::KIND, |config| &config.name),
            &Question::new(S::KIND, plan),
            config.map(Config::to_toml).as_deref(),
            &Environment::detect(self.isa.name(), study.threads(plan)),
        )?;
        let messages = self.messages;
        record.observe(move |row: &S::Row| match S::is_detail(row) {
            true => messages.detail(S::line(row)),
            false => messages.note(S::line(row)),
        });
        let finished = study.run(plan, &mut record);
        let (command, rows) = (S::COMMAND, S::ROWS);
        let resume = format!("resume with: nplus1 {command} --resume {}", record.label());
        match finished {
            Ok(true) => {
                let report = study.report(plan, &record);
                conclude(&record, &report, self.arguments.page, self.global, out)?;
                report
                    .failure()
                    .map_or(Ok(()), |failure| Err(Error::CheckFailed(failure)))
            }
            Ok(false) => {
                messages.note(resume);
                Err(record.interrupted(self.interrupt.exit_code()))
            }
            Err(Error::Resources(refused)) => Err(Error::Resources(format!(
                "{refused}\n  {} {rows} are saved; where the system allows it, {resume}",
                record.rows().len()
            ))),
            Err(other) => Err(other),
        }
    }
}

/// Ends a study: saves its results, writes its page, prints them.
///
/// # Errors
/// Whatever the operating system refuses.
fn conclude<T: Serialize + DeserializeOwned>(
    record: &StudyRecord<T>,
    report: &impl StudyReport,
    page: PageArguments,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    let markdown = report.render("## ", &|table| table.markdown());
    record.conclude(report, &format!("# {}\n\n{markdown}", report.heading()))?;
    let written = page::write(page, record.path());
    let text = if global.json {
        json::document(report)
    } else {
        let page = written.as_ref().ok().and_then(Option::as_ref);
        let page = page.map_or(String::new(), |page| {
            format!("Report: {}\n", page.display())
        });
        report.render("", &|table| table.to_string()) + &page
    };
    // The results are printed first, so that a failed write of the page loses nothing.
    print(out, &text)?;
    written.map(|_| ())
}

/// Sorts the numbers of a list; refuses 0 and duplicates.
pub fn ascending(option: &str, numbers: &[usize]) -> Result<Vec<usize>> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    if sorted.first() == Some(&0) {
        return Err(Error::Usage(format!(
            "{option}: 0 is not allowed; allowed: whole numbers from 1"
        )));
    }
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Usage(format!(
            "{option}: duplicate value {}",
            twice[0]
        )));
    }
    Ok(sorted)
}
