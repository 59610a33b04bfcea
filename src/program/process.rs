//! A command in a process group of its own, with which lines are exchanged.
//!
//! The group's leader is a guard, a shell that waits for the end of its input and then kills the
//! whole group. Only this process holds the other end of that pipe. So the command and all that it
//! starts end with this process, however it ends: killed, too, when no code of its own runs any
//! more. (A program that leaves its process group, a daemon, escapes.)

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::pool::MessageSink;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// What the guard runs. It ignores the signals that ask programs to end, so that it ends last.
const GUARD: &str = "trap '' INT TERM HUP; read -r _; kill -s KILL 0";
/// The number of a program's last lines that are kept for messages.
const KEPT_LINES: usize = 6;
/// The longest line on standard error; the rest of it is dropped.
const LONGEST_MESSAGE: u64 = 4096;
/// The time that a program has to end once its input has ended.
const GRACE: Duration = Duration::from_millis(500);
/// The time between two looks at the stop flag.
const LOOK: Duration = Duration::from_millis(100);

/// A running command.
pub(super) struct Process {
    command: Child,
    guard: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Requests, of which the first `sent` bytes are written.
    requests: Vec<u8>,
    sent: usize,
    /// What was read and not yet returned.
    unread: Vec<u8>,
    longest: usize,
    messages: Arc<Mutex<ErrorLines>>,
}

/// The last lines on standard error, and whether more can come.
#[derive(Default)]
struct ErrorLines {
    lines: VecDeque<String>,
    ended: bool,
}

/// The reason why a program's answer did not come.
#[derive(Debug)]
pub(super) enum Silence {
    /// Its output ended; its exit status, if it has ended.
    Ended(Option<ExitStatus>),
    /// The time was over.
    TimedOut,
    /// The work is to stop.
    Stopped,
    /// It wrote more than any answer has, without a line end.
    TooLong(usize),
    /// The system failed a call.
    System(io::Error),
}

/// The limits of waiting for an answer.
pub(super) struct Patience<'a> {
    /// The time at which it ends.
    pub(super) until: Option<Instant>,
    /// Whether the work is to stop.
    pub(super) stopped: &'a dyn Fn() -> bool,
}

impl Process {
    /// Starts `line` by `sh -c` as worker `number`, which the environment variable NPLUS1_WORKER
    /// holds. `longest` is the largest number of bytes of a line.
    pub(super) fn start(
        line: &str,
        number: usize,
        longest: usize,
        sink: &MessageSink,
    ) -> io::Result<Self> {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let group = i32::try_from(guard.id()).expect("process numbers are positive i32");
        let started = Command::new("sh")
            .arg("-c")
            .arg(line)
            .env("NPLUS1_WORKER", number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(group)
            .spawn();
        let mut command = match started {
            Ok(command) => command,
            Err(error) => {
                end_group(&mut guard);
                return Err(error);
            }
        };
        let pipes = (
            command.stdin.take(),
            command.stdout.take(),
            command.stderr.take(),
        );
        let (Some(input), Some(output), Some(errors)) = pipes else {
            unreachable!("all three are pipes");
        };
        let messages = Arc::default();
        let mut process = Self {
            command,
            guard,
            input: Some(input),
            output,
            requests: Vec::new(),
            sent: 0,
            unread: Vec::new(),
            longest,
            messages: Arc::clone(&messages),
        };
        process.prepare(errors, number, messages, Arc::clone(sink))?;
        Ok(process)
    }

    fn prepare(
        &mut self,
        errors: ChildStderr,
        number: usize,
        messages: Arc<Mutex<ErrorLines>>,
        sink: MessageSink,
    ) -> io::Result<()> {
        if let Some(input) = &self.input {
            rustix::io::ioctl_fionbio(input, true)?;
        }
        rustix::io::ioctl_fionbio(&self.output, true)?;
        std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || watch(errors, number, &messages, &sink))?;
        Ok(())
    }

