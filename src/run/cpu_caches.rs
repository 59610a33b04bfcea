//! The processor's caches, as Linux reports them.

use std::fs;

use serde::{Deserialize, Serialize};

/// A cache of the first processor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cache {
    /// Its level; 1 is the nearest to the core.
    pub level: u32,
    /// `Data`, `Instruction` or `Unified`.
    pub kind: String,
    /// Its size in bytes.
    pub bytes: u64,
}

/// Returns all caches of the first processor; none if the system does not report them.
pub fn detect() -> Vec<Cache> {
    let folder = "/sys/devices/system/cpu/cpu0/cache";
    let read = |index: usize, file: &str| {
        let text = fs::read_to_string(format!("{folder}/index{index}/{file}")).ok()?;
        Some(text.trim().to_owned())
    };
    (0..)
        .map_while(|index| {
            Some(Cache {
                level: read(index, "level")?.parse().ok()?,
                kind: read(index, "type")?,
                bytes: bytes(&read(index, "size")?)?,
            })
        })
        .collect()
}

/// Parses a size such as `32K` or `8M`, in bytes.
fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix('K') {
        Some(number) => (number, 1 << 10),
        None => match text.strip_suffix('M') {
            Some(number) => (number, 1 << 20),
            None => (text, 1),
        },
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed_with_their_units() {
        assert_eq!(bytes("32K"), Some(32 << 10));
        assert_eq!(bytes("8M"), Some(8 << 20));
        assert_eq!(bytes("512"), Some(512));
        assert_eq!(bytes("large"), None);
    }
}
