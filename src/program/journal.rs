//! The journal of a program's evaluations: a line of JSON for each, written before it counts, so that
//! work that is interrupted, or killed, goes on where it was.
//!
//! An evaluation is known by θ (the SHA-256 of the base), the changed parameter and its value, so one
//! journal serves any number of gradients of the same program. The program is known by its command
//! and by the SHA-256 of each file that a word of the command names: a changed program starts from the beginning.
//!
//! Lines are on the disk a second after they are written, so a loss of power costs at most the
//! evaluations of a second; lines that it damaged are left out, and evaluated again.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::message::Answered;
use super::worker::{Base, Position, ThetaKey};
use crate::error::{Error, Result};
use crate::format::disk;
use crate::format::file::{folder_of, read_capped, sync_folder};

/// The version of the file's form.
const VERSION: u64 = 1;
/// The largest journal that is read.
const LARGEST: u64 = 1 << 34;
/// The largest file of a program whose content identifies it.
const LARGEST_PROGRAM: u64 = 1 << 26;

/// The longest time for which written lines may not be on the disk.
const UNSYNCED: Duration = Duration::from_secs(1);

/// A place in a journal: θ, the changed parameter and the bits of its value.
pub(super) type Place = (ThetaKey, Option<usize>, u64);

/// The first line of a journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct JournalHeader {
    nplus1_journal: u64,
    command: String,
    files: BTreeMap<String, String>,
}

/// A line of a journal.
#[derive(Serialize, Deserialize)]
struct JournalEntry {
    at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f64>,
    loss: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    gradient: Option<Vec<f64>>,
}

/// The evaluations of a program so far.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    known: HashMap<Place, Answered>,
    /// The number of evaluations that earlier processes made.
    pub resumed: usize,
    added: usize,
    synced: Instant,
}

impl Journal {
    /// Opens the journal of `command` at `path`, or begins it. A line that was cut off by the end of
    /// its process is dropped, and so is one that a loss of power damaged.
    ///
    /// # Errors
    /// The journal of another program, or of an earlier version of this one; a file that is no
    /// journal; [`Error::InUse`] if another process writes it; [`Error::Io`].
    pub fn open(path: &Path, command: &str) -> Result<Self> {
        let mut file = disk::lock_file(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Error::InUse(format!(
                    "{}: another process is writing this journal\n  help: wait until it ends, or name another with --journal",
                    path.display()
                )));
            }
            Err(std::fs::TryLockError::Error(source)) => {
                return Err(Error::io("lock", path, source));
            }
        }
        let header = JournalHeader {
            nplus1_journal: VERSION,
            command: command.to_owned(),
            files: files_of(command),
        };
        let bytes = read_capped(path, LARGEST)?;
        let whole = bytes
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |end| end + 1);
        let known = read(path, &bytes[..whole], &header)?;
        let failed = |source| Error::io("write", path, source);
        disk::truncate(path, &file, whole as u64).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let mut journal = Self {
            path: path.to_path_buf(),
            file,
            resumed: known.len(),
            added: 0,
            synced: Instant::now(),
            known,
        };
        if whole == 0 {
            journal.write(&header)?;
            journal.sync()?;
            sync_folder(folder_of(path))?;
        }
        Ok(journal)
    }

    /// Returns whether it holds no evaluation.
    pub fn is_empty(&self) -> bool {
        self.resumed + self.added == 0
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the answer at `place`, if it is known and has a gradient where that is wanted.
    pub(super) fn get(&self, place: &Place, with_gradient: bool) -> Option<&Answered> {
        let found = self.known.get(place)?;
        (!with_gradient || found.gradient.is_some()).then_some(found)
    }

    /// Adds a finite answer.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn add(&mut self, place: Place, answered: &Answered) -> Result<()> {
        let (key, index, bits) = place;
        self.added += 1;
        self.write(&JournalEntry {
            at: hex(&key),
            index,
            value: index.map(|_| f64::from_bits(bits)),
            loss: answered.loss,
            gradient: answered.gradient.clone(),
        })?;
        if self.synced.elapsed() >= UNSYNCED {
            self.sync()?;
        }
        Ok(())
    }

    /// Waits until all lines are on the disk.
    fn sync(&mut self) -> Result<()> {
        self.synced = Instant::now();
        disk::sync(&self.path, &self.file).map_err(|source| Error::io("write", &self.path, source))
    }

    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text =
            serde_json::to_string(line).expect("entries have string keys and finite numbers");
        text.push('\n');
        let written = disk::write_all(&self.path, &self.file, text.as_bytes());
        written.map_err(|source| Error::io("write", &self.path, source))
    }

    /// Removes the file: its work is done. (A journal without evaluations is removed anyway.)
    pub fn remove(self) {
        // What is left over does no harm.
        let _ = disk::remove(&self.path);
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.is_empty() {
            let _ = disk::remove(&self.path);
        } else {
            let _ = self.sync();
        }
    }
}

