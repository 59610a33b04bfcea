//! Pages in the directories of runs and studies, and the end of a study.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::arguments::{Global, PageArguments};
use super::output::print;
use crate::error::{Error, Result};
use crate::format::file::write_atomically;
use crate::open::{self, file_type};
use crate::report::source::ReportSource;
use crate::report::{self, date};
use crate::run::{directory, json};
use crate::study::record::StudyRecord;
use crate::study::table::Table;

/// First bytes of a page.
const PAGE: &[u8] = b"<!DOCTYPE html>";
/// Writes the page of `directory` into it, unless it is not wanted, and returns its path.
///
/// # Errors
/// Whatever the operating system refuses.
pub fn write(wanted: PageArguments, directory: &Path) -> Result<Option<PathBuf>> {
    if wanted.no_report {
        return Ok(None);
    }
    let page = directory.join(directory::REPORT);
    let text = report::render(vec![ReportSource::read(directory)?], &date::today());
    write_atomically(&page, text.as_bytes())?;
    Ok(Some(page))
}

/// Renders results as text, given a prefix for headings and a format for tables.
pub type Render<'a> = dyn Fn(&str, &dyn Fn(&Table) -> String) -> String + 'a;

/// Ends a study: saves its results, writes its page, prints them.
///
/// # Errors
/// Whatever the operating system refuses.
pub fn conclude<T: Serialize + DeserializeOwned>(
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
    let written = write(page, record.path());
    let text = if global.json {
        json::document(results)
    } else {
        let page = written.as_ref().ok().and_then(Option::as_ref);
        let page = page.map_or(String::new(), |page| {
            format!("Report: {}\n", page.display())
        });
        render("", &|table| table.to_string()) + &page
    };
    // The results are printed first, so that a failed write of the page loses nothing.
    print(out, &text)?;
    written.map(|_| ())
}

/// Returns the path of a page to write, which must be free or a page already.
pub fn target(page: PathBuf) -> Result<PathBuf> {
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
    // Follows links.
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
                &format!("is {kind}, not a regular file, and would be replaced"),
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
        return refused(&page, "exists and is not a page: its content would be lost");
    }
    Ok(page)
}
