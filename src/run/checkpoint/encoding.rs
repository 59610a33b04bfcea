//! The bytes of a checkpoint's file.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Best, Checkpoint, width};
use crate::data::Schema;
use crate::error::{Error, Result};
use crate::numeric::Precision;
use crate::optimizer::state::StateScalars;
use crate::run::json;
use crate::train::{EpochRecord, EpochSums};

const MAGIC: &[u8; 8] = b"nplus1cp";
const VERSION: u32 = 2;
/// Bytes before the payload: magic, version, length, hash.
const PREFIX: usize = 8 + 4 + 8 + 32;

#[derive(Serialize, Deserialize)]
struct CheckpointHeader {
    config: String,
    #[serde(default, skip_serializing_if = "Schema::is_plain")]
    schema: Schema,
    epoch: usize,
    steps: u64,
    precision: Precision,
    parameters_bytes: usize,
    scalars: StateScalars,
    vectors: usize,
    best: Option<BestHeader>,
    partial: EpochSums,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unevaluated: Option<EpochRecord>,
    records: Vec<EpochRecord>,
}

#[derive(Serialize, Deserialize)]
struct BestHeader {
    epoch: usize,
    loss: f64,
}

impl Checkpoint {
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
            schema: self.schema.clone(),
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
            unevaluated: self.unevaluated.clone(),
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
        schema: header.schema,
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
        unevaluated: header.unevaluated,
        records: header.records,
    })
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
    use std::sync::Arc;

    use super::*;
    use crate::model::{Layout, Parameters};
    use crate::optimizer::{History, OptimizerState, adam, sgd};
    use crate::run::checkpoint::tests::{checkpoint, decoded};
    use crate::train::TrainingState;

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
}
