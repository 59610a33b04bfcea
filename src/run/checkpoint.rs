//! `checkpoint-NNNNNN.bin`: everything that a resumed run needs to continue with the same bits.
//!
//! ```text
//! magic "nplus1cp" · format version u32 · payload length u64 · SHA-256 of the payload · payload
//! payload: header length u32 · header (JSON) · θ · the optimizer's vectors · best θ
//! ```
//! All integers and floats are little-endian. A checkpoint is written under a temporary name beside
//! its predecessors and renamed when it is complete. The newest two are kept, so that a damaged one
//! costs only the time since the one before, not the run. Refused: any file whose hash, lengths or
//! numbers do not match.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::json;
use crate::error::{Error, Result};
use crate::format::file::{read_capped, write_atomically};
use crate::model::{Layout, Parameters};
use crate::numeric::{Precision, Real};
use crate::optimizer::OptimizerState;
use crate::optimizer::state::StateScalars;
use crate::train::{EpochRecord, EpochSums, TrainingState};

const MAGIC: &[u8; 8] = b"nplus1cp";
const VERSION: u32 = 2;
/// Bytes before the payload: magic, version, length, hash.
const PREFIX: usize = 8 + 4 + 8 + 32;
/// The file name of a directory's first checkpoint.
pub const FIRST: &str = "checkpoint-000001.bin";
/// Number of checkpoints that are kept.
const KEPT_CHECKPOINTS: usize = 2;
/// Size limit of a checkpoint in bytes: enough for θ, the best θ and L-BFGS's 2m + 1 vectors of the
/// largest model at m = 6; smaller models may have larger m.
const FILE_CAP: u64 = 15 << 30;

/// The state of a run between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The resolved config, as TOML.
    pub config: String,
    /// Number of epochs completed.
    pub epoch: usize,
    /// Number of steps since the start of the run.
    pub steps: u64,
    /// The precision of all vectors.
    pub precision: Precision,
    /// θ in layout order, little-endian.
    pub parameters: Vec<u8>,
    /// The scalar part of the optimizer state.
    pub scalars: StateScalars,
    /// The vectors of the optimizer state, each as long as θ, little-endian.
    pub optimizer_vectors: Vec<Vec<u8>>,
    /// The best θ so far, if early stopping is on.
    pub best: Option<Best>,
    /// Sums over the epoch in progress.
    pub partial: EpochSums,
    /// One record per completed epoch, as in `metrics.jsonl`.
    pub records: Vec<EpochRecord>,
}

/// The parameters of the best validation epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Best {
    /// The number of the epoch, from 1.
    pub epoch: usize,
    /// Its validation loss.
    pub loss: f64,
    /// θ in layout order, little-endian.
    pub parameters: Vec<u8>,
}

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

#[derive(Serialize, Deserialize)]
struct CheckpointHeader {
    config: String,
    epoch: usize,
    steps: u64,
    precision: Precision,
    parameters_bytes: usize,
    scalars: StateScalars,
    vectors: usize,
    best: Option<BestHeader>,
    partial: EpochSums,
    records: Vec<EpochRecord>,
}

#[derive(Serialize, Deserialize)]
struct BestHeader {
    epoch: usize,
    loss: f64,
}

impl Checkpoint {
    /// Creates the checkpoint of a run in `state`, with its resolved config.
    pub fn from_state<R: Real>(config: String, state: &TrainingState<R>) -> Self {
        let bytes = |numbers: &[R]| {
            let mut bytes = Vec::new();
            R::extend_bytes(numbers, &mut bytes);
            bytes
        };
        Self {
            config,
            epoch: state.epoch,
            steps: state.steps,
            precision: R::PRECISION,
            parameters: bytes(state.parameters.flat()),
            scalars: state.optimizer_state.scalars(),
            optimizer_vectors: state
                .optimizer_state
                .vectors()
                .into_iter()
                .map(bytes)
                .collect(),
            best: state.best.as_ref().map(|(loss, epoch, parameters)| Best {
                epoch: *epoch,
                loss: *loss,
                parameters: bytes(parameters.flat()),
            }),
            partial: state.partial,
            records: state.records.clone(),
        }
    }

