//! `environment.json`: the program that ran, the machine and the kernel.
//!
//! Values that the operating system does not report are `null`, never guessed.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cpu_caches::{self, Cache};
use crate::memory::kibibytes;
use crate::parallel::Workers;

/// The program and the machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// The version of nplus1.
    pub version: String,
    /// The commit it was built from, if `NPLUS1_COMMIT` was set during the build.
    pub commit: Option<String>,
    /// The command line; absent in files of older versions.
    #[serde(default)]
    pub command: Option<String>,
    /// The CPU's model name.
    pub cpu: Option<String>,
    /// Physical cores of the machine.
    pub physical_cores: usize,
    /// Logical cores that the process may use.
    pub logical_cores: usize,
    /// The caches of the first processor; empty in files of older versions.
    #[serde(default)]
    pub caches: Vec<Cache>,
    /// The machine's memory in bytes.
    pub memory: Option<u64>,
    /// The operating system.
    pub os: String,
    /// The processor's architecture.
    pub arch: String,
    /// Vector features of the CPU that kernels may use.
    pub features: Vec<String>,
    /// The name of the chosen kernel.
    pub kernel: String,
    /// Number of threads of the run.
    pub threads: usize,
}

impl Environment {
    /// Describes this program on this machine, with the chosen kernel and number of threads.
    pub fn detect(kernel: &str, threads: usize) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("NPLUS1_COMMIT").map(str::to_owned),
            command: command_line(std::env::args_os()),
            cpu: cpu_model(&cpuinfo),
            physical_cores: num_cpus::get_physical(),
            logical_cores: Workers::processors(),
            caches: cpu_caches::detect(),
            memory: memory_bytes(&meminfo),
            os: std::env::consts::OS.to_owned(),
            arch: std::env::consts::ARCH.to_owned(),
            features: features(),
            kernel: kernel.to_owned(),
            threads,
        }
    }
}

/// Writes the arguments as a shell reads them: the program without its path, the others in quotes
/// if they need them.
fn command_line(arguments: impl Iterator<Item = OsString>) -> Option<String> {
    let quoted = |argument: OsString| {
        let argument = argument.to_string_lossy().into_owned();
        let plain = |letter: char| letter.is_alphanumeric() || "-_./=,:+@%".contains(letter);
        if !argument.is_empty() && argument.chars().all(plain) {
            argument
        } else {
            format!("'{}'", argument.replace('\'', "'\\''"))
        }
    };
    let mut arguments = arguments;
    let program = arguments.next()?;
    let program = Path::new(&program).file_name()?.to_owned();
    let words: Vec<String> = std::iter::once(program)
        .chain(arguments)
        .map(quoted)
        .collect();
    Some(words.join(" "))
}

/// Returns the first model name in `/proc/cpuinfo`.
fn cpu_model(cpuinfo: &str) -> Option<String> {
    field(cpuinfo, "model name").map(str::to_owned)
}

/// Returns `MemTotal` of `/proc/meminfo` in bytes.
fn memory_bytes(meminfo: &str) -> Option<u64> {
    kibibytes(meminfo, "MemTotal")
}

/// Returns the value of the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

#[cfg(target_arch = "x86_64")]
fn features() -> Vec<String> {
    let known = [
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
    ];
    known
        .into_iter()
        .filter(|&(_, found)| found)
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(target_arch = "aarch64")]
fn features() -> Vec<String> {
    let known = [("neon", std::arch::is_aarch64_feature_detected!("neon"))];
    known
        .into_iter()
        .filter(|&(_, found)| found)
        .map(|(name, _)| name.to_owned())
        .collect()
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_name_and_the_memory_are_read_from_their_lines() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: Some CPU @ 2.0GHz\n";
        assert_eq!(cpu_model(cpuinfo).unwrap(), "Some CPU @ 2.0GHz");
        assert_eq!(cpu_model("processor : 0\n"), None);
        assert_eq!(
            memory_bytes("MemFree: 1 kB\nMemTotal:  2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(memory_bytes("MemTotal: much\n"), None);
    }

    #[test]
    fn a_command_line_can_be_pasted_into_a_shell() {
        let line = |words: &[&str]| command_line(words.iter().map(OsString::from));
        let train = ["/a/b/nplus1", "train", "c.toml", "--set", "name=it's"];
        assert_eq!(
            line(&train).unwrap(),
            "nplus1 train c.toml --set 'name=it'\\''s'"
        );
        assert_eq!(line(&[]), None);
    }

    #[test]
    fn detect_finds_cores_and_keeps_the_given_kernel_and_threads() {
        let environment = Environment::detect("portable", 3);
        assert!(environment.physical_cores > 0 && environment.logical_cores > 0);
        assert_eq!(
            (environment.kernel.as_str(), environment.threads),
            ("portable", 3)
        );
    }
}
