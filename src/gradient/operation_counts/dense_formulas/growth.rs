//! How the multiplications of a gradient grow with N when layers widen: the exponent of N in the
//! limit.
//!
//! With n_l = c_l·w^d_l, every term of a formula is a power of w; the largest power wins, of the
//! formula and of N. If only the hidden layers widen (d_0 = d_L = 0), inputs and outputs stay
//! behind, and incremental differences, whose cost is a sum over pairs of layers, end at lower
//! exponents than if all layers do: 1 with up to two hidden layers, 3/2 with three, 2 from four on,
//! against 1, 3/2 and 2 with none, one and two. At finite widths the exponent may be far from its
//! limit, so it is shown beside local exponents, never instead of them.

use crate::gradient::GradientConfig;
use crate::gradient::finite_difference::Reuse;

/// Returns the exponent of N in the limit of wide layers; `degrees` says for each layer size
/// n_0 … n_L whether it grows (1) or stays (0). `None` if N does not grow.
pub fn limit(method: &GradientConfig, degrees: &[u32]) -> Option<f64> {
    let last = degrees.len() - 1;
    let layer = |l: usize| degrees[l] + degrees[l - 1];
    let from = |k: usize| (k..=last).map(layer).max().unwrap_or(0);
    let parameters = from(1);
    // Products above one perturbed unit of layer l.
    let tail = |l: usize| match l == last {
        true => 0,
        false => degrees[l + 1].max(from(l + 2)),
    };
    let layers = || 1..=last;
    let largest = |of: &dyn Fn(usize) -> u32| layers().map(of).max().unwrap_or(0);
    let reused = |reuse: Reuse| match reuse {
        Reuse::Full => 2 * parameters,
        Reuse::Prefix => largest(&|l| layer(l) + from(l)),
        Reuse::Incremental => largest(&|l| layer(l) + tail(l)).max(parameters),
    };
    let work = match method {
        GradientConfig::Difference(config) => reused(config.reuse),
        GradientConfig::ForwardMode(reuse) => reused(*reuse),
        GradientConfig::NodePerturbation(_) => largest(&|l| degrees[l] + tail(l)).max(parameters),
        GradientConfig::Backprop
        | GradientConfig::NumericBackprop(_)
        | GradientConfig::Spsa(_)
        | GradientConfig::ForwardGradient(_) => parameters,
    };
    (parameters > 0).then(|| f64::from(work) / f64::from(parameters))
}