    /// Restores the state of the run, for a network of this layout.
    ///
    /// # Errors
    /// Another number of parameters or another precision, or vectors that do not match the
    /// optimizer state's scalars, are refused; errors name `path`.
    pub fn state<R: Real>(&self, layout: &Arc<Layout>, path: &Path) -> Result<TrainingState<R>> {
        let found = self.parameters.len() / width(self.precision);
        if self.precision != R::PRECISION || found != layout.len() {
            return Err(Error::refused(
                path,
                format!(
                    "the checkpoint has {found} parameters in {}, but the config requires {} in {}",
                    self.precision.name(),
                    layout.len(),
                    R::PRECISION.name()
                ),
            )
            .help("a resumed run must have the same network and precision"));
        }
        let numbers = |bytes: &[u8]| bytes.chunks_exact(R::BYTES).map(R::from_bytes).collect();
        let parameters = |bytes: &[u8]| Parameters::from_flat(Arc::clone(layout), numbers(bytes));
        let vectors = self
            .optimizer_vectors
            .iter()
            .map(|bytes| numbers(bytes))
            .collect();
        let optimizer_state = OptimizerState::from_parts(self.scalars, vectors, layout)
            .ok_or_else(|| {
                let count = self.optimizer_vectors.len();
                let problem =
                    format!("its optimizer state cannot have {count} vectors with these scalars");
                Error::refused(path, problem)
            })?;
        Ok(TrainingState {
            parameters: parameters(&self.parameters),
            optimizer_state,
            epoch: self.epoch,
            steps: self.steps,
            partial: self.partial,
            best: self
                .best
                .as_ref()
                .map(|best| (best.loss, best.epoch, parameters(&best.parameters))),
            records: self.records.clone(),
        })
    }

    /// Encodes the checkpoint as the bytes of a file.
    ///
    /// # Panics
    /// If the vectors differ in length, or the header is longer than 4 GiB.
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = self.parameters.len();
        assert!(
            self.optimizer_vectors
                .iter()
                .all(|vector| vector.len() == length)
                && self
                    .best
                    .as_ref()
                    .is_none_or(|best| best.parameters.len() == length),
            "all vectors of a checkpoint are as long as θ"
        );
        let header = json::line(&CheckpointHeader {
            config: self.config.clone(),
            epoch: self.epoch,
            steps: self.steps,
            precision: self.precision,
            parameters_bytes: length,
            scalars: self.scalars,
            vectors: self.optimizer_vectors.len(),
            best: self.best.as_ref().map(|best| BestHeader {
                epoch: best.epoch,
                loss: best.loss,
            }),
            partial: self.partial,
            records: self.records.clone(),
        });
        let header_length = u32::try_from(header.len()).expect("a header is far below 4 GiB");
        let mut bytes = vec![0; PREFIX];
        bytes.extend_from_slice(&header_length.to_le_bytes());
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&self.parameters);
        for vector in &self.optimizer_vectors {
            bytes.extend_from_slice(vector);
        }
        if let Some(best) = &self.best {
            bytes.extend_from_slice(&best.parameters);
        }
        let (prefix, payload) = bytes.split_at_mut(PREFIX);
        prefix[..8].copy_from_slice(MAGIC);
        prefix[8..12].copy_from_slice(&VERSION.to_le_bytes());
        prefix[12..20].copy_from_slice(&(payload.len() as u64).to_le_bytes());
        prefix[20..].copy_from_slice(&Sha256::digest(payload));
        bytes
    }

    /// Decodes the checkpoint in `bytes`; errors name `path`.
    ///
    /// # Errors
    /// Bytes whose magic, version, hash, lengths or header do not match.
    pub fn from_bytes(bytes: &[u8], path: &Path) -> Result<Self> {
        decode(bytes).map_err(|problem| Error::refused(path, problem))
    }
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
        fs::remove_file(old).map_err(|source| Error::io("remove", old, source))?;
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

/// Decodes the checkpoint in `bytes`, or describes the problem.
fn decode(bytes: &[u8]) -> std::result::Result<Checkpoint, String> {
    let truncated = || format!("truncated: {} bytes", bytes.len());
    let mut rest = bytes;
    let mut take = |length: usize| {
        let (taken, after) = rest.split_at_checked(length).ok_or_else(truncated)?;
        rest = after;
        Ok::<_, String>(taken)
    };
    let magic = take(8)?;
    if magic != MAGIC {
        return Err("is not a checkpoint of nplus1".to_owned());
    }
    let version = little_endian(take(4)?);
    if version != u64::from(VERSION) {
        return Err(format!(
            "has checkpoint format {version}; this version of nplus1 reads {VERSION}"
        ));
    }
    let length = little_endian(take(8)?);
    let hash = take(32)?;
    let payload = rest;
    if payload.len() as u64 != length {
        return Err(format!(
            "truncated: {} of {length} bytes of payload",
            payload.len()
        ));
    }
    if Sha256::digest(payload).as_slice() != hash {
        return Err("damaged: its SHA-256 does not match".to_owned());
    }
    decode_payload(payload)
}

