//! No path, limit or setting makes the program wait for ever or crash: it ends with a documented
//! exit code and a message.

#![cfg(unix)]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::program::{Workplace, names, send};

const CONFIG: &str = r#"
name = "flowers"
[data]
dataset = "iris"
test = 30
normalize = "standard"
[model]
hidden = [5]
[optimizer]
learning_rate = 0.2
[train]
epochs = 4
batch_size = 10
"#;

/// Creates a folder with a finished run in `run`.
fn workplace() -> Workplace {
    let folder = Workplace::new(CONFIG);
    folder.report("train flowers.toml --json --out run");
    folder
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status();
    assert!(made.unwrap().success());
}

/// Runs a command that must end with `code` within a minute; returns its standard error.
fn ends(folder: &Workplace, line: &str, code: i32) -> String {
    folder.ends(&mut folder.command(line), code)
}

fn assert_holds(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no `{part}` in: {text}");
    }
}

#[test]
fn every_command_refuses_a_fifo_in_place_of_a_file_without_waiting_for_its_writer() {
    let folder = workplace();
    make_fifo(&folder.path().join("f"));
    for line in [
        "train flowers.toml --out new --init-from f",
        "train --resume f",
        "train flowers.toml --out f",
        "eval f",
        "eval run --data f",
        "eval run --data f f",
        "check flowers.toml --weights f",
        "check flowers.toml --against f",
        "compare f f",
        "report f",
        "report run -o f",
        "explain --html f",
    ] {
        let begin = Instant::now();
        assert_holds(&ends(&folder, line, 2), &["f: is a FIFO, "]);
        assert!(begin.elapsed() < Duration::from_secs(30), "{line}");
    }
    assert!(!folder.path().join("new").exists());
}

#[test]
fn datasets_that_are_fifos_are_refused() {
    let folder = Workplace::new(CONFIG);
    fs::create_dir_all(folder.path().join("sets/iris")).unwrap();
    for name in ["f.csv", "f.csv.gz", "labels", "sets/iris/iris.csv"] {
        make_fifo(&folder.path().join(name));
    }
    for (name, line) in [
        ("f.csv", r#"train flowers.toml --set data={train="f.csv"}"#),
        (
            "f.csv.gz",
            r#"train flowers.toml --set data={train="f.csv.gz"}"#,
        ),
        (
            "f.csv",
            r#"train flowers.toml --set data={train=["f.csv","labels"]}"#,
        ),
        ("iris.csv", "train flowers.toml --datasets sets"),
        ("iris.csv", "data verify iris --datasets sets"),
    ] {
        let named = format!("{name}: is a FIFO, not a regular file");
        assert_holds(&ends(&folder, line, 2), &[&named]);
    }
}

#[test]
fn paths_that_are_not_regular_files_are_refused_by_their_kind() {
    let folder = workplace();
    let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap();
    for (path, kind) in [
        ("/dev/zero", "a device"),
        ("/dev/null", "a device"),
        ("socket", "a socket"),
        ("run", "a folder"),
    ] {
        let named = format!("{path}: is {kind}, not a regular file");
        for command in ["config check", "train", "check flowers.toml --against"] {
            let errors = ends(&folder, &format!("{command} {path}"), 2);
            assert_holds(&errors, &[&named, "help: give a"]);
        }
    }
}

#[test]
fn a_config_may_come_from_a_pipe() {
    let folder = Workplace::new(CONFIG);
    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = folder.command("config check /dev/stdin");
    command.stdin(reader);
    let writing = std::thread::spawn(move || {
        let (one, other) = CONFIG.split_at(20);
        writer.write_all(one.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        writer.write_all(other.as_bytes()).unwrap();
    });
    folder.ends(&mut command, 0);
    writing.join().unwrap();

    // A FIFO that is opened for writing a little later.
    let path = folder.path().join("f");
    make_fifo(&path);
    let writing = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        fs::write(path, CONFIG).unwrap();
    });
    ends(&folder, "config check f", 0);
    writing.join().unwrap();
}

