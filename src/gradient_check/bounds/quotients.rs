//! What difference quotients in place of σ′ and of the outputs' δ err by: truncation, by the largest
//! second derivative, and what the two values round.

use super::backprop_roundoff::clamped;
use super::{ELEMENTARY, ErrorBounds};
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::SamplePass;
use crate::numeric::output_loss::OutputLoss;

impl ErrorBounds<'_> {
    /// What (L(z + h) − L(z))/h of one output errs by: h/2·max|∂²L/∂z²|, and what the perturbed losses
    /// round anew.
    pub(super) fn quotient_of_loss(
        &self,
        trace: &SamplePass,
        unit: usize,
        format: NumberFormat,
        h: f64,
    ) -> f64 {
        let last = trace.z.len() - 1;
        // σ′ ≤ ¼, |σ″| ≤ 1/(6√3); of ½r² with r = σ − y it is σ′² + r·σ″.
        let curvature = match self.network.head() {
            OutputLoss::SigmoidQuadratic => 1.0 / 16.0 + SIGMOID_BEND,
            OutputLoss::LinearQuadratic => 1.0,
            _ => 0.25,
        };
        let u = format.roundoff;
        let delta = trace.delta[last][unit].abs();
        // z + h is rounded, and a loss at z + h that is farther away has more to round; a softmax
        // forms it from numbers as large as z + h.
        let moved = (trace.z[last][unit].abs() + h) * (delta + curvature * h);
        let outputs = trace.z[last].len() as f64;
        let grown = match self.network.head() {
            OutputLoss::SoftmaxCrossEntropy => (ELEMENTARY + outputs) * (1.0 + delta) * h,
            _ => ELEMENTARY * (delta + curvature * h) * h,
        };
        let noise =
            u * (2.0 * self.rounded_anew(trace, last, Some(unit), true, None) + moved + grown);
        let lost = 2.0 * clamped(trace.z[last][unit].abs() + h, format) + 2.0 * format.tiny;
        curvature * h / 2.0 + (noise + lost) / h
    }
}

/// max |σ″|, at σ = ½ ± 1/√12.
const SIGMOID_BEND: f64 = 0.096_225_044_864_937_63;

/// What (σ(z + h) − σ(z))/h errs by: h/2·max|σ″|, the roundings of both σ, and of z + h.
pub(super) fn quotient_of_sigmoid(
    trace: &SamplePass,
    layer: usize,
    unit: usize,
    format: NumberFormat,
    h: f64,
) -> f64 {
    let (u, z) = (format.roundoff, trace.z[layer][unit].abs());
    let (y, slope) = (trace.y[layer][unit], trace.slope(layer, unit));
    // Over the step σ grows by h·max σ′ at most, and σ′ by h·max|σ″|.
    let values = ELEMENTARY * u * (2.0 * y + 0.25 * h);
    let moved = u * (z + h) * (slope + SIGMOID_BEND * h);
    let lost = 2.0 * clamped(z + h, format) + 2.0 * format.tiny;
    SIGMOID_BEND * h / 2.0 + (values + moved + lost) / h
}
