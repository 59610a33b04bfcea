//! No file and no folder that a command writes can be written by the group or by others, whatever the
//! umask; and no crash is taken for an exit code.

#![cfg(target_os = "linux")]

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use crate::support::program::{Workplace, assert_no_crash, text};

const CONFIG: &str = "
seed = 1
[data]
dataset = 'iris'
test = 0.2
[model]
hidden = [3]
[optimizer]
learning_rate = 0.5
[train]
epochs = 2
";

/// The commands that write files.
const LINES: [&str; 8] = [
    "train flowers.toml -q",
    "train folds.toml -q --out deep/er/run",
    "cost flowers.toml -q --widths 2,3 --depths 1",
    "race flowers.toml -q --limit 0.1 --tuning 0.1 --seeds 1..2 --methods backprop",
    "export runs/flowers/001/model.safetensors -o model.c",
    "report runs/flowers/001 -o page.html --figures figures",
    "config init new.toml",
    "gradient --at theta.json --program 'sed -u -f loss.sed' -o gradient.json",
];

/// Returns the paths of all files and folders below `folder`.
fn tree(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        }
        found.push(path);
    }
    found
}

#[test]
fn nothing_that_is_written_is_writable_by_others_whatever_the_umask() {
    let place = Workplace::new(CONFIG);
    place.write("folds.toml", &CONFIG.replace("test = 0.2", "folds = 2"));
    place.write("theta.json", "[1.0, 2.0]");
    // A program whose function is 1 everywhere.
    let loss = "s/.*\"id\": *\\([0-9]*\\).*/{\"id\":\\1,\"loss\":1}/";
    place.write("loss.sed", loss);
    let program = env!("CARGO_BIN_EXE_nplus1");
    let before = tree(place.path());
    for line in LINES {
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("umask 000; exec {program} {line}"))
            .current_dir(place.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let errors = text(&output.stderr);
        assert!(
            output.status.success(),
            "{line}: {}: {errors}",
            output.status
        );
    }
    let mut written = tree(place.path());
    written.retain(|path| !before.contains(path));
    for path in &written {
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o022, 0, "{}: {mode:o}", path.display());
    }
    for name in [
        "runs/flowers/001/lock",
        "runs/flowers/001/model.safetensors",
        "deep/er/run/fold-01/metrics.csv",
        "deep/er/run/report.html",
        "studies/flowers/001/rows.jsonl",
        "model.c",
        "page.html",
        "new.toml",
        "gradient.json",
    ] {
        assert!(
            written.contains(&place.path().join(name)),
            "{name}: {written:#?}"
        );
    }
}

#[test]
fn a_crash_is_seen_whichever_way_the_program_ends() {
    for code in [0, 1, 2, 8, 130] {
        assert_no_crash(ExitStatus::from_raw(code << 8), "an exit code");
    }
    // A panic; then ABRT, SEGV and XFSZ.
    for crash in [101 << 8, 6, 11, 25, 134 << 8] {
        let seen =
            std::panic::catch_unwind(|| assert_no_crash(ExitStatus::from_raw(crash), "a crash"));
        assert!(seen.is_err(), "{crash}");
    }
}
