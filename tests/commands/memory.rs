//! With too little memory every command ends with exit code 5 (or 8) and says so; files that were made to take memory are refused within little of it.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::support::hostile::gzip;
use crate::support::limited::{Ended, limited, measured, plain_start};
use crate::support::program::{Workplace, names};

const CONFIG: &str = r#"
name = "flowers"
[data]
dataset = "iris"
test = 30
[model]
hidden = [5]
[optimizer]
learning_rate = 0.2
[train]
epochs = 2
batch_size = 10
"#;

/// The megabytes above a plain start that a refusal may take.
const MARGIN: u64 = 64;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Creates a folder with a config of iris, one of MNIST, a finished run and a program.
fn workplace() -> Workplace {
    let folder = Workplace::new(CONFIG);
    let mnist = root().join("configs/mnist-30.toml");
    fs::copy(mnist, folder.path().join("mnist.toml")).unwrap();
    folder.report("train flowers.toml --json --out run");
    folder.write(
        "loss.sh",
        "#!/bin/sh\nwhile read -r _; do n=$((n + 1)); echo \"{\\\"id\\\":$n,\\\"loss\\\":0.5}\"; done\n",
    );
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(folder.path().join("loss.sh"), executable).unwrap();
    folder.write("theta.json", "[1.5, 2.5]\n");
    folder.write("rows.csv", "5.1,3.5,1.4,0.2\n6.2,3.4,5.4,2.3\n");
    folder
}

/// Commands that compute: their words, with options that make them short.
const COMMANDS: [&str; 14] = [
    "train mnist.toml --set train={max_steps=20} --out new",
    "train mnist.toml --dry-run",
    "check mnist.toml --rows 2 --directions 2",
    "cost mnist.toml --methods backprop",
    "race mnist.toml --methods backprop --seeds 1..1 --limit 0.1",
    "scale mnist.toml --methods backprop --threads 1,2 --runs 1",
    "train flowers.toml --out new",
    "check flowers.toml",
    "cost flowers.toml",
    "eval run",
    "predict run rows.csv",
    "report run",
    "gradient --program ./loss.sh --at theta.json --workers 1",
    "explain",
];

/// Asserts that a command ended in order: with 0, or refused for want of memory, or by the system.
fn assert_orderly(ended: &Ended, case: &str) {
    let code = ended.status.code();
    let errors = &ended.errors;
    match code {
        Some(0 | 2) => {}
        Some(5 | 8) => assert!(!errors.trim().is_empty(), "{case}: no message"),
        _ => panic!("{case}: {}: {errors}", ended.status),
    }
    assert!(!errors.contains("panicked"), "{case}: {errors}");
}

#[test]
fn slow_with_little_memory_every_command_ends_in_order() {
    let folder = workplace();
    let before = names(folder.path());
    let (mut count, mut refused) = (0, 0);
    for megabytes in [40, 60, 80, 100, 150, 200, 300] {
        for line in COMMANDS {
            let ended = measured(limited(&folder, megabytes, line));
            assert_orderly(&ended, &format!("{megabytes} MB, {line}"));
            let code = ended.status.code();
            (count, refused) = (count + 1, refused + usize::from(code == Some(5)));
            for name in names(folder.path()) {
                if !before.contains(&name) {
                    let path = folder.path().join(name);
                    let removed = match path.is_dir() {
                        true => fs::remove_dir_all(path),
                        false => fs::remove_file(path),
                    };
                    removed.unwrap();
                }
            }
        }
    }
    println!("commands under a limit: {count} runs, {refused} refused with 5, none aborted");
    assert!(
        refused > 10,
        "only {refused} commands had too little memory"
    );
}

#[test]
fn networks_that_fit_no_machine_are_refused_with_both_sizes_before_anything_is_written() {
    let folder = Workplace::new(CONFIG);
    let before = names(folder.path());
    for line in [
        "train flowers.toml",
        "train flowers.toml --dry-run",
        "check flowers.toml",
        "cost flowers.toml",
        "race flowers.toml",
        "scale flowers.toml",
    ] {
        // The largest network that a config allows: 10¹¹ weights.
        let line = format!("{line} --set model.hidden=[{}]", ["65536"; 32].join(","));
        let errors = folder.failure(&line, 5);
        for part in ["TiB", "are available", "help: "] {
            assert!(errors.contains(part), "{line}: no `{part}` in {errors}");
        }
        assert_eq!(names(folder.path()), before, "{line}");
    }
}

/// Runs `train` on a config whose section `[data]` has these lines; it must be refused as content
/// within a second and [`MARGIN`] of a plain start's memory. Returns the message.
fn refused(folder: &Workplace, data: &str) -> String {
    folder.write(
        "bomb.toml",
        &format!("[data]\n{data}\n[model]\nhidden = [2]\n[optimizer]\nlearning_rate = 0.2\n[train]\nmax_steps = 1\n"),
    );
    let most = plain_start(folder) + MARGIN;
    let ended = measured(limited(folder, most, "train bomb.toml --out new"));
    let errors = ended.errors;
    assert_eq!(ended.status.code(), Some(2), "{data}: {errors}");
    // A second in an optimized program.
    assert!(
        ended.time < Duration::from_secs(3),
        "{data}: {:?}",
        ended.time
    );
    assert!(!folder.path().join("new").exists(), "{data}");
    errors
}

