//! Functions of other programs: gradients, checks and minimizations through the protocol; programs
//! that die, hang, lie or do not start; evaluations counted by the program; interruptions, kills,
//! and that no process is left behind.

#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::program::{Workplace, lines, text};
use serde_json::Value;

/// A quadratic function with a mistake that can be switched on, which logs every evaluation.
const QUADRATIC: &str = r#"
import json, os, sys, time
log = open("calls", "a")
options = sys.argv[1:]
n = int(options[0])
if "greet" in options:
    print(json.dumps({"nplus1": 1, "single_changes": True}), flush=True)
base = []
for line in sys.stdin:
    r = json.loads(line)
    base = r.get("theta", base)
    x = list(base)
    if "index" in r:
        x[r["index"]] = r["value"]
    assert len(x) == n
    log.write("%s\n" % json.dumps(x)); log.flush()
    if "sign" in options:
        print(os.getpid(), file=open("copies", "a"))
    if "slow" in options:
        time.sleep(0.02)
    a = {"id": r["id"], "loss": sum((i + 1) * v * v for i, v in enumerate(x))}
    if "gradient" in r["want"]:
        a["gradient"] = [2 * (i + 1) * v for i, v in enumerate(x)]
        if "wrong" in options:
            a["gradient"][n // 3] *= 1.01
    print(json.dumps(a), flush=True)
"#;

fn place(script: &str) -> Workplace {
    let place = Workplace::new("");
    place.write("f.py", script);
    place
}

/// Writes θ of `n` numbers to `theta.json`.
fn theta(place: &Workplace, n: usize) -> Vec<f64> {
    let theta: Vec<f64> = (0..n).map(|i| (1.7 * i as f64 + 0.3).sin()).collect();
    place.write("theta.json", &serde_json::to_string(&theta).unwrap());
    theta
}

/// Returns `nplus1 WORDS --program PROGRAM`.
fn command(place: &Workplace, words: &str, program: &str) -> Command {
    let mut command = place.command(words);
    command.args(["--program", program]);
    command
}

/// Runs a command that must end with `code`; returns its JSON document.
fn document(place: &Workplace, words: &str, program: &str, code: i32) -> Value {
    let output = command(place, &format!("{words} --json -q"), program)
        .output()
        .unwrap();
    let errors = text(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{words} {program}: {errors}"
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Runs a command that must be refused with exit code 2, and leaves no file; returns its errors.
fn refusal(place: &Workplace, words: &str, program: &str) -> String {
    let before = crate::support::program::names(place.path());
    let errors = place.ends(&mut command(place, words, program), 2);
    assert_eq!(
        crate::support::program::names(place.path()),
        before,
        "{words} {program}"
    );
    errors
}

fn gradient(document: &Value) -> Vec<f64> {
    serde_json::from_value(document["gradient"].clone()).unwrap()
}

/// Returns the numbers of processes whose command line contains `mark`.
fn processes(mark: &Path) -> usize {
    let mark = mark.to_str().unwrap().as_bytes();
    let command_line = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let all = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| command_line(entry.ok()?));
    all.filter(|line| line.windows(mark.len()).any(|part| part == mark))
        .count()
}

/// Returns how often the function was evaluated.
fn calls(place: &Workplace) -> usize {
    fs::read_to_string(place.path().join("calls")).map_or(0, |all| all.lines().count())
}

/// Waits until `what` is so, which may take a busy machine up to a minute.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "not within a minute: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Waits until no process has `mark` in its command line.
fn assert_none_left(mark: &Path) {
    wait_until("no process is left", || processes(mark) == 0);
}

/// Returns whether there is a Python for the functions of these tests; says so if there is none.
fn has_python() -> bool {
    let found = Command::new("python3").arg("--version").output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("skipped: python3 is not installed");
    }
    found
}

#[test]
fn slow_gradients_count_n_plus_one_and_have_the_same_bits_with_any_number_of_workers() {
    if !has_python() {
        return;
    }
    for greet in ["", " greet"] {
        let place = place(QUADRATIC);
        let theta = theta(&place, 30);
        let program = format!("python3 f.py 30{greet}");
        let mut first: Option<Vec<f64>> = None;
        for workers in [1, 2, 8, 32] {
            let _ = fs::remove_file(place.path().join("calls"));
            let words = format!("gradient --at theta.json --workers {workers}");
            let found = document(&place, &words, &program, 0);
            // N + 1, and θ again at the end.
            assert_eq!(lines(&place.path().join("calls")).len(), 32);
            assert_eq!(found["evaluations"]["answered"], 32);
            assert_eq!(found["evaluations"]["revisits"], 1);
            assert_eq!(found["deterministic"], true);
            let gradient = gradient(&found);
            for (i, (g, x)) in gradient.iter().zip(&theta).enumerate() {
                assert!((g - 2.0 * (i as f64 + 1.0) * x).abs() < 1e-4);
            }
            let bits = |g: &[f64]| g.iter().map(|g| g.to_bits()).collect::<Vec<_>>();
            let first = first.get_or_insert_with(|| gradient.clone());
            assert_eq!(bits(&gradient), bits(first), "{workers} workers");
        }
        for (scheme, expected) in [("central", 62), ("richardson", 190)] {
            let _ = fs::remove_file(place.path().join("calls"));
            let words = format!("gradient --at theta.json --scheme {scheme} --workers 3");
            document(&place, &words, &program, 0);
            assert_eq!(
                lines(&place.path().join("calls")).len(),
                expected,
                "{scheme}"
            );
        }
        let left = crate::support::program::names(place.path());
        assert_eq!(left, ["calls", "f.py", "flowers.toml", "theta.json"]);
    }
}

/// Requests of more than a pipe holds, to a program that greets before it reads them.
#[test]
fn a_large_theta_reaches_a_program_that_greets() {
    if !has_python() {
        return;
    }
    let place = place(
        r#"
import json, sys
print(json.dumps({"nplus1": 1, "single_changes": True}), flush=True)
for line in sys.stdin:
    r = json.loads(line)
    base = r.get("theta", []) or base
    x = r["value"] if r.get("index") == 0 else base[0]
    print(json.dumps({"id": r["id"], "loss": x * x + len(base)}), flush=True)
"#,
    );
    let theta = theta(&place, 20_000);
    let words = "gradient --at theta.json --workers 2 --timeout 20 -o g.npy";
    let found = document(&place, words, "python3 f.py", 0);
    assert_eq!(found["loss"].as_f64(), Some(theta[0] * theta[0] + 20_000.0));
    assert!((found["norm"].as_f64().unwrap() - 2.0 * theta[0]).abs() < 1e-2);
}

#[test]
fn results_are_written_in_every_form_with_error_estimates() {
    if !has_python() {
        return;
    }
    let place = place(QUADRATIC);
    theta(&place, 4);
    let program = "python3 f.py 4";
    for form in ["json", "csv", "npy"] {
        let words =
            format!("gradient --at theta.json --scheme richardson -o g.{form} --errors e.{form}");
        let found = document(&place, &words, program, 0);
        assert!(found.get("gradient").is_none());
        let gradient = nplus1::format::vector::load(&place.path().join(format!("g.{form}")));
        let errors = nplus1::format::vector::load(&place.path().join(format!("e.{form}")));
        let exact = [
            0.3f64.sin() * 2.0,
            2f64.sin() * 4.0,
            3.7f64.sin() * 6.0,
            5.4f64.sin() * 8.0,
        ];
        for ((g, e), exact) in gradient.unwrap().iter().zip(errors.unwrap()).zip(exact) {
            assert!((g - exact).abs() <= e && e < 1e-8, "{g} {exact} {e}");
        }
        assert!(!place.path().join(format!("g.{form}.journal")).exists());
    }
}

#[test]
fn slow_a_wrong_element_is_named_and_a_right_gradient_is_right() {
    if !has_python() {
        return;
    }
    let place = place(QUADRATIC);
    theta(&place, 12);
    let words = "check --at theta.json --workers 2";
    let found = document(&place, words, "python3 f.py 12", 0);
    assert_eq!(
        (&found["verdict"], &found["compared"]),
        (&"right".into(), &"elements".into())
    );
    let found = document(&place, words, "python3 f.py 12 wrong", 3);
    assert_eq!(found["verdict"], "wrong");
    assert_eq!(found["wrong"].as_array().unwrap().len(), 1);
    assert_eq!(found["wrong"][0]["index"], 4);
    // Large N: directions, then the search; --full looks at each.
    theta(&place, 3000);
    let found = document(&place, words, "python3 f.py 3000 greet", 0);
    assert_eq!(
        (&found["verdict"], &found["compared"]),
        (&"right".into(), &"directions".into())
    );
    let found = document(&place, words, "python3 f.py 3000 greet wrong", 3);
    assert_eq!(found["wrong"][0]["index"], 1000);
    assert_eq!(found["complete"], true);
    assert!(
        found["evaluations"]["answered"].as_u64().unwrap() < 500,
        "{found}"
    );
    theta(&place, 300);
    let found = document(
        &place,
        &format!("{words} --full"),
        "python3 f.py 300 greet wrong",
        3,
    );
    assert_eq!(
        (&found["compared"], &found["wrong"][0]["index"]),
        (&"elements".into(), &100.into())
    );
    // A gradient in a file.
    place.write("g.csv", &vec!["0.0"; 300].join("\n"));
    let words = "check --at theta.json --against g.csv";
    document(&place, words, "python3 f.py 300 greet", 3);
    place.write("g.csv", "1\n2\n");
    let errors = refusal(&place, words, "python3 f.py 300");
    assert!(errors.contains("2") && errors.contains("300"), "{errors}");
}

#[test]
fn the_page_of_a_check_is_made_from_its_file_alone() {
    if !has_python() {
        return;
    }
    let place = place(QUADRATIC);
    theta(&place, 12);
    let words = "check --at theta.json --html check.html";
    let found = document(&place, words, "python3 f.py 12 wrong", 3);
    assert_eq!(found["elements"].as_array().unwrap().len(), 12);
    assert_eq!(found["curves"][0]["element"]["index"], 4);
    assert_eq!(found["curves"].as_array().unwrap().len(), 3);
    let orders = found["taylor_orders"].as_array().unwrap();
    // A mistake of 1 % shows in the order long before it is 1.
    let is_two = |order: &Value| (order.as_f64().unwrap() - 2.0).abs() < 0.05;
    assert!(orders.len() > 1 && !orders.iter().all(is_two), "{orders:?}");
    let read = |name: &str| fs::read_to_string(place.path().join(name)).unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(&read("check.json")).unwrap(),
        found
    );
    let page = read("check.html");
    for part in [
        "Each element against its bound",
        "Differences of θ[4] over h",
        "wrong",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // Again from the file alone, and with another mistake over both.
    place.ends(&mut place.command("report check.json -o again.html"), 0);
    assert_eq!(read("again.html"), page);
    document(&place, words, "python3 f.py 12", 0);
    assert!(read("check.html") != page);
    // No file of the user's is replaced.
    place.write("own.json", "[1, 2]");
    let words = "check --at theta.json --html own.html";
    let errors = refusal(&place, words, "python3 f.py 12");
    assert!(errors.contains("own.json"), "{errors}");
    let errors = refusal(
        &place,
        "check --at theta.json --html a.json",
        "python3 f.py 12",
    );
    assert!(errors.contains("check.html"), "{errors}");
}

#[test]
fn the_examples_work() {
    if !has_python() {
        return;
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/programs");
    let example = |name: &str| root.join(name).display().to_string();
    let place = place("");
    let parabola = example("parabola.sh");
    assert_eq!(document(&place, "check", &parabola, 0)["verdict"], "right");
    let network = format!("python3 {}", example("network.py"));
    let found = document(&place, "check", &network, 3);
    let names: Vec<&str> = found["wrong"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["b2[0] (θ[24])", "b2[1] (θ[25])"]);
    let decay = format!("python3 {}", example("decay.py"));
    let found = document(&place, "minimize --workers 2", &decay, 0);
    let theta: Vec<f64> = serde_json::from_value(found["theta"].clone()).unwrap();
    assert!((theta[0].exp() - 0.9).abs() < 0.05 && (theta[1].exp() - 0.4).abs() < 0.05);
    if Command::new("c++").arg("--version").output().is_ok() {
        let built = Command::new("c++")
            .args(["-O1", "-o", "rosenbrock", &example("rosenbrock.cpp")])
            .current_dir(place.path())
            .status();
        assert!(built.unwrap().success());
        let found = document(&place, "minimize", "./rosenbrock", 0);
        assert_eq!(found["ending"], "converged");
        let theta: Vec<f64> = serde_json::from_value(found["theta"].clone()).unwrap();
        assert!(theta.iter().all(|x| (x - 1.0).abs() < 1e-4), "{theta:?}");
    }
}

#[test]
fn minimizations_converge_and_leave_a_trace() {
    if !has_python() {
        return;
    }
    let place = place(QUADRATIC);
    theta(&place, 5);
    for (options, highest) in [
        ("--gradient forward", 1e-9),
        ("--gradient program", 1e-9),
        ("--gradient richardson --increment 0.01", 1e-9),
        ("--optimizer sgd --learning-rate 0.05 --momentum 0.5", 1e-9),
        (
            "--optimizer adam --learning-rate 0.05 --gradient program --tolerance 0.01",
            1e-4,
        ),
    ] {
        let words = format!("minimize --at theta.json {options} -o best.json --trace t.csv");
        let found = document(&place, &words, "python3 f.py 5 greet", 0);
        assert_eq!(found["ending"], "converged", "{options}: {found}");
        assert!(found["loss"].as_f64().unwrap() < highest, "{options}");
        let best = nplus1::format::vector::load(&place.path().join("best.json")).unwrap();
        assert!(best.iter().all(|x| x * x <= highest), "{options}: {best:?}");
        let rows = lines(&place.path().join("t.csv"));
        assert_eq!(rows.len() as u64, found["iterations"].as_u64().unwrap() + 2);
    }
}

#[test]
fn slow_programs_that_do_not_answer_are_refused_with_what_they_did() {
    if !has_python() {
        return;
    }
    let place = place("");
    theta(&place, 3);
    let words = "gradient --at theta.json --workers 2 --timeout 0.5";
    for (program, expected) in [
        ("./nowhere", "127"),
        ("exit 7", "exit status 7"),
        ("echo Ready for work >&2; exit 7", "Ready for work"),
        ("echo Welcome; cat", "`Welcome`"),
        ("sleep 30", "within 0.5 s"),
        ("kill -9 $$", "signal 9"),
        ("exec >&-; sleep 30", "closed its standard output"),
        (
            "while read x; do echo '{\"id\":99,\"loss\":1}'; done",
            "request 99",
        ),
        ("read x; echo '{\"loss\":1}'; cat", "no `id`"),
        (
            "read x; echo '{\"id\":1}'; cat",
            "neither `loss` nor `error`",
        ),
        (
            "read x; printf '{\"id\":1,\"loss\":1}\\n{\"id\":1,\"loss\":1}\\n'; sleep 30",
            "more than one line",
        ),
        ("echo '{\"nplus1\":3}'; cat", "version 3"),
    ] {
        let errors = refusal(&place, words, program);
        assert!(errors.contains(expected), "{program}: {errors}");
        assert!(
            errors.contains("worker ") && errors.contains("θ itself"),
            "{program}: {errors}"
        );
    }
    // The function's own error and values that are not finite are not repeated.
    let error = "read x; echo '{\"id\":1,\"error\":\"singular \\u001b[31m\"}'; sleep 30";
    let errors = refusal(&place, words, error);
    assert!(
        errors.contains("singular") && !errors.contains('\u{1b}'),
        "{errors}"
    );
    for word in ["NaN", "Infinity", "-inf", "null"] {
        let program = format!("read x; echo '{{\"id\":1,\"loss\":{word}}}'; sleep 30");
        let errors = refusal(&place, words, &program);
        assert!(errors.contains("at θ itself"), "{word}: {errors}");
    }
}

#[test]
fn a_fault_beside_theta_names_the_parameter_and_the_side() {
    if !has_python() {
        return;
    }
    let place = place(
        r#"
import json, sys
for line in sys.stdin:
    r = json.loads(line)
    x = r["theta"]
    if x[2] != 0.5:
        if sys.argv[1] == "nan":
            print('{"id":%d,"loss":NaN}' % r["id"], flush=True)
            continue
        print("out of licenses", file=sys.stderr)
        sys.exit(3)
    print(json.dumps({"id": r["id"], "loss": sum(x)}), flush=True)
"#,
    );
    place.write("theta.csv", "0.25,0.5,0.5\n");
    let words = "gradient --at theta.csv --workers 2 --scheme central";
    let errors = place.ends(&mut command(&place, words, "python3 f.py die"), 2);
    for expected in [
        "θ[2] is 0.5",
        "exit status 3",
        "out of licenses",
        "another copy",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    let errors = place.ends(&mut command(&place, words, "python3 f.py nan"), 2);
    assert!(
        errors.contains("NaN") && errors.contains("θ[2] is 0.5 +"),
        "{errors}"
    );
}

#[test]
fn unusable_points_and_outputs_are_refused() {
    if !has_python() {
        return;
    }
    let place = place(QUADRATIC);
    for (name, content, expected) in [
        ("empty.json", "[]", "empty"),
        ("nan.csv", "1\nnan\n", "θ[1] is NaN"),
        ("nan.json", "[1, NaN]", "holds NaN or Infinity"),
        ("text.json", "theta", "JSON array"),
        ("a.toml", "1", ".npy"),
    ] {
        place.write(name, content);
        let errors = refusal(&place, &format!("gradient --at {name}"), "python3 f.py 2");
        assert!(errors.contains(expected), "{name}: {errors}");
    }
    theta(&place, 2);
    let errors = refusal(
        &place,
        "gradient --at theta.json -o g.xyz",
        "python3 f.py 2",
    );
    assert!(errors.contains("g.xyz"), "{errors}");
    let errors = refusal(&place, "gradient --at none.json", "python3 f.py 2");
    assert!(errors.contains("no such file"), "{errors}");
    let errors = refusal(&place, "gradient", "echo '{\"nplus1\":1}'; cat");
    assert!(errors.contains("--at FILE"), "{errors}");
    let errors = refusal(&place, "gradient --timeout 0.3", "cat");
    assert!(
        errors.contains("--at FILE, or more time with --timeout S"),
        "{errors}"
    );
    let errors = refusal(&place, "gradient --at theta.json", " ");
    assert!(errors.contains("empty"), "{errors}");
    // A program that fails at a θ of another length than its greeting's.
    let other = "echo '{\"nplus1\":1,\"theta\":[1,2,3]}'; while read x; do id=${x#*:}; echo \"{\\\"id\\\":${id%%,*},\\\"error\\\":\\\"no\\\"}\"; done";
    let errors = refusal(&place, "gradient --at theta.json", other);
    assert!(
        errors.contains("2 numbers here, and 3 in the program's greeting"),
        "{errors}"
    );
    // A program for another number of parameters says so itself.
    let errors = place.ends(
        &mut command(&place, "gradient --at theta.json", "python3 f.py 5"),
        2,
    );
    assert!(errors.contains("AssertionError"), "{errors}");
}

/// What a program that cannot run prints is shown once for each copy that was asked, not for all
/// that were started.
#[test]
fn copies_that_were_not_asked_are_not_heard() {
    let place = place("");
    theta(&place, 30);
    let words = "gradient --at theta.json --workers 16";
    let errors = refusal(&place, words, "./nowhere");
    assert!(errors.matches("nowhere").count() <= 6, "{errors}");
    let errors = refusal(&place, words, "echo no license >&2; exit 7");
    assert!(errors.matches("no license").count() <= 6, "{errors}");
}

#[test]
fn a_gradient_of_another_length_and_a_shell_that_does_not_start_are_told_apart() {
    let place = place("");
    theta(&place, 3);
    let program = "while read x; do id=${x#*:}; echo \"{\\\"id\\\":${id%%,*},\\\"loss\\\":1,\\\"gradient\\\":[1,2]}\"; done";
    let errors = refusal(&place, "check --at theta.json", program);
    assert!(
        errors.contains("its gradient has 2 numbers, but θ has 3"),
        "{errors}"
    );
    let program = program.replace(",\\\"gradient\\\":[1,2]", "");
    let errors = refusal(&place, "check --at theta.json", &program);
    assert!(errors.contains("no `gradient`"), "{errors}");
    // Where the system fails, the exit code is 8.
    let mut run = command(&place, "gradient --at theta.json --workers 2", "./loss");
    let errors = place.ends(run.env("PATH", place.path()), 8);
    assert!(errors.contains("cannot start `sh`"), "{errors}");
    assert!(!place.path().read_dir().unwrap().any(|entry| {
        let name = entry.unwrap().file_name();
        name.to_string_lossy().ends_with(".journal")
    }));
}

#[test]
fn slow_a_program_that_needs_long_to_start_is_awaited_with_a_message() {
    let place = place("");
    theta(&place, 2);
    let program = "sleep 11; while read x; do id=${x#*:}; echo \"{\\\"id\\\":${id%%,*},\\\"loss\\\":1}\"; done";
    let words = "gradient --at theta.json --workers 2";
    for (words, limit) in [
        (format!("{words} --timeout 40"), "for at most 40 s"),
        (words.to_owned(), "without a limit (--timeout S sets one)"),
    ] {
        let errors = place.ends(&mut command(&place, &words, program), 0);
        assert!(
            errors.contains("waiting for the first answer of `sleep 11;") && errors.contains(limit),
            "{errors}"
        );
    }
}

#[test]
fn one_failure_of_each_worker_costs_a_copy_and_no_result() {
    if !has_python() {
        return;
    }
    let place = place(
        r#"
import json, os, sys, time
worker = os.environ["NPLUS1_WORKER"]
for count, line in enumerate(sys.stdin):
    r = json.loads(line)
    time.sleep(0.01)
    if count == 5 and not os.path.exists("failed" + worker):
        open("failed" + worker, "w")
        fault = int(worker) % 4
        if fault == 0:
            sys.exit(1)
        if fault == 1:
            print("not json", flush=True); continue
        if fault == 2:
            print('{"id":12345,"loss":0}', flush=True); continue
    print(json.dumps({"id": r["id"], "loss": sum(x * x for x in r["theta"])}), flush=True)
"#,
    );
    let theta = theta(&place, 200);
    let found = document(
        &place,
        "gradient --at theta.json --workers 4",
        "python3 f.py",
        0,
    );
    assert!(
        found["evaluations"]["repeated"].as_u64().unwrap() > 2,
        "{found}"
    );
    for (g, x) in gradient(&found).iter().zip(theta) {
        assert!((g - 2.0 * x).abs() < 1e-5);
    }
}

#[test]
fn a_program_that_is_not_deterministic_is_found_out() {
    if !has_python() {
        return;
    }
    let place = place(
        r#"
import json, sys
for count, line in enumerate(sys.stdin):
    r = json.loads(line)
    print(json.dumps({"id": r["id"], "loss": sum(r["theta"]) + 1e-9 * count}), flush=True)
"#,
    );
    theta(&place, 6);
    let mut run = command(
        &place,
        "gradient --at theta.json --workers 1 --json",
        "python3 f.py",
    );
    let output = run.output().unwrap();
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["deterministic"], false);
    assert!(text(&output.stderr).contains("not deterministic"));
}

#[test]
fn slow_a_gradient_that_is_killed_goes_on_where_it_was_and_leaves_no_process() {
    if !has_python() {
        return;
    }
    let place = place(QUADRATIC);
    theta(&place, 300);
    let script = place.path().join("f.py");
    let program = format!("python3 {} 300 slow", script.display());
    let words = "gradient --at theta.json --workers 4 -o g.json";
    let journal = place.path().join("g.json.journal");
    let mut kills = 0;
    loop {
        let mut run = command(&place, words, &program);
        let mut child = run
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It is killed after some evaluations, however long a busy machine takes for them.
        let enough = calls(&place) + 40;
        while calls(&place) < enough && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_none_left(&script);
        // It may just have written its result.
        assert!(journal.exists() || place.path().join("g.json").exists());
        kills += 1;
        assert!(kills < 60, "it makes no progress");
    }
    assert!(kills >= 1, "the function was too fast to be interrupted");
    assert!(!journal.exists());
    assert_none_left(&script);
    // At most one evaluation for each worker and kill was lost.
    let calls = calls(&place);
    assert!(
        calls <= 302 + kills * (4 + 2),
        "{calls} calls after {kills} kills"
    );
    let whole = document(&place, "gradient --at theta.json", "python3 f.py 300", 0);
    let resumed = nplus1::format::vector::load(&place.path().join("g.json")).unwrap();
    assert_eq!(gradient(&whole), resumed);
}

#[test]
fn an_interrupt_ends_the_children_and_says_where_the_evaluations_are() {
    if !has_python() {
        return;
    }
    let place = place(QUADRATIC);
    theta(&place, 400);
    let script = place.path().join("f.py");
    let program = format!("python3 {} 400 slow", script.display());
    let mut run = command(&place, "gradient --at theta.json --workers 2", &program);
    let child = run
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_until("20 evaluations are done", || calls(&place) > 20);
    crate::support::program::send("-INT", &child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(".journal"));
    assert_none_left(&script);
    // A changed program begins anew, and says so.
    place.write("f.py", &format!("{QUADRATIC}# changed\n"));
    let errors = place.ends(
        &mut command(&place, "gradient --at theta.json", &program),
        2,
    );
    assert!(errors.contains("has changed since"), "{errors}");
}

#[test]
fn slow_killed_workers_cost_their_evaluation_only() {
    if !has_python() {
        return;
    }
    let place = place(QUADRATIC);
    theta(&place, 800);
    let script = place.path().join("f.py");
    let program = format!("exec python3 {} 800 greet slow sign", script.display());
    let mut run = command(
        &place,
        "gradient --at theta.json --workers 4 --json",
        &program,
    );
    let mut child = run
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let copies = place.path().join("copies");
    let signed = || fs::read_to_string(&copies).unwrap_or_default();
    let (mut kills, mut before) = (0, 0);
    while kills < 5 {
        // Once each of the four copies has answered twice, the evaluation that the last kill cost is
        // done: none loses two.
        let mut victim = None;
        wait_until("each copy has answered twice", || {
            let signed = signed();
            let signed: Vec<_> = signed.lines().skip(before).collect();
            let times = |copy: &str| signed.iter().filter(|other| **other == copy).count();
            let busy: BTreeSet<_> = signed.iter().filter(|copy| times(copy) > 2).collect();
            victim = busy
                .first()
                .filter(|_| busy.len() == 4)
                .map(|copy| copy.to_string());
            victim.is_some() || child.try_wait().unwrap().is_some()
        });
        // On a busy machine the run may end before a fifth.
        let Some(victim) = victim else { break };
        let _ = Command::new("kill").args(["-9", &victim]).status();
        before = signed().lines().count();
        kills += 1;
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let repeated = found["evaluations"]["repeated"].as_u64().unwrap();
    assert!((1..=kills).contains(&repeated), "{kills} kills: {found}");
    let whole = document(&place, "gradient --at theta.json", "python3 f.py 800", 0);
    assert_eq!(gradient(&found), gradient(&whole));
    assert_none_left(&script);
}
