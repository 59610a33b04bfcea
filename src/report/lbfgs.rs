//! The page of `explain lbfgs`: where minimizations end whose gradients have errors.

use super::figure::{Axis, Figure, Mark, Series};
use super::page::Page;
use super::source::CommonContent;
use crate::study::lbfgs_precision::{LbfgsPlan, LbfgsReport, MinimizationRow};

/// Writes the section of a study of L-BFGS.
pub fn write(page: &mut Page, common: &CommonContent, plan: &LbfgsPlan, rows: &[MinimizationRow]) {
    let name = super::environment::name(common);
    let report = LbfgsReport::new(&name, common.label.clone(), plan, rows);
    page.sentences(report.answer.as_slice());
    page.table("Minimizations", &report.table());
    let mut labels: Vec<String> = Vec::new();
    for row in rows.iter().filter(|row| row.increment.is_some()) {
        if !labels.contains(&row.label()) {
            labels.push(row.label());
        }
    }
    let series = labels.iter().enumerate().map(|(color, label)| {
        let of_label = rows.iter().filter(|row| row.label() == *label);
        let point = |row: &MinimizationRow| Some((row.increment?, row.largest_gradient));
        let mut points: Vec<(f64, f64)> = of_label.filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Series::new(label, Mark::LineAndDots, color, points)
    });
    let axes = [
        Axis::new("increment h").logarithmic(),
        Axis::new("largest element of the exact gradient").logarithmic(),
    ];
    let caption = "The exact gradient, by backprop in double precision, where L-BFGS ended with quotients of this increment: the smaller, the nearer to a minimum.";
    let figure = Figure::new("Where L-BFGS ends", caption, axes, series.collect());
    page.figure(&figure, &[common.origin()]);
}
