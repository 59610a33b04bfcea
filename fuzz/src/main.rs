//! libFuzzer's entry: reads its inputs as the reader does that `FUZZ_TARGET` names. What a reader has to
//! keep to is in `tests/support/fuzzed.rs`, which the tests share.

#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

#[path = "../../tests/support/fuzzed.rs"]
mod fuzzed;

/// Fails on four bytes that only coverage finds: `fuzz/run` shows by it that the program is
/// instrumented.
fn canary(bytes: &[u8], _: &Path) {
    let mut found = 0;
    for (&byte, &wanted) in bytes.iter().zip(b"n+1=") {
        // Else the compiler makes one comparison of all four.
        if std::hint::black_box(byte) != wanted {
            return;
        }
        found += 1;
    }
    assert!(found < 4, "the canary was found");
}

/// The check, and the folder of its files, which `fuzz/run` removes.
static TARGET: LazyLock<(fuzzed::Check, TempDir)> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names the target");
    let canary: (&str, fuzzed::Check) = ("canary", canary);
    let known = (fuzzed::TARGETS.into_iter().chain([canary])).find(|(target, _)| *target == name);
    let (_, check) = known.unwrap_or_else(|| panic!("no target has the name {name}"));
    (check, tempfile::tempdir().expect("a folder for files"))
});

fuzz_target!(|bytes: &[u8]| {
    let (check, folder) = &*TARGET;
    check(bytes, folder.path());
});
