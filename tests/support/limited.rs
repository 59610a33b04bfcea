//! Runs the program with limited memory, and measures what it takes.

#![allow(unsafe_code)]

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use super::program::Workplace;

/// How a program ended, and what it took.
pub struct Ended {
    /// Its exit status.
    pub status: ExitStatus,
    /// What it wrote on standard error.
    pub errors: String,
    /// The processor time that it took.
    pub time: Duration,
}

/// Runs `command` to its end, which is waited for; its standard output is dropped.
#[allow(clippy::zombie_processes, reason = "`wait4` waits for it")]
pub fn measured(mut command: Command) -> Ended {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut errors = Vec::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_end(&mut errors)
        .unwrap();
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    let id = i32::try_from(child.id()).unwrap();
    // SAFETY: both pointers are to live variables of the types that `wait4` asks for, and all bits of
    // `rusage` may be 0.
    let (waited, usage) = unsafe {
        let waited = libc::wait4(id, &mut status, 0, usage.as_mut_ptr());
        (waited, usage.assume_init())
    };
    assert_eq!(waited, id);
    Ended {
        status: ExitStatus::from_raw(status),
        errors: String::from_utf8_lossy(&errors).into_owned(),
        time: duration(usage.ru_utime) + duration(usage.ru_stime),
    }
}

fn duration(time: libc::timeval) -> Duration {
    let micros = u64::try_from(time.tv_sec * 1_000_000 + time.tv_usec);
    Duration::from_micros(micros.unwrap())
}

/// Returns the command `nplus1` with the words of `line`, in the folder of `place`, with an address
/// space of so many megabytes.
pub fn limited(place: &Workplace, megabytes: u64, line: &str) -> Command {
    let program = place.command(line);
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!("ulimit -v {megabytes}000; exec \"$0\" \"$@\""))
        .arg(program.get_program())
        .args(program.get_args())
        .envs(
            program
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .current_dir(place.path());
    command
}

/// Returns the megabytes of address space that a plain start needs, one that computes nothing.
pub fn plain_start(place: &Workplace) -> u64 {
    let starts = |megabytes: &u64| measured(limited(place, *megabytes, "env")).status.success();
    (4..200)
        .step_by(2)
        .find(starts)
        .expect("the program starts")
}
