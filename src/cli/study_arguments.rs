//! Defaults and checks of arguments that several studies share.

use crate::error::{Error, Result};

/// Default number of samples of a measured time.
pub const REPEATS: u32 = 7;
/// Returns the error for options beside `--resume` without a config: a study resumes with its
/// original options.
pub fn options_beside_resume() -> Error {
    Error::Usage(
        "--resume without CONFIG uses the original options of the study\n  help: leave the other options out, or give CONFIG with all of them".to_owned(),
    )
}

/// Sorts the numbers of a list; refuses 0 and duplicates.
pub fn ascending(option: &str, numbers: &[usize]) -> Result<Vec<usize>> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    if sorted.first() == Some(&0) {
        return Err(Error::Usage(format!(
            "{option}: 0 is not allowed; allowed: whole numbers from 1"
        )));
    }
    if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::Usage(format!(
            "{option}: duplicate value {}",
            twice[0]
        )));
    }
    Ok(sorted)
}
