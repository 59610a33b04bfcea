//! Programs that ask exported source files: compiled with the machine's C compiler and `rustc`.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// The options with which exported C compiles without a warning.
pub const STRICT: [&str; 6] = [
    "-std=c99",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Werror",
];

/// Asks `model.c`: reads rows of REAL from standard input and prints class and answer of each.
const C_MAIN: &str = r#"
#include <stdio.h>
#include "model.c"

int main(void)
{
    REAL features[NPLUS1_FEATURES], answer[NPLUS1_OUTPUTS] = {0};

    while (fread(features, sizeof features, 1, stdin) == 1) {
        int j;

        printf("%d", nplus1_predict(features, answer));
        for (j = 0; j < NPLUS1_OUTPUTS; j++)
            printf(" %.17g", (double)answer[j]);
        printf("\n");
    }
    return 0;
}
"#;

/// Asks `model.rs` in the same way.
const RUST_MAIN: &str = r#"
mod model;
use std::fmt::Write;
use std::io::Read;

fn main() {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let mut numbers = bytes
        .chunks_exact(size_of::<REAL>())
        .map(|bytes| REAL::from_le_bytes(bytes.try_into().unwrap()));
    let mut text = String::new();
    for _ in 0..bytes.len() / size_of::<REAL>() / model::FEATURES {
        let features = std::array::from_fn(|_| numbers.next().unwrap());
        let mut answer = [0.0; model::OUTPUTS];
        let class = model::nplus1_predict(&features, &mut answer);
        write!(text, "{}", class.map_or(-1, |class| class as i64)).unwrap();
        answer.iter().for_each(|number| write!(text, " {number:e}").unwrap());
        text.push('\n');
    }
    print!("{text}");
}
"#;

/// The class, or −1, and the numbers of an answer.
pub type Answer = (i64, Vec<f64>);

/// Returns the first of these programs that this machine has. Without one, says so, and fails where
/// `CI` is set.
pub fn tool(names: &[&'static str]) -> Option<&'static str> {
    let runs = |name: &&&str| {
        Command::new(name)
            .arg("--version")
            .output()
            .is_ok_and(|o| o.status.success())
    };
    let found = names.iter().find(runs).copied();
    if found.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "none of {names:?} is installed"
        );
        eprintln!("skipped: none of {names:?} is installed");
    }
    found
}

/// Returns Python, if it has NumPy. Without it, says so.
pub fn numpy() -> Option<&'static str> {
    let python = "python3";
    let found = Command::new(python).args(["-c", "import numpy"]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: python3 with numpy is not installed");
    None
}

/// Returns the C compiler.
pub fn c_compiler() -> Option<&'static str> {
    tool(&["cc", "gcc", "clang"])
}

/// Runs a command that must succeed without a message on standard error; returns what it prints.
pub fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.is_empty(),
        "{command:?}: {errors}"
    );
    String::from_utf8(output.stdout).unwrap()
}

/// Compiles `file` in `folder` strictly, with further options, and returns the program's path.
pub fn compiled_c(folder: &Path, file: &str, options: &[&str]) -> Option<std::path::PathBuf> {
    let program = folder.join(file).with_extension("c-program");
    let mut command = Command::new(c_compiler()?);
    command
        .current_dir(folder)
        .args(STRICT)
        .args(options)
        .arg(file)
        .arg("-o")
        .arg(&program);
    succeeds(command.arg("-lm"));
    Some(program)
}

/// Runs the self-test of the C file `name`; returns what it prints and whether it passes.
pub fn c_self_test(folder: &Path, name: &str) -> Option<(String, bool)> {
    let program = compiled_c(folder, name, &["-DNPLUS1_SELF_TEST"])?;
    let output = Command::new(program).output().unwrap();
    Some((
        String::from_utf8(output.stdout).unwrap(),
        output.status.success(),
    ))
}

/// Compiles the Rust file `name` as a test and runs it; it must pass, and clippy must be content.
pub fn rust_self_test(folder: &Path, name: &str) {
    if tool(&["rustc"]).is_some() {
        let arguments = [
            "--edition",
            "2021",
            "-D",
            "warnings",
            "--test",
            name,
            "-o",
            "rust-test",
        ];
        succeeds(Command::new("rustc").current_dir(folder).args(arguments));
        let shown = succeeds(&mut Command::new(folder.join("rust-test")));
        assert!(shown.contains("1 passed"), "{shown}");
    }
    if tool(&["clippy-driver"]).is_some() {
        let arguments = [
            "--edition",
            "2021",
            "-D",
            "warnings",
            "--crate-type",
            "lib",
            name,
        ];
        let mut command = Command::new("clippy-driver");
        succeeds(
            command
                .current_dir(folder)
                .args(arguments)
                .args(["-o", "library.rlib"]),
        );
    }
}

/// Asks the C source `text` about rows, `(rows, features)` in the precision `real`, `float` or
/// `double`; `None` without a compiler.
pub fn ask_c(folder: &Path, text: &[u8], real: &str, rows: &[Vec<f64>]) -> Option<Vec<Answer>> {
    fs::write(folder.join("model.c"), text).unwrap();
    fs::write(folder.join("main.c"), C_MAIN.replace("REAL", real)).unwrap();
    let program = compiled_c(folder, "main.c", &[])?;
    Some(asked(&program, folder, real == "float", rows))
}

/// Asks the Rust source `text` in the same way.
pub fn ask_rust(folder: &Path, text: &[u8], real: &str, rows: &[Vec<f64>]) -> Option<Vec<Answer>> {
    tool(&["rustc"])?;
    fs::write(folder.join("model.rs"), text).unwrap();
    let real = if real == "float" { "f32" } else { "f64" };
    fs::write(folder.join("main.rs"), RUST_MAIN.replace("REAL", real)).unwrap();
    // Names that the program does not use must not make warnings.
    let arguments = [
        "--edition",
        "2024",
        "-O",
        "-D",
        "warnings",
        "main.rs",
        "-o",
        "rust-program",
    ];
    succeeds(Command::new("rustc").current_dir(folder).args(arguments));
    Some(asked(
        &folder.join("rust-program"),
        folder,
        real == "f32",
        rows,
    ))
}

fn asked(program: &Path, folder: &Path, is_single: bool, rows: &[Vec<f64>]) -> Vec<Answer> {
    let numbers = rows.iter().flatten();
    let bytes: Vec<u8> = match is_single {
        true => numbers
            .flat_map(|&number| (number as f32).to_le_bytes())
            .collect(),
        false => numbers.flat_map(|number| number.to_le_bytes()).collect(),
    };
    let path = folder.join("rows.bin");
    File::create(&path).unwrap().write_all(&bytes).unwrap();
    let shown = succeeds(Command::new(program).stdin(File::open(&path).unwrap()));
    let answer = |line: &str| {
        let (class, numbers) = line.split_once(' ').unwrap();
        let numbers = numbers.split(' ').map(|number| number.parse().unwrap());
        (class.parse().unwrap(), numbers.collect())
    };
    shown.lines().map(answer).collect()
}
