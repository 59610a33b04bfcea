//! The errors of an objective's gradient; each names the parameter, its value, h and the way out.

use std::fmt;

use super::noise::Unmeasured;
use crate::error::Error;

/// The point at which an objective was evaluated.
#[derive(Clone, Debug, PartialEq)]
pub enum EvaluationPoint {
    /// θ itself.
    Theta,
    /// θ with one parameter changed.
    Perturbed {
        /// The parameter's name.
        parameter: String,
        /// Its value in θ.
        value: f64,
        /// The increment added to it, h or −h.
        increment: f64,
    },
    /// A point on the line along which the noise is measured.
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
    /// Returns the way out, for the error message.
    fn way_out(&self) -> String {
        match self {
            Self::Theta => "start from a θ where the function is finite".to_owned(),
            Self::Perturbed { increment, .. } if *increment < 0.0 => format!(
                "give an increment smaller than {:?}, or take forward differences, which do not evaluate below θ",
                increment.abs()
            ),
            Self::Perturbed { increment, .. } => {
                format!(
                    "give an increment smaller than {increment:?}, or move θ away from the edge of the function's domain"
                )
            }
            Self::Line { .. } => "give the increment as a number".to_owned(),
        }
    }
}

/// The reason why no gradient was computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The length of θ is not that of the objective.
    #[error("θ has length {found}, but the objective takes {parameters} parameters")]
    Length {
        /// The length of θ.
        found: usize,
        /// The length the objective takes, N.
        parameters: usize,
    },
    /// The number of increments is not that of the parameters.
    #[error("{found} increments for {parameters} parameters: give one for each")]
    Increments {
        /// The number of increments.
        found: usize,
        /// The number of parameters, N.
        parameters: usize,
    },
    /// The function returned a vector of another length than at θ, or than the sparsity pattern has
    /// rows.
    #[error("the function returned {found} numbers {place}, but {expected} are expected")]
    Outputs {
        /// The length of the vector.
        found: usize,
        /// The expected length, m.
        expected: usize,
        /// The point.
        place: EvaluationPoint,
    },
    /// A sparsity pattern is of another number of columns than θ has parameters.
    #[error("the sparsity pattern has {columns} columns, but θ has length {parameters}")]
    Pattern {
        /// The pattern's number of columns.
        columns: usize,
        /// The length of θ, N.
        parameters: usize,
    },
    /// θ is empty.
    #[error("θ has no parameters, so there is no gradient")]
    NoParameters,
    /// A parameter is infinite or NaN.
    #[error("{parameter} is {value:?}\n  help: start from a finite θ")]
    Theta {
        /// The parameter's name.
        parameter: String,
        /// Its value.
        value: f64,
    },
    /// The increment is zero, negative or NaN, or so large that θ ± h is infinite.
    #[error(
        "the increment of {parameter} = {value:?} is {increment:?}: allowed are positive numbers such that θ ± h is finite\n  help: leave the increment to `auto`"
    )]
    Increment {
        /// The parameter's name.
        parameter: String,
        /// Its value.
        value: f64,
        /// h.
        increment: f64,
    },
    /// θ + h or θ − h rounds to θ.
    #[error(
        "{parameter} = {value:?} does not change when {increment:?} is added or subtracted: the increment is lost in rounding\n  help: {least:?} is the least increment that changes it; `auto` takes {auto:?}"
    )]
    Vanishes {
        /// The parameter's name.
        parameter: String,
        /// Its value.
        value: f64,
        /// h.
        increment: f64,
        /// The smallest h that changes θ.
        least: f64,
        /// The h that `auto` takes.
        auto: f64,
    },
    /// The number of extrapolation levels is out of range.
    #[error(
        "{levels} levels of extrapolation: allowed are 1 (none) to {}",
        super::richardson::MOST_LEVELS
    )]
    Levels {
        /// The number of levels.
        levels: usize,
    },
    /// The objective is infinite or NaN. Of several such points, the first in the order of
    /// parameters is reported, on any number of threads.
    #[error("the objective is {value:?} {place}\n  help: {}", place.way_out())]
    NotFinite {
        /// Its value.
        value: f64,
        /// The point.
        place: EvaluationPoint,
    },
    /// The function returned an error. Of several such points, the first in the order of parameters
    /// is reported, on any number of threads.
    #[error("the function failed {place}: {message}")]
    Function {
        /// The function's message.
        message: String,
        /// The point.
        place: EvaluationPoint,
    },
    /// The noise that determines the increment could not be measured.
    #[error(transparent)]
    Noise(#[from] Unmeasured),
    /// The system refused threads.
    #[error("{0}")]
    Threads(String),
    /// The stop flag was set.
    #[error("stopped after {evaluations} of {planned} evaluations")]
    Stopped {
        /// Evaluations that had finished, of the gradient or of the noise measurement before it.
        evaluations: u64,
        /// Evaluations that were planned.
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
            Failure::Threads(_) => Self::Resources(failure.to_string()),
            _ => Self::Usage(failure.to_string()),
        }
    }
}
