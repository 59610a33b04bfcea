//! `nplus1 report`: results of runs and studies, as a page or as text.
//!
//! ```text
//! nplus1 report runs/mnist/001                          writes runs/mnist/001/report.html
//! nplus1 report runs/mnist/00* -o compared.html         side by side
//! nplus1 report studies/mnist-30/001 --text             prints text
//! ```

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::{Global, ReportArguments};
use super::output::print;
use super::page;
use crate::error::{Error, Result};
use crate::format::file::{create_folders, write_atomically};
use crate::report::source::ReportSource;
use crate::report::{self, date, function_check};
use crate::run::{directory, json};

/// Files that were written.
#[derive(Debug, Serialize)]
struct WrittenReport {
    /// Path of the page.
    report: PathBuf,
    /// Size of the page.
    bytes: usize,
    /// Paths of the figures.
    figures: Vec<PathBuf>,
}

/// Writes the page, or prints the text.
///
/// # Errors
/// A folder that holds neither a run nor a study; whatever the operating system refuses.
pub fn run(arguments: &ReportArguments, global: &Global, out: &mut dyn Write) -> Result<()> {
    if let [only] = &arguments.sources[..]
        && only
            .extension()
            .is_some_and(|extension| extension == "json")
    {
        return function_page(only, arguments, global, out);
    }
    let sources: Vec<ReportSource> = (arguments.sources.iter())
        .map(|path| ReportSource::read(path))
        .collect::<Result<_>>()?;
    if arguments.text {
        if global.json {
            return Err(Error::Usage(
                "--text and --json cannot be combined\n  help: leave one of them out; results.json of a study contains its figures".to_owned(),
            ));
        }
        return print(out, &report::text::render(sources)?);
    }
    let page = match (&arguments.output, &arguments.sources[..]) {
        (Some(path), _) => path.clone(),
        (None, [only]) => only.join(directory::REPORT),
        (None, _) => {
            return Err(Error::Usage(
                "several directories make one page, which needs a name\n  help: name it with -o, such as -o compared.html".to_owned(),
            ));
        }
    };
    let page = page::target(page)?;
    let made = report::make(sources, &date::today());
    let mut figures = Vec::new();
    if let Some(folder) = &arguments.figures {
        create_folders(folder)?;
        for (name, picture) in &made.pictures {
            let path = folder.join(format!("{name}.svg"));
            write_atomically(&path, picture.as_bytes())?;
            figures.push(path);
        }
    }
    write_atomically(&page, made.page.as_bytes())?;
    let made = WrittenReport {
        bytes: made.page.len(),
        report: page,
        figures,
    };
    print_written(&made, global, out)
}

/// Writes the page of a function's check from its file.
fn function_page(
    numbers: &Path,
    arguments: &ReportArguments,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    if arguments.text || arguments.figures.is_some() {
        return Err(Error::Usage(
            "the file of a function's check makes a page only\n  help: leave --text and --figures out".to_owned(),
        ));
    }
    let page = arguments.output.clone();
    let page = page::target(page.unwrap_or_else(|| numbers.with_extension("html")))?;
    let text = function_check::render(numbers, &date::today())?;
    write_atomically(&page, text.as_bytes())?;
    let made = WrittenReport {
        bytes: text.len(),
        report: page,
        figures: Vec::new(),
    };
    print_written(&made, global, out)
}

/// Prints the paths of files that were written.
fn print_written(made: &WrittenReport, global: &Global, out: &mut dyn Write) -> Result<()> {
    let text = if global.json {
        json::document(made)
    } else {
        let pictures = match made.figures.len() {
            0 => String::new(),
            count => format!(", and {count} pictures"),
        };
        format!(
            "{} ({} bytes){pictures}\n",
            made.report.display(),
            made.bytes
        )
    };
    print(out, &text)
}