#[test]
fn slow_a_pipe_that_never_ends_is_refused_as_a_config() {
    let folder = Workplace::new(CONFIG);
    make_fifo(&folder.path().join("f"));
    let nothing = "f: a FIFO that did not end within 5 s: 0 bytes were read";
    assert_holds(&ends(&folder, "config check f", 2), &[nothing, "help: "]);

    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(CONFIG.as_bytes()).unwrap();
    let mut command = folder.command("config check /dev/stdin");
    command.stdin(reader);
    let errors = folder.ends(&mut command, 2);
    let some = format!("within 5 s: {} bytes were read", CONFIG.len());
    assert_holds(&errors, &["/dev/stdin: a FIFO that", &some]);
    drop(writer);

    let (reader, mut writer) = std::io::pipe().unwrap();
    let mut command = folder.command("config check /dev/stdin");
    command.stdin(reader);
    let writing = std::thread::spawn(move || while writer.write_all(&[b'#'; 4096]).is_ok() {});
    let errors = folder.ends(&mut command, 2);
    assert_holds(&errors, &["larger than 256 KiB"]);
    // The command also holds the reading end.
    drop(command);
    writing.join().unwrap();
}

#[test]
fn slow_no_command_waits_for_a_fifo_in_a_run() {
    let folder = workplace();
    let run = folder.path().join("run");
    for (name, evaluated, resumed) in [
        // The checkpoint comes first, because every resumed run saves a newer one.
        ("checkpoint-000001.bin", 0, 7),
        ("config.toml", 2, 0),
        ("environment.json", 0, 0),
        ("evaluation.json", 0, 0),
        ("metrics.jsonl", 0, 0),
        ("summary.json", 0, 0),
        ("model.safetensors", 2, 0),
    ] {
        let (path, kept) = (run.join(name), folder.path().join("kept"));
        fs::rename(&path, &kept).unwrap();
        make_fifo(&path);
        // The page says which file could not be read.
        ends(&folder, "report run", 0);
        let page = fs::read_to_string(run.join("report.html")).unwrap();
        if !name.starts_with("checkpoint") {
            let note = format!("{name} cannot be read");
            assert_holds(&page, &[&note, "is a FIFO"]);
        }
        let errors = ends(&folder, "eval run", evaluated);
        if evaluated != 0 {
            assert_holds(&errors, &[name, "a FIFO"]);
        }
        let errors = ends(&folder, "train --resume run --set train.epochs=4", resumed);
        if resumed != 0 {
            assert_holds(&errors, &[name, "is a FIFO"]);
        }
        fs::rename(&kept, &path).unwrap();
    }
}

#[test]
fn no_command_waits_for_a_fifo_in_a_study() {
    let folder = Workplace::new(CONFIG);
    for name in ["study.json", "results.json"] {
        let study = folder.path().join(name.replace(".json", ""));
        fs::create_dir(&study).unwrap();
        make_fifo(&study.join(name));
    }
    let refused = "is a FIFO, not a regular file";
    for line in [
        "report study",
        "race --resume study",
        "compare results results",
    ] {
        assert_holds(&ends(&folder, line, 2), &[".json", refused]);
    }
}

#[test]
fn a_lock_that_is_not_a_regular_file_is_refused() {
    let folder = Workplace::new(CONFIG);
    let lock_path = |name: &str| {
        let run = folder.path().join(name);
        fs::create_dir(&run).unwrap();
        run.join("lock")
    };
    make_fifo(&lock_path("fifo"));
    let read = lock_path("read");
    make_fifo(&read);
    std::os::unix::fs::symlink(folder.path().join("elsewhere"), lock_path("link")).unwrap();
    fs::create_dir(lock_path("folder")).unwrap();
    // With a reader, this FIFO can be opened for writing.
    let _reader = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&read)
        .unwrap();
    for (name, kind) in [
        ("fifo", "a FIFO"),
        ("read", "a FIFO"),
        ("link", "a link"),
        ("folder", "a folder"),
    ] {
        let errors = ends(&folder, &format!("train flowers.toml --out {name}"), 2);
        let named = format!("{name}/lock: is {kind}, not a regular file");
        assert_holds(&errors, &[&named, "help: "]);
        assert_eq!(names(&folder.path().join(name)), ["lock"]);
    }
    assert!(!folder.path().join("elsewhere").exists());
}

