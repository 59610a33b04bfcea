//! A classifier on the page of a run: its confusion matrix, the figures of each class, and its most
//! confident wrong predictions.

use maud::{Markup, html};

use super::image::gray;
use super::page::Page;
use crate::run::evaluation::{ModelEvaluation, WrongSample};
use crate::study::table::{Table, percent, whole};
use crate::text::{plain, plain_line};

/// Maximum number of inputs of a row that is shown as a picture.
const MAX_INPUTS: usize = 4_096;

/// Maximum number of classes whose confusion matrix fits a narrow window; of more, the most frequent
/// confusions are listed.
const MOST_CLASSES: usize = 12;
/// Maximum number of confusions that are listed.
const MOST_CONFUSIONS: usize = 20;

/// Writes the confusion matrix, the metrics of each class, and the most confidently wrong
/// predictions.
pub(super) fn write(page: &mut Page, evaluation: &ModelEvaluation) {
    page.add(html! {
        h3 { "On the " (plain(&evaluation.part)) " rows: " (percent(Some(evaluation.accuracy))) " of "
            (whole(evaluation.rows)) " correct" }
    });
    if evaluation.classes.len() > MOST_CLASSES {
        page.table("Most frequent confusions", &confusions(evaluation));
        page.collapsed("Confusion matrix", |page| page.add(confusion(evaluation)));
    } else {
        page.add(confusion(evaluation));
    }
    let mut classes = Table::new(["class", "rows", "precision", "recall", "F1"]);
    for class in &evaluation.classes {
        classes.row([
            class.name.clone(),
            whole(class.rows),
            percent(class.precision),
            percent(class.recall),
            percent(class.f1),
        ]);
    }
    page.table("Metrics per class", &classes);
    if !evaluation.wrong.is_empty() {
        page.add(wrong(evaluation));
    }
}

/// Returns the most frequent confusions, the largest share of the true class first.
fn confusions(evaluation: &ModelEvaluation) -> Table {
    let mut found = Vec::new();
    for (truth, row) in evaluation.confusion.iter().enumerate() {
        let all: u64 = row.iter().sum();
        for (predicted, &count) in row.iter().enumerate() {
            if truth != predicted && count > 0 {
                found.push((count as f64 / all as f64, count, truth, predicted));
            }
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)));
    let name = |class: usize| {
        evaluation
            .classes
            .get(class)
            .map_or("", |class| &class.name)
    };
    let mut table = Table::new(["class", "predicted", "rows", "of the class"]);
    for &(share, count, truth, predicted) in found.iter().take(MOST_CONFUSIONS) {
        table.row([
            name(truth).to_owned(),
            name(predicted).to_owned(),
            whole(count),
            percent(Some(share)),
        ]);
    }
    table
}

fn confusion(evaluation: &ModelEvaluation) -> Markup {
    let names: Vec<String> = evaluation
        .classes
        .iter()
        .map(|class| plain_line(&class.name).into_owned())
        .collect();
    let caption = "Confusion matrix: true classes down, predicted classes across";
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table.confusion {
                caption { (caption) }
                thead {
                    tr { td {} @for name in &names { th scope="col" { bdi { (name) } } } }
                }
                tbody {
                    @for (truth, (row, name)) in evaluation.confusion.iter().zip(&names).enumerate() {
                        @let all: u64 = row.iter().sum();
                        tr {
                            th scope="row" { bdi { (name) } }
                            @for (predicted, &count) in row.iter().enumerate() {
                                td class=(cell(truth == predicted, count, all)) { (count) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the CSS classes of a cell, for example `hit s7` or `miss s2`: its share of the row's
/// total in nine shades, on a scale ten times as fine for misses.
fn cell(hit: bool, count: u64, all: u64) -> String {
    if count == 0 {
        return "none".to_owned();
    }
    let share = count as f64 / all.max(1) as f64;
    let step = if hit { 9.0 * share } else { 90.0 * share }
        .ceil()
        .clamp(1.0, 9.0);
    format!("{} s{step}", if hit { "hit" } else { "miss" })
}

fn wrong(evaluation: &ModelEvaluation) -> Markup {
    let most = (evaluation.wrong.iter().flat_map(|sample| &sample.inputs))
        .fold(0.0_f64, |most, &input| most.max(input));
    let image = evaluation.image.filter(|&[height, width]| {
        let fits = |sample: &WrongSample| sample.inputs.len() == height.saturating_mul(width);
        most > 0.0
            && (1..=MAX_INPUTS).contains(&(height.saturating_mul(width)))
            && evaluation.wrong.iter().all(fits)
    });
    let description = |sample: &WrongSample| {
        plain(&format!(
            "row {}: class {}, predicted {} ({})",
            sample.row,
            sample.label,
            sample.predicted,
            percent(Some(sample.confidence))
        ))
        .into_owned()
    };
    html! {
        h3 { "Most confident wrong predictions" }
        @if let Some(shape) = image {
            ul.samples {
                @for sample in &evaluation.wrong {
                    @let picture = gray(&sample.inputs, shape, [0.0, most]);
                    li {
                        img src=(picture.address) width=(picture.width) height=(picture.height) alt=(description(sample));
                        span { bdi { (plain(&sample.label)) } " → " b { bdi { (plain(&sample.predicted)) } } }
                        small { (percent(Some(sample.confidence))) }
                    }
                }
            }
        } @else {
            ul { @for sample in &evaluation.wrong { li { (description(sample)) } } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_classes_are_listed_by_their_confusions() {
        let classes = MOST_CLASSES + 1;
        let mut evaluation: ModelEvaluation = serde_json::from_value(serde_json::json!({
            "part": "test", "rows": 1300, "loss": 0.1, "accuracy": 0.9,
            "classes": (0..classes).map(|class| serde_json::json!({
                "name": format!("c{class}"), "rows": 100, "precision": 1, "recall": 1, "f1": 1
            })).collect::<Vec<_>>(),
            "confusion": vec![vec![0; classes]; classes],
            "wrong": [],
        }))
        .unwrap();
        (0..classes).for_each(|class| evaluation.confusion[class][class] = 90);
        evaluation.confusion[3][5] = 10;
        evaluation.confusion[7][2] = 2;
        let table = confusions(&evaluation);
        assert_eq!(table.rows().len(), 2);
        assert_eq!(table.rows()[0], ["c3", "c5", "10", "10.00 %"]);
        let mut page = Page::new("t");
        write(&mut page, &evaluation);
        let html = page.render("2026-01-01");
        assert!(html.contains("Most frequent confusions") && html.contains("<summary>Confusion"));
    }

    #[test]
    fn cells_are_shaded_by_their_share_of_the_row() {
        assert_eq!(cell(true, 980, 1000), "hit s9");
        assert_eq!(cell(true, 1, 1000), "hit s1");
        assert_eq!(cell(false, 20, 1000), "miss s2");
        assert_eq!(cell(false, 0, 1000), "none");
    }
}
