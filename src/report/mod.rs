//! Reports of runs and studies: one self-contained HTML page, made only from their files.
//!
//! A page is a [`page::Page`] that sections write to: [`run`], [`cost`], [`scaling`], [`race`],
//! [`sweep`], [`function_check`], [`toy_page`]. Each [`figure::Figure`] is drawn twice from the same numbers: by
//! [`svg`] for paper and for readers without scripts, and by `assets/report.js` with uPlot for
//! everyone else. The same files give the same page, except for its date.

mod bars;
mod classes;
pub mod cost;
pub mod date;
pub mod environment;
pub mod figure;
pub mod function_check;
pub mod image;
pub mod lbfgs;
pub mod page;
pub mod race;
mod regression;
mod results;
pub mod run;
pub mod scaling;
pub mod source;
pub mod svg;
pub mod sweep;
mod tables;
pub mod text;
pub mod ticks;
pub mod toy_page;

use page::Page;
use run::RunFiles;
use source::{Content, ReportSource};

/// A page, and its figures as separate pictures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedReport {
    /// The page.
    pub page: String,
    /// Each figure's name and its picture, as SVG.
    pub pictures: Vec<(String, String)>,
}

/// Renders the page of `sources`, dated `date`: the runs side by side, then each study.
pub fn render(sources: Vec<ReportSource>, date: &str) -> String {
    build(sources).render(date)
}

/// Renders the page as [`render`] does, and returns its pictures separately as well.
pub fn make(sources: Vec<ReportSource>, date: &str) -> RenderedReport {
    let page = build(sources);
    RenderedReport {
        pictures: page.pictures().to_vec(),
        page: page.render(date),
    }
}

fn build(sources: Vec<ReportSource>) -> Page {
    let title = match &sources[..] {
        [only] => format!("{} · {}", environment::name(&only.common), only.kind()),
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
    make_labels_unique(&mut runs);
    let runs: Vec<RunFiles<'_>> = runs.iter_mut().map(RunFiles::read).collect();
    if !runs.is_empty() {
        run::write(&mut page, &runs);
    }
    for study in &studies {
        write_study(&mut page, study);
    }
    page
}

/// Makes the labels of runs unique: runs with the same label are labeled by the paths the user
/// gave, and repeated paths are numbered.
fn make_labels_unique(runs: &mut [ReportSource]) {
    let labels = |runs: &[ReportSource]| -> Vec<String> {
        runs.iter().map(|run| run.common.label.clone()).collect()
    };
    let labels_before = labels(runs);
    for (number, run) in runs.iter_mut().enumerate() {
        if labels_before
            .iter()
            .enumerate()
            .any(|(other, label)| other != number && *label == labels_before[number])
        {
            run.common.label = run.common.path.display().to_string();
        }
    }
    let labels_before = labels(runs);
    for (number, run) in runs.iter_mut().enumerate() {
        let before = labels_before[..number]
            .iter()
            .filter(|label| **label == labels_before[number])
            .count();
        if before > 0 {
            run.common.label = format!("{} ({})", run.common.label, before + 1);
        }
    }
}

fn write_study(page: &mut Page, study: &ReportSource) {
    let common = &study.common;
    page.section(&format!("{}: {}", study.kind(), common.label));
    for note in &common.notes {
        page.note(note);
    }
    match &study.content {
        Content::Cost(rows) => cost::write(page, common, rows),
        Content::LeastSquares(rows) => cost::write_least_squares(page, common, rows),
        Content::Race(plan, rows, conclusion) => race::write(page, common, plan, rows, conclusion),
        Content::Scale(plan, samples, conclusion) => {
            scaling::write(page, common, plan, samples, conclusion);
        }
        Content::Accuracy(rows) => sweep::write(page, common, rows),
        Content::Lbfgs(plan, rows) => lbfgs::write(page, common, plan, rows),
        Content::Folds(_) | Content::Run => {}
    }
    environment::write(page, common);
}
