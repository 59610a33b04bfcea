//! Studies: questions about gradients that are answered by measurements, row by row.
//!
//! A study computes and records its rows; the command line configures it and prints the results.
//! All measurements use the engines that train, never code written for a study. The worked examples
//! ([`crate::explain`]) measure nothing: they compute and count.
//!
//! [`Study`] is what all kinds have in common: [`record`] keeps their rows, and the command line
//! has one runner for them.

pub mod comparison;
pub mod cost;
pub mod fits;
pub mod lbfgs_precision;
pub mod least_squares;
pub mod machine_peaks;
pub mod methods;
pub mod race;
pub mod rank_scaling;
pub mod record;
pub mod scaling;
pub mod sweep;
pub mod table;
pub mod timing;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::record::StudyRecord;
use self::table::Table;
use crate::config::Config;
use crate::data::Split;
use crate::error::Result;
use crate::gradient::Control;
use crate::kernels::Isa;

/// A study that is ready to run: it measures the rows of a plan, and summarizes them.
pub trait Study {
    /// The name of this kind of study in its directory.
    const KIND: &'static str;
    /// The command that runs it.
    const COMMAND: &'static str = Self::KIND;
    /// The word for its rows.
    const ROWS: &'static str = "rows";
    /// Its parameters, with all defaults filled in.
    type Plan: Serialize + DeserializeOwned;
    /// One measurement.
    type Row: Serialize + DeserializeOwned;

    /// Returns the config, if there is one.
    fn config(&self) -> Option<&Config>;

    /// Returns the largest number of threads of any row.
    fn threads(&self, plan: &Self::Plan) -> usize;

    /// Adds every row that `record` lacks. Returns whether all rows are present; they are not if the
    /// control requested a stop.
    ///
    /// # Errors
    /// Rows that cannot be measured; errors of the operating system. The rows measured before are
    /// in `record`.
    fn run(&mut self, plan: &Self::Plan, record: &mut StudyRecord<Self::Row>) -> Result<bool>;

    /// Formats a row as a line of progress.
    fn line(row: &Self::Row) -> String;

    /// Returns whether the line of this row is a detail, shown only on request.
    fn is_detail(_row: &Self::Row) -> bool {
        false
    }

    /// Summarizes the rows of `record`, which is complete.
    fn report<'a>(
        &'a self,
        plan: &'a Self::Plan,
        record: &'a StudyRecord<Self::Row>,
    ) -> impl StudyReport + 'a;
}

/// The summary of a study. Its fields make the JSON document.
pub trait StudyReport: Serialize {
    /// Returns the heading of the results.
    fn heading(&self) -> String;

    /// Renders the report as text: `heading` precedes each heading, `table` renders each table.
    fn render(&self, heading: &str, table: &dyn Fn(&Table) -> String) -> String;

    /// Describes what is wrong with what was checked, if this is a check that failed.
    fn failure(&self) -> Option<String> {
        None
    }
}

/// What the studies of networks measure on.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The config: network, optimizer, seed, precision.
    pub config: &'a Config,
    /// The training, validation and test rows.
    pub split: &'a Split,
    /// The instruction set of the kernels.
    pub isa: Isa,
    /// Stops the study, even within a row.
    pub control: &'a Control,
}

/// Formats the end of a report: its sentences, then the directory of the study.
fn closing<'s>(sentences: impl IntoIterator<Item = &'s String>, study: &str) -> String {
    let paragraphs = sentences
        .into_iter()
        .map(|sentence| format!("{sentence}\n\n"));
    paragraphs.collect::<String>() + &format!("Study: {study}\n")
}
