//! The inputs that the fuzz targets of `fuzz/` found, and those they began with, are read as the
//! targets read them: without a panic, refused with exit code 2, or accepted and equal when written
//! again.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::support::fuzzed::TARGETS;

/// The committed inputs, in bytes.
const LARGEST_CORPUS: u64 = 2_000_000;

#[test]
fn every_input_of_the_corpus_is_read_as_promised() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let folder = tempfile::tempdir().unwrap();
    let (mut faults, mut bytes) = (Vec::new(), 0);
    for (target, check) in TARGETS {
        let mut count = 0;
        for entry in fs::read_dir(corpus.join(target)).unwrap() {
            let path = entry.unwrap().path();
            let input = fs::read(&path).unwrap();
            bytes += input.len() as u64;
            count += 1;
            if catch_unwind(AssertUnwindSafe(|| check(&input, folder.path()))).is_err() {
                faults.push(path);
            }
        }
        assert!(count >= 5, "{target}: {count} inputs");
    }
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(bytes <= LARGEST_CORPUS, "{bytes} bytes");
}
