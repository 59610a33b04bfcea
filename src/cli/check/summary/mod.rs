//! What `nplus1 check` found: rows, curves, the document of both, and its text.

mod curve;
mod report;
mod rows;
mod text;

pub use curve::CurveSummary;
pub use report::{CheckReport, ComplexStepComparison, DirectionalComparison, ExternalGradient};
pub use rows::MethodRow;
