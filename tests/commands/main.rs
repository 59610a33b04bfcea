//! Tests of the program: what each command prints and writes, its messages and exit codes.
//!
//! They are one program because each test program is linked against the whole library.

#[path = "../support/mod.rs"]
mod support;

mod array_files;
mod array_regression;
mod check_against;
mod check_command;
mod columns;
mod command_line;
mod cost;
mod cost_ratios;
mod explain;
mod export_command;
mod front_door;
mod help;
mod hostile_files;
mod kept_work;
#[cfg(not(feature = "mpi"))]
mod launchers;
mod long_steps;
mod memory;
#[cfg(feature = "mpi")]
mod mpi;
mod permissions;
mod programs;
mod race;
mod refusals;
mod regression;
mod regression_tables;
mod report;
mod report_browser;
mod scale;
mod tables;
mod terminal;
