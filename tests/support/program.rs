//! The program, run as a user runs it, in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a config in it, gone when the test ends.
pub struct Workplace(TempDir);

impl Workplace {
    /// With `config` in `flowers.toml`.
    pub fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("flowers.toml"), config).unwrap();
        Self(folder)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// `nplus1` and the words of `line`, to be run here.
    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nplus1"));
        command
            .current_dir(self.path())
            .args(line.split_whitespace())
            .stdin(Stdio::null());
        command
    }

    /// What `nplus1` with the words of `line` printed.
    pub fn nplus1(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    /// The JSON document of a command that must succeed.
    pub fn report(&self, line: &str) -> Value {
        let output = self.nplus1(line);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{line}: {errors}");
        serde_json::from_slice(&output.stdout).expect("exactly one JSON document")
    }

    /// Standard error of a command that must be refused, with nothing printed and nothing written.
    pub fn refusal(&self, line: &str) -> String {
        let output = self.nplus1(line);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
        assert_eq!(text(&output.stdout), "", "{line}");
        assert!(!self.path().join("studies").exists(), "{line}");
        errors
    }

    /// The directory of the study that `document` is the result of.
    pub fn study(&self, document: &Value) -> PathBuf {
        self.path().join(document["study"].as_str().unwrap())
    }

    /// Standard error of a study that is interrupted once the text of `rows` is `begun`.
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
            assert!(start.elapsed() < Duration::from_secs(120), "no row came");
            std::thread::sleep(Duration::from_millis(5));
        }
        let kill = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        let output = child.wait_with_output().unwrap();
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{errors}");
        errors
    }
}

/// The text in `bytes`.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The lines of the file at `path`.
pub fn lines(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(str::to_owned).collect()
}
