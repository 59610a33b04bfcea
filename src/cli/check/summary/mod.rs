//! Results of `nplus1 check`: rows, curves, the JSON document and its text.

mod curve;
mod report;
mod rows;
mod text;

pub use curve::CurveSummary;
pub use report::{CheckReport, ComplexStepComparison, DirectionalComparison, ExternalGradient};
pub use rows::MethodRow;
