//! The first weights and biases.

/// Which distribution the first parameters are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Initialization {
    /// Weights and biases N(0, 1).
    Normal,
    /// Weights N(0, 1/fan_in), biases N(0, 1).
    Scaled,
    /// Weights uniform in ±√(6/(fan_in + fan_out)), biases 0.
    Xavier,
}

impl Initialization {
    /// As configs spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Scaled => "scaled",
            Self::Xavier => "xavier",
        }
    }
}
