//! Gradient engines: θ and a mini-batch in, the gradient out.

/// `[gradient]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GradientConfig {
    /// Which engine: `backprop`.
    pub method: String,
}
