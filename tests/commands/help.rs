//! The help of every command: it names all commands and options, its examples work, and it fits a
//! narrow terminal; so do messages and progress.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::program::{Workplace, text};
use clap::CommandFactory;
use nplus1::cli::arguments::Arguments;

/// A folder with links to the repository's configs, datasets and examples.
fn repository() -> Workplace {
    let place = Workplace::new("");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for folder in ["configs", "datasets", "examples"] {
        std::os::unix::fs::symlink(root.join(folder), place.path().join(folder)).unwrap();
    }
    place
}

/// The words of each command, subcommands included: `["data", "list"]`.
fn commands() -> Vec<Vec<String>> {
    fn add(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for subcommand in command.get_subcommands() {
            let path = [path, &[subcommand.get_name().to_owned()]].concat();
            add(subcommand, &path, found);
            found.push(path);
        }
    }
    let mut found = Vec::new();
    add(&Arguments::command(), &[], &mut found);
    found
}

/// What `nplus1 WORDS --help` prints.
fn help(place: &Workplace, words: &[String]) -> String {
    let output = place.nplus1(&format!("{} --help", words.join(" ")));
    assert!(output.status.success(), "{words:?}");
    text(&output.stdout)
}

#[test]
fn slow_every_example_of_every_help_works() {
    let commands = commands();
    assert!(commands.len() > 15, "{commands:?}");
    for words in commands {
        let place = repository();
        let help = help(&place, &words);
        let (_, examples) = help
            .split_once("\nExamples:\n")
            .unwrap_or_else(|| panic!("{words:?} has no examples: {help}"));
        let command = format!("nplus1 {}", words.join(" "));
        let examples: Vec<&str> = examples.lines().map(str::trim).collect();
        let own = examples
            .iter()
            .filter(|example| example.starts_with(&command));
        assert!(own.count() >= 2, "{words:?}: {help}");
        for example in examples {
            let arguments = example.strip_prefix("nplus1 ").expect(example);
            let output = place.nplus1(arguments);
            assert!(
                output.status.success(),
                "{example}: {}",
                text(&output.stderr)
            );
        }
    }
}

#[test]
fn the_overview_groups_all_commands() {
    let overview = help(&repository(), &[]);
    for heading in [
        "Train and use:",
        "Compare gradients:",
        "Your own function:",
        "Files and machine:",
        "Global options:",
    ] {
        assert!(
            overview.lines().any(|line| line == heading),
            "{heading}: {overview}"
        );
    }
    for command in Arguments::command().get_subcommands() {
        let line = format!("  {} ", command.get_name());
        let lines = overview.lines().filter(|other| other.starts_with(&line));
        assert_eq!(lines.count(), 1, "{line}: {overview}");
    }
}

#[test]
fn own_options_come_before_global_ones_and_values_take_one_line() {
    for words in commands() {
        let help = help(&repository(), &words);
        let global = help.find("\nGlobal options:\n").expect("a heading");
        for option in ["--json", "--quiet", "--verbose", "--color", "--progress"] {
            assert!(help.find(option) > Some(global), "{words:?}: {help}");
        }
        assert!(help[..global].contains("\nOptions:\n"), "{words:?}: {help}");
        let words_only = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(words_only.contains("[possible values: auto, always, never]"));
        assert!(!help.contains("Possible values"), "{words:?}: {help}");
    }
}

#[test]
fn check_describes_the_file_of_another_programs_gradient() {
    let help = help(&repository(), &["check".to_owned()]);
    for text in [
        "safetensors",
        "layers.K.weight",
        "(fan_out, fan_in)",
        "layers.K.bias",
    ] {
        assert!(help.contains(text), "{text}: {help}");
    }
}

/// What `command` prints on a terminal of 60 columns.
fn on_a_terminal(place: &Workplace, command: &str) -> String {
    let program = env!("CARGO_BIN_EXE_nplus1");
    let line = format!("stty cols 60 rows 24; '{program}' {command}");
    let output = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(place.path())
        .env("TERM", "xterm")
        .env_remove("COLUMNS")
        .output()
        .unwrap();
    text(&output.stdout)
}

/// The lines that the terminal shows, one after the other, without colors and cursor movements.
fn shown_lines(screen: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut letters = screen.chars();
    while let Some(letter) = letters.next() {
        if letter == '\u{1b}' {
            let _ = letters.by_ref().find(|letter| letter.is_ascii_alphabetic());
        } else {
            plain.push(letter);
        }
    }
    plain.split(['\r', '\n']).map(str::to_owned).collect()
}

#[track_caller]
fn assert_fits(screen: &str) {
    for line in shown_lines(screen) {
        assert!(line.chars().count() <= 60, "{line:?} in {screen}");
    }
}

#[test]
fn help_messages_and_the_bar_fit_a_terminal_of_60_columns() {
    let place = repository();
    for command in ["", "train", "check", "race", "explain lbfgs"] {
        let screen = on_a_terminal(&place, &format!("{command} --help"));
        assert!(screen.contains("--json"), "{screen}");
        assert_fits(&screen);
    }
    let screen = on_a_terminal(&place, "train configs/iris.toml --init-from no.safetensors");
    assert!(screen.contains("error:"), "{screen}");
    assert_fits(&screen);
    let screen = on_a_terminal(&place, "race configs/iris.toml --methods backprp");
    assert!(screen.contains("`backprop`"), "{screen}");
    assert_fits(&screen);
    // Without folds, whose epochs are not shown.
    let config = fs::read_to_string(place.path().join("configs/iris.toml")).unwrap();
    let lines = config.lines().filter(|line| !line.starts_with("folds"));
    place.write("iris.toml", &lines.collect::<Vec<_>>().join("\n"));
    for change in ["seed=3", "gradient.method=forward-difference"] {
        let line = format!("train iris.toml --set {change} --no-report > /dev/null");
        let screen = on_a_terminal(&place, &line);
        assert!(screen.contains("train loss"), "{screen}");
        assert!(screen.contains(" left  "), "the bar was drawn: {screen}");
        assert_fits(&screen);
    }
}
