//! What the arguments of several studies mean.

use crate::error::{Error, Result};

/// Samples of a measured time, unless the user says how many.
pub const REPEATS: u32 = 7;
/// A study that goes on as it was begun cannot be asked anything else.
pub fn asks_too_much() -> Error {
    Error::Usage(
        "--resume without CONFIG goes on as the study was begun\n  help: leave the other options out, or give CONFIG with all of them".to_owned(),
    )
}

/// The numbers of a list in order; refused: 0, and a number that stands twice.
pub fn ascending(option: &str, numbers: &[usize]) -> Result<Vec<usize>> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    if sorted.first() == Some(&0) {
        return Err(Error::Usage(format!(
            "{option}: 0 is not allowed; whole numbers from 1"
        )));
    }
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Usage(format!(
            "{option}: {} stands twice; each number once",
            twice[0]
        )));
    }
    Ok(sorted)
}