/// Decodes a payload whose hash is right, and checks that the lengths of its parts are consistent.
fn decode_payload(payload: &[u8]) -> std::result::Result<Checkpoint, String> {
    let misfit = || "the lengths of its parts are inconsistent".to_owned();
    let (length, rest) = payload.split_at_checked(4).ok_or_else(misfit)?;
    let length = usize::try_from(little_endian(length)).map_err(|_| misfit())?;
    let (header, rest) = rest.split_at_checked(length).ok_or_else(misfit)?;
    let header = std::str::from_utf8(header).map_err(|error| error.to_string())?;
    let header: CheckpointHeader =
        json::parse(header).map_err(|error| format!("unreadable header: {error}"))?;
    let length = header.parameters_bytes;
    if length == 0 || !length.is_multiple_of(width(header.precision)) {
        return Err(misfit());
    }
    let (parameters, rest) = rest.split_at_checked(length).ok_or_else(misfit)?;
    let (vectors, rest) = header
        .vectors
        .checked_mul(length)
        .and_then(|bytes| rest.split_at_checked(bytes))
        .ok_or_else(misfit)?;
    let best_length = if header.best.is_some() { length } else { 0 };
    if rest.len() != best_length {
        return Err(misfit());
    }
    Ok(Checkpoint {
        config: header.config,
        epoch: header.epoch,
        steps: header.steps,
        precision: header.precision,
        parameters: parameters.to_vec(),
        scalars: header.scalars,
        optimizer_vectors: vectors.chunks_exact(length).map(<[u8]>::to_vec).collect(),
        best: header.best.map(|best| Best {
            epoch: best.epoch,
            loss: best.loss,
            parameters: rest.to_vec(),
        }),
        partial: header.partial,
        records: header.records,
    })
}

/// Returns the number of bytes of a float.
fn width(precision: Precision) -> usize {
    match precision {
        Precision::F32 => f32::BYTES,
        Precision::F64 => f64::BYTES,
    }
}

