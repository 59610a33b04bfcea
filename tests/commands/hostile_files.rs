//! The program refuses hostile files: with exit code 2 (or 8), within a second, and within 64 MB of
//! what a plain start takes.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use crate::support::hostile::{Format, HostileFile, files, images, labels, png, time_limit};
use crate::support::limited::{limited, measured, plain_start};
use crate::support::program::Workplace;

const CONFIG: &str = r#"
name = "flowers"
[data]
dataset = "iris"
test = 30
[model]
hidden = [3]
[optimizer]
learning_rate = 0.2
[train]
epochs = 1
batch_size = 10
"#;

/// Every how many files of a format one is given to the program; the library reads all of them.
const EVERY: usize = 4;
/// The megabytes above a plain start that it may take.
const MARGIN: u64 = 64;

/// Writes a hostile file where a command reads it; returns the command.
fn prepare(folder: &Workplace, file: &HostileFile) -> &'static str {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let data = |files: &str| {
        folder.write(
            "hostile.toml",
            &format!("data.train = {files}\ntrain.max_steps = 1\noptimizer.learning_rate = 0.1\nmodel.hidden = [2]\n"),
        );
        "train hostile.toml --out new"
    };
    let bytes = &file.bytes[..];
    match file.format {
        Format::Idx => {
            write("images", bytes);
            write("labels", &labels());
            data("[\"images\", \"labels\"]")
        }
        Format::IdxLabels => {
            write("images", &images());
            write("labels", bytes);
            data("[\"images\", \"labels\"]")
        }
        Format::Csv | Format::Gzip | Format::Npy | Format::Npz => {
            write("table", bytes);
            data("\"table\"")
        }
        Format::Png => {
            for class in ["pictures/a", "pictures/b"] {
                fs::create_dir_all(folder.path().join(class)).unwrap();
            }
            write("pictures/a/1.png", &png());
            write("pictures/b/1.png", bytes);
            data("\"pictures\"")
        }
        Format::Toml => {
            write("hostile.toml", bytes);
            "config show hostile.toml"
        }
        Format::Safetensors => {
            write("hostile.safetensors", bytes);
            "eval hostile.safetensors --data rows.csv"
        }
        Format::Checkpoint => {
            let _ = fs::remove_dir_all(folder.path().join("resumed"));
            fs::create_dir(folder.path().join("resumed")).unwrap();
            let config = folder.path().join("run/config.toml");
            fs::copy(config, folder.path().join("resumed/config.toml")).unwrap();
            write("resumed/checkpoint-000001.bin", bytes);
            "train --resume resumed"
        }
        Format::StudyRows => {
            write("study/rows.jsonl", bytes);
            "cost --resume study"
        }
        Format::Program => {
            write("answers", bytes);
            "gradient --program ./answers.sh --at theta.json --workers 1 --timeout 1"
        }
        Format::Theta => {
            write("hostile.json", bytes);
            "gradient --program ./loss.sh --at hostile.json --workers 1 --timeout 1"
        }
    }
}

/// Creates a folder with a run, a study and two programs.
fn workplace() -> Workplace {
    let folder = Workplace::new(CONFIG);
    folder.report("train flowers.toml --json --out run");
    folder.report("cost flowers.toml --json --methods backprop --out study");
    folder.write(
        "rows.csv",
        "5.1,3.5,1.4,0.2,setosa\n6.2,3.4,5.4,2.3,virginica\n",
    );
    folder.write("theta.json", "[1, 2]\n");
    folder.write("answers.sh", "#!/bin/sh\nexec cat answers\n");
    // The shell's own `read` takes a system call for each byte.
    folder.write(
        "loss.sh",
        "#!/bin/sh\nhead -n 1 >/dev/null; echo '{\"id\":1,\"error\":\"no\"}'\n",
    );
    for program in ["answers.sh", "loss.sh"] {
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(folder.path().join(program), executable).unwrap();
    }
    folder
}

#[test]
fn slow_hostile_files_end_every_command_in_order() {
    let folder = workplace();
    let most = plain_start(&folder) + MARGIN;
    let (mut count, mut faults) = (0, Vec::new());
    let mut slowest = Duration::ZERO;
    for format in Format::ALL {
        for file in
            files(format).filter(|file| file.number.is_multiple_of(EVERY) || file.number < 8)
        {
            let line = prepare(&folder, &file);
            let ended = measured(limited(&folder, most, line));
            let case = format!("{format:?} {}", file.number);
            match ended.status.code() {
                // A file may still be valid; a damaged checkpoint is skipped for an older one (7 if
                // there is none), and a program's values may be none (3, 4).
                Some(0 | 2 | 3 | 4 | 7 | 8) => {}
                _ => faults.push(format!("{case}: {} {}", ended.status, ended.errors)),
            }
            if ended.errors.contains("panicked") || ended.time > time_limit() {
                faults.push(format!("{case}: {:?}, {}", ended.time, ended.errors));
            }
            count += 1;
            slowest = slowest.max(ended.time);
            let _ = fs::remove_dir_all(folder.path().join("new"));
        }
    }
    println!(
        "by the program: {count} files, {} faults, slowest {:.2} s, each within {MARGIN} MB above a plain start",
        faults.len(),
        slowest.as_secs_f64(),
    );
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(count > 300);
}
