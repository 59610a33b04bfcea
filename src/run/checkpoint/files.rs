//! The files of checkpoints in a run's directory: saves the newest, finds the newest valid one.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::Checkpoint;
use crate::error::{Error, Result};
use crate::format::disk;
use crate::format::file::{read_capped, write_atomically};

/// The file name of a directory's first checkpoint.
pub const FIRST: &str = "checkpoint-000001.bin";
/// Number of checkpoints that are kept.
const KEPT_CHECKPOINTS: usize = 2;
/// Size limit of a checkpoint in bytes: enough for θ, the best θ and L-BFGS's 2m + 1 vectors of the
/// largest model at m = 6; smaller models may have larger m.
const FILE_CAP: u64 = 15 << 30;

/// A valid checkpoint that was read from a file.
#[derive(Clone, Debug)]
pub struct ValidCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// The path of its file.
    pub path: PathBuf,
    /// The messages about newer checkpoints that were refused.
    pub refused: Vec<String>,
}

/// Writes `checkpoint` into `directory` as its newest, and removes all but the newest two.
///
/// # Errors
/// Errors of the operating system; the older checkpoints are then kept.
pub fn save(directory: &Path, checkpoint: &Checkpoint) -> Result<PathBuf> {
    let before = list(directory)?;
    let number = before.last().map_or(1, |(number, _)| number + 1);
    let path = directory.join(format!("checkpoint-{number:06}.bin"));
    write_atomically(&path, &checkpoint.to_bytes())?;
    let superfluous = (before.len() + 1).saturating_sub(KEPT_CHECKPOINTS);
    for (_, old) in &before[..superfluous] {
        disk::remove(old).map_err(|source| Error::io("remove", old, source))?;
    }
    Ok(path)
}

/// Reads the newest valid checkpoint of `directory`.
///
/// # Errors
/// [`Error::NoCheckpoint`] if there is none, with the problem of each invalid one; any failure to
/// read a newer one, because continuing from an older checkpoint would eventually remove the newer
/// one.
pub fn newest(directory: &Path) -> Result<ValidCheckpoint> {
    let mut refused = Vec::new();
    for (_, path) in list(directory)?.into_iter().rev() {
        let read =
            read_capped(&path, FILE_CAP).and_then(|bytes| Checkpoint::from_bytes(&bytes, &path));
        match read {
            Ok(checkpoint) => {
                return Ok(ValidCheckpoint {
                    checkpoint,
                    path,
                    refused,
                });
            }
            Err(error @ Error::Refused(_)) => refused.push(error.to_string()),
            Err(failed) => return Err(failed),
        }
    }
    let mut message = format!(
        "{}: no valid checkpoint to resume from",
        directory.display()
    );
    for problem in &refused {
        message.push_str("\n  ");
        message.push_str(problem);
    }
    Err(Error::NoCheckpoint(message))
}

/// Returns the number in a checkpoint's file name; `None` for any other name.
pub fn number_of(name: &OsStr) -> Option<u64> {
    let digits = name
        .to_str()?
        .strip_prefix("checkpoint-")?
        .strip_suffix(".bin")?;
    let plain = digits.len() <= 18 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

/// Returns true if `directory` has a checkpoint, valid or not.
///
/// # Errors
/// A folder that cannot be read.
pub fn any(directory: &Path) -> Result<bool> {
    Ok(!list(directory)?.is_empty())
}

/// Lists the checkpoints of `directory`, oldest first.
fn list(directory: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let failed = |source| Error::io("read", directory, source);
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(number) = number_of(&entry.file_name()) {
            found.push((number, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::checkpoint::tests::checkpoint;

    #[test]
    fn the_first_checkpoint_has_the_number_1() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(number_of(OsStr::new(FIRST)), Some(1));
        let saved = save(folder.path(), &checkpoint()).unwrap();
        assert_eq!(saved, folder.path().join(FIRST));
    }

    #[test]
    fn only_checkpoint_names_have_a_number() {
        let number = |name: &str| number_of(OsStr::new(name));
        assert_eq!(number("checkpoint-000012.bin"), Some(12));
        assert_eq!(number("checkpoint-1000000.bin"), Some(1_000_000));
        for name in [
            "checkpoint-.bin",
            "checkpoint-+1.bin",
            "checkpoint-1.tmp",
            "a-1.bin",
        ] {
            assert_eq!(number(name), None, "{name}");
        }
    }
}