/// Reads the entries after a header that must be `expected`.
fn read(path: &Path, bytes: &[u8], expected: &JournalHeader) -> Result<HashMap<Place, Answered>> {
    let mut known = HashMap::new();
    let lines = bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty());
    for (number, line) in lines.enumerate() {
        if number == 0 {
            let found: JournalHeader = serde_json::from_slice(line).map_err(|_| {
                Error::refused(path, "exists and is no journal of nplus1")
                    .help("name another file with --journal, or remove this one")
            })?;
            compare(path, &found, expected)?;
            continue;
        }
        // A damaged line is one evaluation less.
        let Ok(entry) = serde_json::from_slice::<JournalEntry>(line) else {
            continue;
        };
        let Some(key) = from_hex(&entry.at) else {
            continue;
        };
        let bits = entry.value.map_or(0, f64::to_bits);
        let answered = Answered {
            loss: entry.loss,
            gradient: entry.gradient,
        };
        known.insert((key, entry.index, bits), answered);
    }
    Ok(known)
}

/// Refuses the journal of another program.
fn compare(path: &Path, found: &JournalHeader, expected: &JournalHeader) -> Result<()> {
    let problem = if found.nplus1_journal != VERSION {
        format!(
            "is a journal of version {}, not {VERSION}",
            found.nplus1_journal
        )
    } else if found.command != expected.command {
        format!(
            "is the journal of another program, `{}`; this is `{}`",
            found.command, expected.command
        )
    } else if let Some((name, _)) = expected
        .files
        .iter()
        .find(|&(name, sha)| found.files.get(name) != Some(sha))
    {
        format!("has evaluations of an earlier {name}, which has changed since")
    } else {
        return Ok(());
    };
    Err(Error::refused(path, problem)
        .help("remove the file to start from the beginning, or name another with --journal"))
}

/// Returns the SHA-256 of each file that a word of `command` names.
fn files_of(command: &str) -> BTreeMap<String, String> {
    let words =
        command.split(|letter: char| letter.is_whitespace() || "'\";|&()<>".contains(letter));
    let digest = |word: &str| {
        let bytes = read_capped(Path::new(word), LARGEST_PROGRAM).ok()?;
        Some((word.to_owned(), hex(&Sha256::digest(bytes))))
    };
    words
        .filter(|word| !word.is_empty())
        .filter_map(digest)
        .collect()
}

/// Returns the key of a θ.
pub(super) fn key(theta: &[f64]) -> ThetaKey {
    let mut digest = Sha256::new();
    for value in theta {
        digest.update(value.to_bits().to_le_bytes());
    }
    let whole: [u8; 32] = digest.finalize().into();
    std::array::from_fn(|at| whole[at])
}