/// Returns the command `nplus1` with the words of `line`, with files limited to the given number of
/// blocks of 512 bytes.
fn with_limit(folder: &Workplace, blocks: u32, line: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .current_dir(folder.path())
        .args(["-c", &format!("ulimit -f {blocks} && exec \"$0\" \"$@\"")])
        .arg(env!("CARGO_BIN_EXE_nplus1"))
        .args(line.split_whitespace())
        .stdin(Stdio::null());
    command
}

#[test]
fn reaching_the_file_size_limit_is_a_failed_write() {
    let folder = workplace();
    let run = folder.path().join("run");
    let before = fs::read(run.join("checkpoint-000001.bin")).unwrap();
    let more = "train --resume run -q --set train.epochs=10";
    for (blocks, file) in [(8, "checkpoint-000002.bin"), (4, "metrics.jsonl")] {
        let errors = folder.ends(&mut with_limit(&folder, blocks, more), 8);
        assert_holds(&errors, &["cannot write run/", file, "File too large"]);
        // The old checkpoint is unchanged, and no partly written file remains.
        let after = fs::read(run.join("checkpoint-000001.bin")).unwrap();
        assert!(before == after);
        let left = names(&run);
        assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
    }
    ends(&folder, more, 0);

    let errors = folder.ends(
        &mut with_limit(&folder, 1, "train flowers.toml --out new"),
        8,
    );
    assert_holds(&errors, &["cannot write new/", "File too large"]);
    let left = names(&folder.path().join("new"));
    assert!(!left.iter().any(|name| name.starts_with('.')), "{left:?}");
}

#[test]
fn ranges_of_seeds_may_be_long_and_seeds_have_the_limit_of_the_config() {
    let folder = Workplace::new(CONFIG);
    let errors = ends(
        &folder,
        "train flowers.toml --seeds 1..18446744073709551615",
        2,
    );
    assert_holds(
        &errors,
        &["18446744073709551615", "B at most 9223372036854775807"],
    );
    let most = "train flowers.toml --seeds 0..9223372036854775807";
    ends(&folder, &format!("{most} --dry-run"), 0);

    let mut child = folder
        .command("train flowers.toml -q --no-report --seeds 1..1000000000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while !folder.path().join("runs/flowers/003").exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no third run");
        assert_eq!(child.try_wait().unwrap(), None, "the program ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    send("-INT", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn an_unknown_kernel_is_refused_with_the_known_ones() {
    let folder = Workplace::new(CONFIG);
    let with = |kernel: &str, code| {
        let mut command = folder.command("train flowers.toml --dry-run");
        folder.ends(command.env("NPLUS1_KERNEL", kernel), code)
    };
    assert_holds(
        &with("Portabel", 2),
        &[
            "NPLUS1_KERNEL: unknown kernel `Portabel`; did you mean `portable`?",
            "help: ",
            "portable, or unset it",
        ],
    );
    with("portable", 0);
    with("", 0);
}

#[test]
fn no_file_or_folder_is_written_under_the_name_of_an_option() {
    let folder = workplace();
    folder.write("-e.toml", &CONFIG.replace("name = \"flowers\"", ""));
    let before = names(folder.path());
    for line in [
        "train flowers.toml --out=-e",
        "train flowers.toml --out=-e/run",
        "train flowers.toml --out ./-e",
        "train flowers.toml --set name=\"-e\"",
        "cost flowers.toml --out=-e",
        "check flowers.toml --save=-e",
        "report run --output=-e",
        "report run --figures=-e",
        "explain --html=-e",
        "config init -- -e",
    ] {
        assert_holds(&ends(&folder, line, 2), &["-e", "allowed: "]);
        assert_eq!(names(folder.path()), before, "{line}");
    }
    // A run of such a config gets a name without the leading `-`.
    ends(&folder, "train -q --no-report -- -e.toml", 0);
    assert_eq!(names(&folder.path().join("runs")), ["e"]);
    ends(&folder, "config init -- -", 0);
}