fn write(folder: &Workplace, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_gzipped_table_that_unpacks_to_gigabytes_is_refused_at_once() {
    let folder = Workplace::new(CONFIG);
    // Members of a gzip file follow each other: 2 GB of rows in 2 MB.
    let member = gzip(&b"1,2,3\n4,5,6\n".repeat(1 << 20));
    write(&folder, "a.csv.gz", &member.repeat(170));
    let errors = refused(&folder, "train = \"a.csv.gz\"");
    assert!(errors.contains("100 times as large"), "{errors}");
    write(&folder, "b.csv.gz", &gzip(&vec![b','; 19 << 20]));
    let errors = refused(&folder, "train = \"b.csv.gz\"");
    assert!(errors.contains("65536 columns"), "{errors}");
}

#[test]
fn headers_are_compared_before_values_are_read() {
    let folder = Workplace::new(CONFIG);
    let header = |sizes: &[u32]| {
        let mut bytes = vec![0, 0, 8, u8::try_from(sizes.len()).unwrap()];
        bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
        bytes
    };
    // Files with holes take no room on the disk.
    let sparse = |name: &str, sizes: &[u32]| {
        let path = write(&folder, name, &header(sizes));
        let values: u64 = sizes.iter().map(|&size| u64::from(size)).product();
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.set_len(4 + 4 * sizes.len() as u64 + values).unwrap();
    };
    let labels = [header(&[60]), [0, 1].repeat(30)].concat();
    write(&folder, "labels", &labels);
    sparse("images", &[2_000_000, 1_000]);
    let errors = refused(&folder, "train = [\"images\", \"labels\"]");
    assert!(errors.contains("2000000 images, but 60 labels"), "{errors}");
    let images = [header(&[2, 2, 2]), vec![0; 8]].concat();
    write(&folder, "few", &images);
    sparse("many", &[1_350_000_000]);
    let errors = refused(&folder, "train = [\"few\", \"many\"]");
    assert!(
        errors.contains("2 images, but 1350000000 labels"),
        "{errors}"
    );
}

#[test]
fn lines_and_columns_without_end_are_refused() {
    let folder = Workplace::new(CONFIG);
    write(&folder, "commas.csv", &vec![b','; 10 << 20]);
    let errors = refused(&folder, "train = \"commas.csv\"");
    assert!(errors.contains("more than 65536 columns"), "{errors}");
    let quoted = [&b"a,b\n\"1\",\""[..], &vec![b'x'; 300 << 20]].concat();
    write(&folder, "quoted.csv", &quoted);
    let errors = refused(&folder, "train = \"quoted.csv\"");
    assert!(
        errors.contains("a record of more than 4194304 bytes"),
        "{errors}"
    );
    let wide = [&b"0,".repeat(70_000)[..], b"1\n"].concat().repeat(3);
    write(&folder, "wide.csv", &wide);
    let errors = refused(&folder, "train = \"wide.csv\"");
    assert!(
        errors.contains("help: save wider data as an NPY"),
        "{errors}"
    );
}

#[test]
fn a_model_with_200_000_tensors_is_refused() {
    let folder = workplace();
    let tensor = |at: usize| {
        format!("\"layers.{at}.bias\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[0,0]}}")
    };
    let header: Vec<String> = (0..200_000).map(tensor).collect();
    let header = format!("{{{}}}", header.join(","));
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    write(&folder, "many.safetensors", &bytes);
    let line = "eval many.safetensors --data theta.json";
    let ended = measured(limited(&folder, plain_start(&folder) + MARGIN, line));
    assert_eq!(ended.status.code(), Some(2), "{}", ended.errors);
    let is_said = ended.errors.contains("at most 100000 are allowed");
    assert!(is_said, "{}", ended.errors);
}

/// Fails the first, second, … large allocation of a command until it has no further one; returns how
/// many there were.
fn fail_in_turn(folder: &Workplace, line: &str, least: usize) -> usize {
    let mut in_a_row = 0;
    for number in 1.. {
        let mut command = folder.command(line);
        command.env("NPLUS1_FAIL_ALLOCATION", format!("{number}:{least}"));
        let ended = measured(command);
        let case = format!("allocation {number} of `{line}`");
        assert_orderly(&ended, &case);
        let _ = fs::remove_dir_all(folder.path().join("new"));
        // A refusal that is not fatal, as of a buffer for a message, ends with 0, too.
        in_a_row = match ended.status.code() {
            Some(0) => in_a_row + 1,
            _ => 0,
        };
        if in_a_row == 3 {
            return number - 3;
        }
    }
    unreachable!("every number was tried")
}

#[test]
fn slow_every_large_allocation_of_a_training_fails_in_order() {
    let folder = Workplace::new(CONFIG);
    let rows = (0..4000).map(|row| format!("{row}.5,{},{},{}\n", row % 7, row % 3, row % 2));
    folder.write("rows.csv", &rows.collect::<String>());
    folder.write(
        "rows.toml",
        "[data]\ntrain = \"rows.csv\"\nlabel = 3\nvalidation = 100\ntest = 100\n[model]\nhidden = [200, 100]\n[optimizer]\nkind = \"adam\"\n[train]\nmax_steps = 3\nbatch_size = 50\n",
    );
    folder.report("train rows.toml --json --out run");
    let mut tried = Vec::new();
    for line in ["train rows.toml --out new", "eval run"] {
        tried.push(fail_in_turn(&folder, line, 1 << 16));
    }
    assert!(
        tried.iter().sum::<usize>() > 40,
        "only {tried:?} were failed"
    );
    println!("large allocations failed in turn: {tried:?}");
}

#[test]
fn a_thread_that_the_system_refuses_ends_the_program_with_5() {
    let folder = workplace().with_processors(64);
    // 64 stacks of 2 MiB, and what else a thread has, do not fit.
    let ended = measured(limited(
        &folder,
        40,
        "train flowers.toml --threads 64 --out new",
    ));
    assert_eq!(ended.status.code(), Some(5), "{}", ended.errors);
    assert!(ended.errors.contains("--threads"), "{}", ended.errors);
}