    /// Sends `request`, which ends its line or is empty, and returns the next line of the program's
    /// output. A line may come before all is sent, such as a greeting: the rest is sent by the next
    /// call.
    pub(super) fn exchange(
        &mut self,
        request: &[u8],
        patience: &Patience<'_>,
    ) -> Result<String, Silence> {
        self.requests.extend_from_slice(request);
        let mut searched = 0;
        loop {
            self.send()?;
            if let Some(end) = self.unread[searched..]
                .iter()
                .position(|&byte| byte == b'\n')
            {
                let rest = self.unread.split_off(searched + end + 1);
                let mut line = std::mem::replace(&mut self.unread, rest);
                line.pop();
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            searched = self.unread.len();
            if searched > self.longest {
                return Err(Silence::TooLong(searched));
            }
            self.wait(patience)?;
            self.receive()?;
        }
    }

    /// Returns whether the program has written something that nobody asked for.
    pub(super) fn has_more(&self) -> bool {
        !self.unread.is_empty()
    }

    /// Writes what the pipe takes.
    fn send(&mut self) -> Result<(), Silence> {
        while self.sent < self.requests.len() {
            let Some(input) = &mut self.input else { break };
            match input.write(&self.requests[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The program reads no more; its output tells whether it has ended.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.input = None,
                Err(error) => return Err(Silence::System(error)),
            }
        }
        self.requests.clear();
        self.sent = 0;
        Ok(())
    }

    /// Waits until the program can be read from, or written to if a request is left.
    fn wait(&self, patience: &Patience<'_>) -> Result<(), Silence> {
        let writing = !self.requests.is_empty();
        loop {
            if (patience.stopped)() {
                return Err(Silence::Stopped);
            }
            let left = match patience.until {
                None => LOOK,
                Some(until) => match until.checked_duration_since(Instant::now()) {
                    Some(left) if !left.is_zero() => left.min(LOOK),
                    _ => return Err(Silence::TimedOut),
                },
            };
            let time = Timespec {
                tv_sec: 0,
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut waited = Vec::with_capacity(2);
            waited.push(PollFd::new(&self.output, PollFlags::IN));
            if let Some(input) = self.input.as_ref().filter(|_| writing) {
                waited.push(PollFd::new(input, PollFlags::OUT));
            }
            match poll(&mut waited, Some(&time)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(error) => return Err(Silence::System(error.into())),
            }
        }
    }

    /// Reads what there is.
    fn receive(&mut self) -> Result<(), Silence> {
        let mut bytes = [0; 1 << 14];
        match self.output.read(&mut bytes) {
            Ok(0) => Err(Silence::Ended(self.status())),
            Ok(count) => {
                self.unread.extend_from_slice(&bytes[..count]);
                Ok(())
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                Ok(())
            }
            Err(error) => Err(Silence::System(error)),
        }
    }

    /// Returns the exit status, if the program ends within a moment.
    fn status(&mut self) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            match self.command.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if start.elapsed() < GRACE => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                _ => return None,
            }
        }
    }

    /// Returns the program's last lines on standard error, all of them if it has ended.
    pub(super) fn last_messages(&self) -> Vec<String> {
        let start = Instant::now();
        loop {
            {
                let messages = self.messages.lock().expect("no lock is held in a panic");
                if messages.ended || start.elapsed() > GRACE {
                    return messages.lines.iter().cloned().collect();
                }
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends the program's input, which asks it to end.
    pub(super) fn end_input(&mut self) {
        self.input = None;
    }

    /// Waits a moment for a program whose input has ended.
    pub(super) fn end_in_order(&mut self) {
        self.end_input();
        self.status();
    }

    /// Ends the program and all that it started.
    pub(super) fn kill(&mut self) {
        end_group(&mut self.guard);
        let _ = self.command.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Kills the guard's process group. The guard has not been waited for, so its number is its own.
fn end_group(guard: &mut Child) {
    if let Ok(None) = guard.try_wait() {
        let _ = kill_process_group(Pid::from_child(guard), Signal::KILL);
    }
    let _ = guard.wait();
}

/// Passes each line on standard error on, and keeps the last ones.
fn watch(errors: ChildStderr, number: usize, messages: &Mutex<ErrorLines>, sink: &MessageSink) {
    let mut reader = BufReader::new(errors);
    let mut line = Vec::new();
    loop {
        line.clear();
        match reader
            .by_ref()
            .take(LONGEST_MESSAGE)
            .read_until(b'\n', &mut line)
        {
            Ok(0) | Err(_) => break,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                sink(number, text);
                let mut messages = messages.lock().expect("no lock is held in a panic");
                if messages.lines.len() == KEPT_LINES {
                    messages.lines.pop_front();
                }
                messages.lines.push_back(text.to_owned());
            }
        }
    }
    messages.lock().expect("no lock is held in a panic").ended = true;
}
