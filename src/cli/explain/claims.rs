//! `nplus1 explain claims`: every claim, its verdict and its evidence.

use std::fmt::Write as _;
use std::io::Write;

use serde::Serialize;

use crate::cli::arguments::Global;
use crate::cli::output::show;
use crate::error::Result;
use crate::explain::claims::Claim;
pub use crate::explain::claims::claims as all;

/// The JSON document.
#[derive(Debug, Serialize)]
struct ClaimsReport {
    /// All claims.
    claims: Vec<Claim>,
}

/// Prints every claim.
///
/// # Errors
/// A failed write.
pub fn run(global: &Global, out: &mut dyn Write) -> Result<()> {
    show(&ClaimsReport { claims: all() }, text, global, out)
}

fn text(report: &ClaimsReport) -> String {
    let mut text = String::new();
    for (number, claim) in report.claims.iter().enumerate() {
        let _ = writeln!(text, "{:>2}. {}", number + 1, claim.claim);
        let _ = writeln!(text, "    {}: {}", claim.verdict, claim.because);
        if let Some(evidence) = &claim.evidence {
            let _ = writeln!(text, "    {evidence}");
        }
        let _ = writeln!(text, "    $ {}", claim.command);
    }
    text
}