/// Reads up to 8 bytes as an integer.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_checkpoint_has_the_number_1() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(number_of(OsStr::new(FIRST)), Some(1));
        let saved = save(folder.path(), &checkpoint()).unwrap();
        assert_eq!(saved, folder.path().join(FIRST));
    }

    use crate::numeric::tally::Tally;
    use crate::optimizer::{History, adam, sgd};

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            config: "name = \"a\"\n".to_owned(),
            epoch: 3,
            steps: 1517,
            precision: Precision::F32,
            parameters: vec![1; 12],
            scalars: StateScalars {
                kind: (&adam::STATE).into(),
                steps: u64::MAX,
                value: 0.1 + 0.2,
            },
            optimizer_vectors: vec![vec![2; 12], vec![4; 12]],
            best: Some(Best {
                epoch: 2,
                loss: 0.1 + 0.2,
                parameters: vec![3; 12],
            }),
            partial: EpochSums {
                rows: 170,
                loss: 1e-300,
                seconds: 0.1,
                tally: Tally::multiplications(7),
            },
            records: vec![EpochRecord {
                epoch: 1,
                steps: 500,
                learning_rate: 0.1,
                train_loss: 1.0 / 3.0,
                validation_loss: None,
                validation_accuracy: Some(0.1),
                gradient_norm: 2.0,
                seconds: 1.0,
                tally: Tally::default(),
            }],
        }
    }

    fn decoded(bytes: &[u8]) -> Result<Checkpoint> {
        Checkpoint::from_bytes(bytes, Path::new("checkpoint-000001.bin"))
    }

    #[test]
    fn a_checkpoint_survives_encoding_and_decoding() {
        let full = checkpoint();
        assert_eq!(decoded(&full.to_bytes()).unwrap(), full);
        let plain = Checkpoint {
            scalars: StateScalars::default(),
            optimizer_vectors: Vec::new(),
            best: None,
            ..full
        };
        assert_eq!(decoded(&plain.to_bytes()).unwrap(), plain);
    }

    #[test]
    fn a_training_state_is_restored_from_its_checkpoint() {
        let layout = Arc::new(Layout::new(&[1, 1], true));
        let theta = |x: f64| Parameters::from_flat(Arc::clone(&layout), vec![x, -x]);
        let path = Path::new("checkpoint-000001.bin");
        let mut moments = OptimizerState::zeros(&adam::STATE, &layout);
        moments.steps = 11;
        *moments.vectors_mut() = [theta(0.3), theta(1e-300)];
        let states = [
            OptimizerState::default(),
            OptimizerState::zeros(&sgd::STATE, &layout),
            moments,
            OptimizerState::from(History {
                value: 0.1 + 0.2,
                gradient: theta(0.3),
                pairs: (0..3).map(|k| (theta(f64::from(k)), theta(0.5))).collect(),
            }),
        ];
        for optimizer_state in states {
            let state = TrainingState {
                optimizer_state,
                best: Some((f64::MIN_POSITIVE, 1, theta(7.0))),
                epoch: 1,
                steps: 11,
                partial: checkpoint().partial,
                records: checkpoint().records,
                ..TrainingState::new(theta(0.1))
            };
            let mut checkpoint =
                decoded(&Checkpoint::from_state("".to_owned(), &state).to_bytes()).unwrap();
            assert_eq!(checkpoint.state(&layout, path).unwrap(), state);
            let other = Arc::new(Layout::new(&[1, 2], true));
            assert!(checkpoint.state::<f64>(&other, path).is_err());
            assert!(checkpoint.state::<f32>(&layout, path).is_err());
            checkpoint
                .optimizer_vectors
                .extend([vec![0; 16], vec![0; 16], vec![0; 16]]);
            assert!(checkpoint.state::<f64>(&layout, path).is_err());
        }
    }

    #[test]
    fn the_header_names_the_state_as_it_always_has() {
        let layout = Arc::new(Layout::new(&[1, 1], true));
        let header = |state: OptimizerState<f64>| {
            let state = TrainingState {
                optimizer_state: state,
                ..TrainingState::new(Parameters::zeros(Arc::clone(&layout)))
            };
            let bytes = Checkpoint::from_state(String::new(), &state).to_bytes();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let history = History {
            value: 0.5,
            gradient: Parameters::zeros(Arc::clone(&layout)),
            pairs: std::collections::VecDeque::new(),
        };
        for (state, expected) in [
            (
                OptimizerState::default(),
                r#"{"kind":"nothing","steps":0,"value":0.0},"vectors":0"#,
            ),
            (
                OptimizerState::zeros(&sgd::STATE, &layout),
                r#"{"kind":"velocity","steps":0,"value":0.0},"vectors":1"#,
            ),
            (
                OptimizerState::zeros(&adam::STATE, &layout),
                r#"{"kind":"moments","steps":0,"value":0.0},"vectors":2"#,
            ),
            (
                history.into(),
                r#"{"kind":"history","steps":0,"value":0.5},"vectors":1"#,
            ),
        ] {
            let header = header(state);
            let expected = format!(r#""scalars":{expected}"#);
            assert!(header.contains(&expected), "{header}");
        }
    }

    #[test]
    fn any_flipped_bit_and_any_truncation_is_refused() {
        let bytes = checkpoint().to_bytes();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(decoded(&damaged).unwrap_err().exit_code(), 2, "byte {at}");
            assert!(decoded(&bytes[..at]).is_err(), "{at} bytes");
        }
        let mut longer = bytes;
        longer.push(0);
        assert!(decoded(&longer).is_err());
    }

    #[test]
    fn a_checkpoint_of_an_earlier_format_is_refused_by_its_number() {
        let mut bytes = checkpoint().to_bytes();
        bytes[8..12].copy_from_slice(&1u32.to_le_bytes());
        let message = decoded(&bytes).unwrap_err().to_string();
        assert!(message.contains("checkpoint format 1"), "{message}");
        assert!(message.contains("nplus1 reads 2"), "{message}");
    }

    #[test]
    fn an_inconsistent_payload_is_refused_even_with_a_right_hash() {
        let edits: [fn(&mut Vec<u8>); 4] = [
            |payload| payload[..4].copy_from_slice(&u32::MAX.to_le_bytes()),
            |payload| payload.truncate(3),
            |payload| payload.push(0),
            |payload| {
                let at = payload.windows(4).position(|four| four == b":12,").unwrap();
                payload[at..at + 4].copy_from_slice(b":10,");
            },
        ];
        for edit in edits {
            let bytes = checkpoint().to_bytes();
            let mut payload = bytes[PREFIX..].to_vec();
            edit(&mut payload);
            let mut forged = bytes[..12].to_vec();
            forged.extend_from_slice(&(payload.len() as u64).to_le_bytes());
            forged.extend_from_slice(&Sha256::digest(&payload));
            forged.extend_from_slice(&payload);
            assert!(decoded(&forged).is_err());
        }
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
