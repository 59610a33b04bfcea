//! Pages that show what runs and studies found: one HTML file each, complete in itself, made from
//! their files alone.
//!
//! A page is a [`page::Page`] that sections write to: [`run`], [`cost`], [`scaling`], [`race`],
//! [`sweep`], [`toy_page`]. A [`figure::Figure`] is drawn by [`svg`] for paper and for readers without
//! scripts, and by `assets/report.js` with uPlot for everybody else, from the same numbers. The same
//! files give the same page, but for its date.

pub mod cost;
pub mod date;
pub mod environment;
pub mod figure;
pub mod image;
pub mod page;
pub mod race;
pub mod run;
pub mod scaling;
pub mod source;
pub mod svg;
pub mod sweep;
pub mod text;
pub mod ticks;
pub mod toy_page;

use page::Page;
use run::RunFiles;
use source::{Content, ReportSource};

/// A page, and its pictures by themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedReport {
    /// The page.
    pub page: String,
    /// Each figure's name and its picture, as SVG.
    pub pictures: Vec<(String, String)>,
}

/// The page of `sources`, made on `date`: runs side by side, then each study.
pub fn render(sources: Vec<ReportSource>, date: &str) -> String {
    build(sources).render(date)
}

/// As [`render`], with the pictures beside it.
pub fn make(sources: Vec<ReportSource>, date: &str) -> RenderedReport {
    let page = build(sources);
    RenderedReport {
        pictures: page.pictures().to_vec(),
        page: page.render(date),
    }
}

fn build(sources: Vec<ReportSource>) -> Page {
    let title = match &sources[..] {
        [only] => format!("{} · {}", environment::name(&only.held), only.kind()),
        more => format!("{} results side by side", more.len()),
    };
    let mut page = Page::new(title);
    let mut runs = Vec::new();
    let mut studies = Vec::new();
    for source in sources {
        match source.content {
            Content::Run => runs.push(source),
            Content::Folds(folds) => {
                studies.push(ReportSource {
                    content: Content::Folds(Vec::new()),
                    ..source
                });
                runs.extend(folds);
            }
            _ => studies.push(source),
        }
    }
    tell_apart(&mut runs);
    let runs: Vec<RunFiles<'_>> = runs.iter_mut().map(RunFiles::read).collect();
    if !runs.is_empty() {
        run::write(&mut page, &runs);
    }
    for study in &studies {
        write_study(&mut page, study);
    }
    page
}

/// Runs that were made under one name are called by the paths that they were given by; the same path
/// twice is numbered.
fn tell_apart(runs: &mut [ReportSource]) {
    let labels = |runs: &[ReportSource]| -> Vec<String> {
        runs.iter().map(|run| run.held.label.clone()).collect()
    };
    let taken = labels(runs);
    for (number, run) in runs.iter_mut().enumerate() {
        if taken
            .iter()
            .enumerate()
            .any(|(other, label)| other != number && *label == taken[number])
        {
            run.held.label = run.held.path.display().to_string();
        }
    }
    let taken = labels(runs);
    for (number, run) in runs.iter_mut().enumerate() {
        let before = taken[..number]
            .iter()
            .filter(|label| **label == taken[number])
            .count();
        if before > 0 {
            run.held.label = format!("{} ({})", run.held.label, before + 1);
        }
    }
}

fn write_study(page: &mut Page, study: &ReportSource) {
    let held = &study.held;
    page.section(&format!("{}: {}", study.kind(), held.label));
    for note in &held.notes {
        page.note(note);
    }
    match &study.content {
        Content::Cost(rows) => cost::write(page, held, rows),
        Content::LeastSquares(rows) => cost::write_least_squares(page, held, rows),
        Content::Race(plan, rows, concluded) => race::write(page, held, plan, rows, concluded),
        Content::Scale(plan, samples, concluded) => {
            scaling::write(page, held, plan, samples, concluded);
        }
        Content::Accuracy(rows) => sweep::write(page, held, rows),
        Content::Folds(_) | Content::Run => {}
    }
    environment::write(page, held);
}
