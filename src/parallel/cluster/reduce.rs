//! How the gradients of several ranks come together.

/// How the gradients of backprop come together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduce {
    /// Each number is summed in one order, on one rank: the bits are those of one process.
    #[default]
    Exact,
    /// Each rank sums the gradient of its own rows, and the sums are added: the bits depend on the
    /// number of ranks.
    Fast,
}

impl Reduce {
    /// Both, the default first.
    pub const ALL: [Self; 2] = [Self::Exact, Self::Fast];

    /// Returns the name in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }
}
