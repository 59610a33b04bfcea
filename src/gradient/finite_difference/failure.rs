//! Why an objective's gradient could not be formed: the parameter, its value, h, and the way out.

use std::fmt;

use super::noise::Unmeasured;
use crate::error::Error;

/// Where an objective was evaluated.
#[derive(Clone, Debug, PartialEq)]
pub enum EvaluationPoint {
    /// At θ itself.
    Theta,
    /// At θ but for one parameter.
    Perturbed {
        /// The parameter's name.
        parameter: String,
        /// Its value in θ.
        value: f64,
        /// What was added to it: h or −h.
        increment: f64,
    },
    /// Along a direction, where the noise is measured.
    Line {
        /// The distance from θ.
        distance: f64,
    },
}

impl fmt::Display for EvaluationPoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Theta => f.write_str("at θ itself"),
            Self::Perturbed {
                parameter,
                value,
                increment,
            } => {
                let sign = if *increment < 0.0 { '−' } else { '+' };
                let increment = increment.abs();
                write!(f, "where {parameter} is {value:?} {sign} {increment:?}")
            }
            Self::Line { distance } => write!(f, "{distance:?} from θ along a direction"),
        }
    }
}

impl EvaluationPoint {
    fn way_out(&self) -> String {
        match self {
            Self::Theta => "start from a θ where the function is finite".to_owned(),
            Self::Perturbed { increment, .. } if *increment < 0.0 => format!(
                "give an increment smaller than {:?}, or take forward differences, which do not look below θ",
                increment.abs()
            ),
            Self::Perturbed { increment, .. } => {
                format!("give an increment smaller than {increment:?}, or move θ off the edge")
            }
            Self::Line { .. } => "give the increment as a number".to_owned(),
        }
    }
}

/// Why there is no gradient.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// θ has not the objective's length.
    #[error("θ has {found} numbers, the objective takes {parameters}")]
    Length {
        /// The length given.
        found: usize,
        /// N.
        parameters: usize,
    },
    /// A parameter is infinite or NaN.
    #[error("{parameter} is {value:?}\n  help: start from a finite θ")]
    Theta {
        /// The parameter's name.
        parameter: String,
        /// Its value.
        value: f64,
    },
    /// No increment: zero, negative, NaN, or so large that θ ± h is infinite.
    #[error(
        "the increment of {parameter} = {value:?} is {increment:?}: allowed are positive numbers, as long as θ ± h is finite\n  help: leave the increment to `auto`"
    )]
    Increment {
        /// The parameter's name.
        parameter: String,
        /// Its value.
        value: f64,
        /// h.
        increment: f64,
    },
    /// θ ± h is θ.
    #[error(
        "{parameter} = {value:?} does not change when {increment:?} is added or subtracted: h is below its resolution\n  help: {least:?} is the least increment that changes it; `auto` takes {auto:?}"
    )]
    Vanishes {
        /// The parameter's name.
        parameter: String,
        /// Its value.
        value: f64,
        /// h.
        increment: f64,
        /// The least h with θ ± h ≠ θ.
        least: f64,
        /// What `auto` takes.
        auto: f64,
    },
    /// Levels of extrapolation out of range.
    #[error(
        "{levels} levels of extrapolation: allowed are 1 (none) to {}",
        super::richardson::MOST_LEVELS
    )]
    Levels {
        /// The number given.
        levels: usize,
    },
    /// The objective is infinite or NaN. Of several such places the first in the order of
    /// parameters, on any number of threads.
    #[error("the objective is {value:?} {place}\n  help: {}", place.way_out())]
    NotFinite {
        /// Its value.
        value: f64,
        /// Where.
        place: EvaluationPoint,
    },
    /// The noise that the increment was to be chosen by could not be measured.
    #[error(transparent)]
    Noise(#[from] Unmeasured),
    /// The stop flag was raised.
    #[error("stopped after {evaluations} of {planned} evaluations")]
    Stopped {
        /// Evaluations that had ended, of the gradient or of the measurement of noise before it.
        evaluations: u64,
        /// Evaluations that this was to make.
        planned: u64,
    },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NotFinite { .. } => Self::Diverged(failure.to_string()),
            Failure::Stopped { .. } => Self::Interrupted {
                code: 130,
                saved: None,
            },
            _ => Self::Usage(failure.to_string()),
        }
    }
}