/// Returns the place of a position.
pub(super) fn place(base: &Base, position: Position<'_>) -> Place {
    match position {
        Position::Change(Some((index, value))) => (base.key, Some(index), value.to_bits()),
        Position::Change(None) => (base.key, None, 0),
        Position::Whole(theta) => (key(theta), None, 0),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<ThetaKey> {
    let mut key = ThetaKey::default();
    if text.len() != 2 * key.len() || !text.is_ascii() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(loss: f64) -> Answered {
        Answered {
            loss,
            gradient: None,
        }
    }

    #[test]
    fn a_journal_keeps_every_bit_and_drops_a_line_that_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let place = (key(&[1.0, 2.0]), Some(1), 0.1f64.to_bits());
        let mut journal = Journal::open(&path, "./loss").unwrap();
        journal.add(place, &answered(0.1 + 0.2)).unwrap();
        assert_eq!(Journal::open(&path, "./loss").unwrap_err().exit_code(), 6);
        drop(journal);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"at\":\"00");
        std::fs::write(&path, &text).unwrap();
        let journal = Journal::open(&path, "./loss").unwrap();
        assert_eq!(journal.get(&place, false), Some(&answered(0.1 + 0.2)));
        assert!(journal.get(&place, true).is_none() && journal.resumed == 1);
        assert!(std::fs::read_to_string(&path).unwrap().ends_with("}\n"));
        journal.remove();
        assert!(!path.exists());
    }

    /// Returns the journal of three answers, and the number of bytes before the last two.
    fn journal_of_three(path: &Path) -> (Journal, usize) {
        let mut journal = Journal::open(path, "./loss").unwrap();
        let mut add = |index| {
            let place = (key(&[1.0]), Some(index), 0.5f64.to_bits());
            journal.add(place, &answered(index as f64)).unwrap();
        };
        add(0);
        let kept = std::fs::metadata(path).unwrap().len() as usize;
        add(1);
        add(2);
        (journal, kept)
    }

    #[test]
    fn a_loss_of_power_costs_no_answer_but_those_it_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let (journal, kept) = journal_of_three(&path);
        drop(journal);
        let whole = std::fs::read(&path).unwrap();
        // Pieces of the last two lines are lost, in any subset: zeros are in their place.
        let piece = (whole.len() - kept).div_ceil(7);
        for mask in 0..1 << 7 {
            for length in [kept, kept + piece, whole.len() - 3, whole.len()] {
                let mut bytes = whole.clone();
                for (at, byte) in bytes.iter_mut().enumerate().skip(kept) {
                    *byte *= u8::from(mask >> ((at - kept) / piece) & 1 == 0);
                }
                bytes.truncate(length);
                std::fs::write(&path, &bytes).unwrap();
                let journal = Journal::open(&path, "./loss").unwrap();
                assert_eq!(journal.known.len(), journal.resumed);
                assert!((1..=3).contains(&journal.resumed));
                for ((_, index, _), found) in &journal.known {
                    assert_eq!(Some(found.loss as usize), *index);
                }
                let all = mask == 0 && length == whole.len();
                assert!(journal.resumed == 3 || !all);
            }
        }
    }

    #[test]
    fn a_write_that_fails_half_way_costs_one_answer() {
        use crate::format::disk::{Call, Fate, watch};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("j");
        let (mut journal, _) = journal_of_three(&path);
        let place = |index| (key(&[1.0]), Some(index), 0.5f64.to_bits());
        let mut writes = 0;
        let watcher = move |_: &Call<'_>| {
            writes += 1;
            match writes {
                1 => Fate::Shorten(20),
                _ => Fate::Fail(std::io::Error::from_raw_os_error(libc::ENOSPC)),
            }
        };
        let full = watch(watcher, || journal.add(place(3), &answered(3.0)));
        assert_eq!(full.unwrap_err().exit_code(), 8);
        // Another worker's answer, when there is room again.
        journal.add(place(4), &answered(4.0)).unwrap();
        journal.add(place(5), &answered(5.0)).unwrap();
        drop(journal);
        let journal = Journal::open(&path, "./loss").unwrap();
        let mut known: Vec<_> = journal.known.keys().map(|place| place.1).collect();
        known.sort();
        assert_eq!(known, [0, 1, 2, 5].map(Some));
    }

    #[test]
    fn journals_of_other_programs_and_other_files_are_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("loss.sh");
        std::fs::write(&program, "one").unwrap();
        let command = format!("sh {}", program.display());
        let path = folder.path().join("j");
        let mut journal = Journal::open(&path, &command).unwrap();
        journal.add((key(&[1.0]), None, 0), &answered(1.0)).unwrap();
        drop(journal);
        let other = Journal::open(&path, "./other").unwrap_err().to_string();
        assert!(other.contains("another program"), "{other}");
        std::fs::write(&program, "two").unwrap();
        let changed = Journal::open(&path, &command).unwrap_err().to_string();
        assert!(changed.contains("has changed since"), "{changed}");
        std::fs::write(&path, "my thesis\n").unwrap();
        let error = Journal::open(&path, &command).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "my thesis\n");
    }
}
