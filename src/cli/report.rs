//! `nplus1 report`: what runs and studies found, as a page or for a terminal.
//!
//! ```text
//! nplus1 report runs/mnist/001                          runs/mnist/001/report.html, anew
//! nplus1 report runs/mnist/00* -o compared.html         side by side
//! nplus1 report studies/mnist-30/001 --text             to read here
//! ```

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arguments::{Global, output};
use super::output::print;
use super::table::Table;
use crate::error::{Error, Result};
use crate::format::file::write_atomically;
use crate::open::{self, file_type};
use crate::report::source::ReportSource;
use crate::report::{self, date};
use crate::run::{directory, json};
use crate::study::record::StudyRecord;

/// How a page begins.
const PAGE: &[u8] = b"<!DOCTYPE html>";

/// `nplus1 report`.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArguments {
    /// Directories of runs or studies
    #[arg(required = true, value_name = "RUN|STUDY")]
    pub sources: Vec<PathBuf>,
    /// The page; without it report.html in the directory, if there is one
    #[arg(short, long, value_name = "FILE", conflicts_with = "text", value_parser = output())]
    pub output: Option<PathBuf>,
    /// Print it here instead
    #[arg(long)]
    pub text: bool,
    /// Write the pictures as SVG into this folder, too
    #[arg(long, value_name = "DIR", conflicts_with = "text", value_parser = output())]
    pub figures: Option<PathBuf>,
}

/// Whether a command that ends with results writes a page of them.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct PageArguments {
    /// Write no report.html
    #[arg(long)]
    pub no_report: bool,
}

impl PageArguments {
    /// Writes the page of `directory` into it, unless that is not wanted; returns its path.
    ///
    /// # Errors
    /// Whatever the operating system refuses.
    pub fn write(self, directory: &Path) -> Result<Option<PathBuf>> {
        if self.no_report {
            return Ok(None);
        }
        let page = directory.join(directory::REPORT);
        let text = report::render(vec![ReportSource::read(directory)?], &date::today());
        write_atomically(&page, text.as_bytes())?;
        Ok(Some(page))
    }
}

/// Results as text: `(heading, table)`, what stands before a heading and how a table is told.
pub(super) type Render<'a> = dyn Fn(&str, &dyn Fn(&Table) -> String) -> String + 'a;

/// Ends a study: keeps what it came to, writes its page, prints it.
///
/// # Errors
/// Whatever the operating system refuses.
pub(super) fn conclude<T: Serialize + DeserializeOwned>(
    record: &StudyRecord<T>,
    results: &impl Serialize,
    heading: &str,
    render: &Render<'_>,
    page: PageArguments,
    global: &Global,
    out: &mut dyn Write,
) -> Result<()> {
    let markdown = render("## ", &|table| table.markdown());
    record.conclude(results, &format!("# {heading}\n\n{markdown}"))?;
    let written = page.write(record.path());
    let text = if global.json {
        json::document(results)
    } else {
        let page = written.as_ref().ok().and_then(Option::as_ref);
        let page = page.map_or(String::new(), |page| {
            format!("Report: {}\n", page.display())
        });
        render("", &|table| table.to_string()) + &page
    };
    // What was found comes first: a page that cannot be written takes nothing away.
    print(out, &text)?;
    written.map(|_| ())
}

/// Where a page may be written: to a file that is not there, or that is a page already.
pub(super) fn target(page: PathBuf) -> Result<PathBuf> {
    let refused = |page: &Path, problem: &str| {
        Err(Error::refused(page, problem).help("name another file with -o, such as -o report.html"))
    };
    let folder = page
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.is_dir()
    {
        return refused(&page, "its folder does not exist");
    }
    if file_type(&page)?.is_none() {
        return Ok(page);
    }
    // Through a link, to what it names.
    let page = page
        .canonicalize()
        .map_err(|source| Error::io("read", &page, source))?;
    match file_type(&page)? {
        Some(kind) if kind.is_dir() => {
            return refused(&page, "is a folder; the page is one file");
        }
        Some(kind) if !kind.is_file() => {
            let kind = open::kind_name(kind);
            return refused(
                &page,
                &format!("is {kind}, not a regular file: it would be replaced by one"),
            );
        }
        _ => {}
    }
    let mut beginning = Vec::new();
    open::regular(&page)?
        .take(PAGE.len() as u64)
        .read_to_end(&mut beginning)
        .map_err(|source| Error::io("read", &page, source))?;
    if !beginning.is_empty() && beginning != PAGE {
        return refused(&page, "is there already and is no page: it would be lost");
    }
    Ok(page)
}

/// What was made.
#[derive(Debug, Serialize)]
struct WrittenReport {
    /// The page.
    report: PathBuf,
    /// Its size.
    bytes: usize,
    /// The pictures.
    figures: Vec<PathBuf>,
}

/// Makes the page, or prints the text.
///
/// # Errors
/// A folder that holds neither a run nor a study; whatever the operating system refuses.
pub fn run(arguments: &ReportArguments, global: &Global, out: &mut dyn Write) -> Result<()> {
    let sources: Vec<ReportSource> = (arguments.sources.iter())
        .map(|path| ReportSource::read(path))
        .collect::<Result<_>>()?;
    if arguments.text {
        if global.json {
            return Err(Error::Usage(
                "--text is for people, --json for programs\n  help: leave one of them out; a study's results.json has its figures".to_owned(),
            ));
        }
        return print(out, &report::text::render(sources)?);
    }
    let page = match (&arguments.output, &arguments.sources[..]) {
        (Some(path), _) => path.clone(),
        (None, [only]) => only.join(directory::REPORT),
        (None, _) => {
            return Err(Error::Usage(
                "several directories make one page, but it is not said where\n  help: name it with -o, such as -o compared.html".to_owned(),
            ));
        }
    };
    let page = target(page)?;
    let made = report::make(sources, &date::today());
    let mut figures = Vec::new();
    if let Some(folder) = &arguments.figures {
        std::fs::create_dir_all(folder).map_err(|source| Error::io("create", folder, source))?;
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
    let text = if global.json {
        json::document(&made)
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
