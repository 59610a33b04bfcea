//! The help of `nplus1`: its commands in groups.

use clap::builder::Styles;
use clap::{Command, CommandFactory};

use super::arguments::Arguments;
use crate::text::broken;

/// Groups of commands, in the order of the help.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Train and use", &["train", "eval", "predict", "export"]),
    (
        "Compare gradients",
        &["check", "cost", "race", "scale", "compare", "explain"],
    ),
    ("Your own function", &["gradient", "minimize"]),
    ("Files and machine", &["data", "config", "report", "env"]),
];

/// The widest help, in columns.
const WIDEST: usize = 100;

/// Returns clap's description of the command line, with the commands in groups.
pub fn command() -> Command {
    let command = Arguments::command();
    let width = terminal_size::terminal_size().map_or(WIDEST, |(width, _)| width.0.into());
    let template = format!(
        "{{about}}\n\n{{usage-heading}} {{usage}}\n\n{}{}\n{{options}}{{after-help}}",
        groups(&command, width.min(WIDEST)),
        heading("Global options"),
    );
    command
        .help_template(template)
        .after_help("`nplus1 COMMAND --help` describes a command and gives examples.")
}

/// Returns each group's heading and its commands with their descriptions, in lines of `width`.
fn groups(command: &Command, width: usize) -> String {
    let mut text = String::new();
    for (title, names) in GROUPS {
        text.push_str(&heading(title));
        text.push('\n');
        for subcommand in names
            .iter()
            .filter_map(|name| command.find_subcommand(name))
        {
            let about = subcommand.get_about().map(ToString::to_string);
            let start = format!("  {:<9}", subcommand.get_name());
            let line = start.clone() + &about.unwrap_or_default();
            text.push_str(&broken(&line, width, start.len()));
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// Returns a heading in clap's style.
fn heading(title: &str) -> String {
    let styles = Styles::default();
    let style = styles.get_header();
    format!("{style}{title}:{style:#}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_one_group() {
        let command = Arguments::command();
        let mut known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
        let mut grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        known.sort_unstable();
        grouped.sort_unstable();
        assert_eq!(grouped, known);
    }

    #[test]
    fn the_groups_fit_60_columns_and_break_no_word() {
        let text = groups(&Arguments::command(), 60);
        let plain = text
            .replace("\u{1b}[1m\u{1b}[4m", "")
            .replace("\u{1b}[0m", "");
        for line in plain.lines() {
            assert!(line.chars().count() <= 60, "{line}");
        }
        let words: Vec<&str> = plain.split_whitespace().collect();
        let wide = groups(&Arguments::command(), 1000);
        let wide = wide
            .replace("\u{1b}[1m\u{1b}[4m", "")
            .replace("\u{1b}[0m", "");
        assert_eq!(words, wide.split_whitespace().collect::<Vec<_>>());
    }
}
