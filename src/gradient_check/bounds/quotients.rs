//! Error bounds of the difference quotients that numeric backprop uses for σ′ and for the outputs'
//! δ: truncation, from the largest second derivative, and round-off of the two values.

use super::backprop_roundoff::clamped;
use super::{ELEMENTARY, ErrorBounds};
use crate::gradient_check::number_format::NumberFormat;
use crate::gradient_check::sample_pass::SamplePass;
use crate::numeric::output_loss::OutputLoss;

impl ErrorBounds<'_> {
    /// Bounds the error of (L(z + h) − L(z))/h for one output: h/2·max|∂²L/∂z²|, and the round-off
    /// of the perturbed losses.
    pub(super) fn loss_quotient_error(
        &self,
        pass: &SamplePass,
        unit: usize,
        format: NumberFormat,
        h: f64,
    ) -> f64 {
        let last = pass.z.len() - 1;
        // σ′ ≤ ¼, |σ″| ≤ 1/(6√3); the second derivative of ½r² with r = σ − y is σ′² + r·σ″.
        let curvature = match self.network.output_loss() {
            OutputLoss::SigmoidQuadratic => 1.0 / 16.0 + SIGMOID_BEND,
            OutputLoss::LinearQuadratic => 1.0,
            _ => 0.25,
        } * pass.weight;
        let u = format.roundoff;
        let delta = pass.delta[last][unit].abs();
        // z + h is rounded, and the larger the loss at z + h, the larger its round-off; softmax
        // computes it from numbers as large as z + h.
        let shift = (pass.z[last][unit].abs() + h) * (delta + curvature * h);
        let outputs = pass.z[last].len() as f64;
        let growth = match self.network.output_loss() {
            OutputLoss::SoftmaxCrossEntropy => (ELEMENTARY + outputs) * (pass.weight + delta) * h,
            _ => ELEMENTARY * (delta + curvature * h) * h,
        };
        let noise = u
            * (2.0 * self.perturbed_pass_roundoff(pass, last, Some(unit), true, None)
                + shift
                + growth);
        let clamp_error = clamped(pass.z[last][unit].abs() + h, format) * pass.weight;
        let lost = 2.0 * clamp_error + 2.0 * format.tiny;
        curvature * h / 2.0 + (noise + lost) / h
    }
}

/// max |σ″| = 1/(6√3), at σ = ½ ± 1/√12.
const SIGMOID_BEND: f64 = 0.096_225_044_864_937_63;

/// Bounds the error of (σ(z + h) − σ(z))/h: h/2·max|σ″|, and the roundings of both σ and of z + h.
pub(super) fn sigmoid_quotient_error(
    pass: &SamplePass,
    layer: usize,
    unit: usize,
    format: NumberFormat,
    h: f64,
) -> f64 {
    let (u, z) = (format.roundoff, pass.z[layer][unit].abs());
    let (y, slope) = (pass.y[layer][unit], pass.slope(layer, unit));
    // Over the increment σ grows by at most h·max σ′, and σ′ by h·max|σ″|.
    let values = ELEMENTARY * u * (2.0 * y + 0.25 * h);
    let shift = u * (z + h) * (slope + SIGMOID_BEND * h);
    let lost = 2.0 * clamped(z + h, format) + 2.0 * format.tiny;
    SIGMOID_BEND * h / 2.0 + (values + shift + lost) / h
}
