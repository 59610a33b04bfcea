//! An interrupt within a step that takes long ends the run at its last whole step.

#![cfg(unix)]

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::program::{Workplace, send, text};

/// Steps of some 10⁹ multiplications.
const CONFIG: &str = r#"
name = "long"
seed = 3
[data]
dataset = "mnist"
validation = 1000
normalize = "unit"
[model]
hidden = [100, 100]
output = "softmax"
initialization = "scaled"
[loss]
kind = "cross-entropy"
[optimizer]
learning_rate = 0.2
momentum = 0.5
[train]
max_steps = 4
batch_size = 14750
"#;

#[test]
fn slow_a_run_that_is_interrupted_within_a_step_resumes_to_the_same_bits() {
    let folder = Workplace::new(CONFIG);
    let start = Instant::now();
    let options = "--json --no-report";
    let whole = folder.report(&format!("train flowers.toml --out whole {options}"));
    let whole_seconds = start.elapsed();
    let mut line = format!("train flowers.toml --out run {options}");
    let mut interrupted = 0;
    for part in [0.3, 0.4, 0.5] {
        let mut command = folder.command(&line);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = child.spawn().unwrap();
        // The file is written when the run watches for signals.
        while !folder.path().join("run/environment.json").exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(whole_seconds.mul_f64(part));
        let sent = Instant::now();
        send("-INT", &child);
        let output = child.wait_with_output().unwrap();
        let errors = text(&output.stderr);
        eprintln!("ended {:?} after the interrupt", sent.elapsed());
        match output.status.code() {
            Some(130) => interrupted += 1,
            // A resumed run may still have been reading its data.
            code => assert!(matches!(code, None | Some(0)), "{errors}"),
        }
        line = format!("train --resume run {options}");
    }
    assert!(interrupted > 0, "each run ended before its interrupt");
    let resumed = folder.report(&line);
    assert_eq!(resumed["weights_sha256"], whole["weights_sha256"]);
    assert_eq!(resumed["train_loss"], whole["train_loss"]);
    assert_eq!(resumed["tally"], whole["tally"]);
}
