//! A temporary folder in which tests run the program as a user does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::watchdog::LIMIT;

/// The exit codes of crashes: a panic, and the signals ILL, ABRT, BUS, SEGV and XFSZ.
const CRASHES: [i32; 6] = [101, 132, 134, 135, 139, 153];

/// A temporary folder with a config in it, deleted when it is dropped.
pub struct Workplace {
    folder: TempDir,
    processors: Option<usize>,
}

impl Workplace {
    /// Creates the folder and writes `config` to `flowers.toml`.
    pub fn new(config: &str) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
            processors: None,
        };
        place.write("flowers.toml", config);
        place
    }

    /// Makes the program assume so many processors.
    pub fn with_processors(self, processors: usize) -> Self {
        Self {
            processors: Some(processors),
            ..self
        }
    }

    /// Writes the file `name`, replacing it if it exists.
    pub fn write(&self, name: &str, content: &str) {
        fs::write(self.path().join(name), content).unwrap();
    }

    /// Returns the folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the command `nplus1` with the words of `line` as arguments, to run in this folder.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nplus1"));
        command
            .current_dir(self.path())
            .args(line.split_whitespace())
            .stdin(Stdio::null());
        if let Some(processors) = self.processors {
            command.env("NPLUS1_WORKERS", processors.to_string());
        }
        command
    }

    /// Runs `nplus1` with the words of `line`, and returns its output and exit status.
    pub fn nplus1(&self, line: &str) -> Output {
        let mut command = self.command(line);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(command.spawn().unwrap(), line)
    }

    /// Runs `command`, which must end with `code` within a minute; returns its standard error.
    pub fn ends(&self, command: &mut Command, code: i32) -> String {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let start = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if start.elapsed() > Duration::from_secs(60) {
                child.kill().unwrap();
                panic!("{command:?} does not end");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        let errors = text(&output.stderr);
        let status = output.status;
        assert_no_crash(status, &format!("{command:?}: {errors}"));
        assert_eq!(status.code(), Some(code), "{command:?}: {status}: {errors}");
        errors
    }

    /// Runs a command that must succeed, and returns its JSON document.
    pub fn report(&self, line: &str) -> Value {
        self.document(line, 0).0
    }

    /// Runs a command that must end with `code`; returns its JSON document and its standard error.
    pub fn document(&self, line: &str, code: i32) -> (Value, String) {
        let output = self.nplus1(line);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
        let document = serde_json::from_slice(&output.stdout);
        (document.expect("exactly one JSON document"), errors)
    }

    /// Runs a command that must end with `code` and print no result; returns its standard error.
    pub fn failure(&self, line: &str, code: i32) -> String {
        let output = self.nplus1(line);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {errors}");
        assert_eq!(text(&output.stdout), "", "{line}");
        errors
    }

    /// Runs a command that must be refused without printing a result or writing a file; returns its
    /// standard error.
    pub fn refusal(&self, line: &str) -> String {
        let before = names(self.path());
        let errors = self.failure(line, 2);
        assert_eq!(names(self.path()), before, "{line}");
        errors
    }

    /// Returns the directory of the study whose result is `document`.
    pub fn study(&self, document: &Value) -> PathBuf {
        self.path().join(document["study"].as_str().unwrap())
    }

    /// Starts a study, interrupts it once the text of the file `rows` is `begun`, and returns its
    /// standard error. The program must end with 130.
    #[cfg(unix)]
    pub fn interrupted(&self, line: &str, rows: &Path, begun: impl Fn(&str) -> bool) -> String {
        let child = self
            .command(line)
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let start = Instant::now();
        while !fs::read_to_string(rows).is_ok_and(|text| text.ends_with('\n') && begun(&text)) {
            assert!(
                start.elapsed() < Duration::from_secs(120),
                "no row was written"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        send("-INT", &child);
        let output = finish(child, line);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{errors}");
        errors
    }
}

/// Waits for `child`, which runs `nplus1` with the words of `line`, and returns its output. Kills
/// it if it runs longer than [`LIMIT`].
pub fn finish(child: Child, line: &str) -> Output {
    let id = child.id();
    let (ended, output) = channel();
    std::thread::spawn(move || ended.send(child.wait_with_output()));
    let Ok(output) = output.recv_timeout(LIMIT) else {
        kill("-KILL", id);
        panic!("`nplus1 {line}` has run for {LIMIT:?}: it hangs");
    };
    let output = output.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_no_crash(output.status, &format!("nplus1 {line}: {errors}"));
    output
}

/// Fails if a program ended by a panic, an abort, a wrong access or the limit of a file's size: no
/// command may, whatever its input. These are the exit codes 101, 134, 139 and 153 of a shell.
pub fn assert_no_crash(status: ExitStatus, run: &str) {
    #[cfg(unix)]
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    #[cfg(not(unix))]
    let signal = None;
    let code = status.code().or(signal.map(|signal| 128 + signal));
    assert!(!CRASHES.contains(&code.unwrap()), "{status}: {run}");
}

/// Sends `signal` to `child`; the signal is an option of `kill`, such as `-INT`.
#[cfg(unix)]
pub fn send(signal: &str, child: &Child) {
    kill(signal, child.id());
}

fn kill(signal: &str, id: u32) {
    let kill = Command::new("kill")
        .args([signal, &id.to_string()])
        .status();
    assert!(kill.unwrap().success());
}

/// Returns the sorted names of the entries of `folder`.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Returns `bytes` as text.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Reads the lines of the file at `path`.
pub fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}
