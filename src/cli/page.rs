//! Pages in the directories of runs and studies.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::arguments::PageArguments;
use crate::error::{Error, Result};
use crate::format::file::write_atomically;
use crate::open::{self, file_type};
use crate::report::source::ReportSource;
use crate::report::{self, date};
use crate::run::directory;

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
