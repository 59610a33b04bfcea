//! `nplus1 scale` measures the cells in turn and keeps every sample, reports the same weights
//! at every number of threads, and refuses invalid arguments before it starts. `nplus1 compare`
//! compares two of its results, and `nplus1 env` reports the machine and its peak rates.

use std::fs;

use crate::support::flowers::QUADRATIC as CONFIG;
use crate::support::program::{Workplace, lines, text};
use serde_json::Value;

fn rows(document: &Value) -> &Vec<Value> {
    document["rows"].as_array().unwrap()
}

#[test]
fn slow_every_cell_has_its_samples_and_the_weights_do_not_depend_on_the_threads() {
    let place = Workplace::new(CONFIG).with_processors(3);
    let document =
        place.report("scale flowers.toml --threads 1,2,3 --batches 10,32 --runs 2 --json");
    // Four methods, backprop by two splits, two mini-batches, three numbers of threads.
    assert_eq!(rows(&document).len(), 5 * 2 * 3);
    for row in rows(&document) {
        // On a loaded machine, samples whose threads shared a core may be left out.
        let left_out = row["placements"]["shared_core"].as_u64().unwrap();
        let samples = row["samples"].as_array().unwrap().len() as u64;
        assert!(samples == 2 || samples + left_out == 2, "{row}");
        assert!(row["seconds"].as_f64().unwrap() > 0.0);
        assert!(row["of_peak"].as_f64().unwrap() > 0.0);
        let same = |other: &&Value| {
            (&other["method"], &other["batch_rows"]) == (&row["method"], &row["batch_rows"])
        };
        for other in rows(&document).iter().filter(same) {
            assert_eq!(other["weights_sha256"], row["weights_sha256"]);
        }
        assert_eq!(row["weights_sha256"].as_str().unwrap().len(), 64);
        let split = ["units", "rows"].map(Value::from).contains(&row["split"]);
        assert_eq!(split, row["method"] == "backprop", "{row}");
        if row["threads"] == 1 && !split {
            assert_eq!(row["speedup"], 1.0);
        }
    }
    let hashes: std::collections::HashSet<&str> = (rows(&document).iter())
        .map(|row| row["weights_sha256"].as_str().unwrap())
        .collect();
    // The weights differ between methods and mini-batches, at least in the last bits.
    assert_eq!(hashes.len(), 4 * 2);
    // One of the two splits is the one that training takes.
    let auto = rows(&document).iter().filter(|row| row["auto"] == true);
    assert_eq!(auto.count(), 4 * 2 * 3);
    let divisions = document["plan"]["divisions"].as_array().unwrap();
    let of = |split: &str, threads: u64| {
        let own = |division: &&Value| {
            (
                &division["split"],
                &division["threads"],
                &division["batch_rows"],
            ) == (&split.into(), &threads.into(), &10.into())
        };
        divisions.iter().find(own).unwrap()
    };
    // One panel of hidden units: of two workers by units, one has work.
    assert_eq!(of("units", 2)["shared_work"], 0.5);
    assert_eq!(
        (&of("units", 2)["meetings"], &of("rows", 2)["meetings"]),
        (&1.into(), &2.into())
    );
    assert_eq!(of("rows", 2)["moved_bytes"], 4 * (4 * 5 + 5 * 3 + 5 + 3));
    assert_eq!(document["fits"].as_array().unwrap().len(), 5 * 2);
    for fit in document["fits"].as_array().unwrap() {
        // Two numbers of threads above 1 may hold Amdahl's law, but not that of two coefficients.
        assert_eq!(fit["universal_unsupported"], "too_few_counts", "{fit}");
        assert!(fit["universal"].is_null());
        match fit["amdahl_unsupported"].as_str() {
            None => assert!(fit["amdahl"]["serial"]["interval"].is_array(), "{fit}"),
            Some(reason) => assert!(fit["amdahl"].is_null() && reason == "too_noisy", "{fit}"),
        }
    }
    assert_eq!(document["machine"]["threads"], 3);
    let meetings = document["meetings"].as_array().unwrap();
    let threads: Vec<&Value> = meetings.iter().map(|meeting| &meeting["threads"]).collect();
    assert_eq!(threads, [2, 3]);
    assert!(
        document["findings"]
            .to_string()
            .contains("Synchronizing 2 idle threads takes")
    );
    let study = place.study(&document);
    // The second round starts after every cell has been measured once.
    let rounds: Vec<u64> = (lines(&study.join("rows.jsonl")).iter())
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["round"]
                .as_u64()
                .unwrap()
        })
        .collect();
    assert_eq!(rounds, [[1; 30], [2; 30]].concat());
    assert!(study.join("results.md").exists() && study.join("rows.csv").exists());
}

#[test]
fn slow_a_resumed_study_goes_on_with_the_samples_it_has() {
    let place = Workplace::new(CONFIG);
    let line = "scale flowers.toml --threads 1,2 --batches 10 --methods backprop --runs 3 --json";
    let study = place.study(&place.report(line));
    let mut begun = lines(&study.join("rows.jsonl"));
    assert_eq!(begun.len(), 12);
    // As an earlier version wrote it.
    let mut earlier: Value = serde_json::from_str(&begun[0]).unwrap();
    let known = earlier.as_object_mut().unwrap();
    assert!(known.remove("meeting_seconds").unwrap().as_f64() > Some(0.0));
    assert_eq!(known.remove("split").unwrap(), "units");
    begun[0] = earlier.to_string();
    fs::write(study.join("rows.jsonl"), begun[..3].join("\n") + "\n").unwrap();
    let resumed = place.report("scale --resume studies/flowers/001 --json");
    assert_eq!(rows(&resumed)[0]["samples"].as_array().unwrap().len(), 3);
    let now = lines(&study.join("rows.jsonl"));
    assert_eq!((now.len(), &now[1..3]), (12, &begun[1..3]));
    for kind in ["cost", "race"] {
        let other = place.nplus1(&format!("{kind} --resume studies/flowers/001"));
        let errors = text(&other.stderr);
        assert_eq!(other.status.code(), Some(2), "{errors}");
        let expected = format!("is not a study of kind `{kind}`: its kind is `scale`");
        assert!(errors.contains(&expected), "{errors}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_study_keeps_its_samples_and_says_how_to_go_on() {
    let place = Workplace::new(CONFIG);
    let samples = place.path().join("studies/flowers/001/rows.jsonl");
    let errors = place.interrupted("scale flowers.toml --runs 1000", &samples, |_| true);
    assert!(
        errors.contains("nplus1 scale --resume studies/flowers/001"),
        "{errors}"
    );
}

#[test]
fn more_rows_for_more_threads_are_weak_scaling() {
    let place = Workplace::new(CONFIG);
    let line =
        "scale flowers.toml --threads 1,2 --batches 10 --methods backprop --weak --runs 1 --json";
    let document = place.report(line);
    let found: Vec<(u64, u64, bool)> = (rows(&document).iter())
        .map(|row| {
            let number = |name: &str| row[name].as_u64().unwrap();
            let weak = row["weak_efficiency"].is_number();
            (number("batch_rows"), number("threads"), weak)
        })
        .collect();
    let expected = [(10, 1, true), (10, 2, false), (20, 2, true)];
    assert_eq!(found, expected.map(|row| [row; 2]).concat());
}

#[test]
fn invalid_arguments_are_refused_before_anything_is_written() {
    let place = Workplace::new(CONFIG);
    for (options, expected) in [
        (
            "--threads 0",
            "`0` is not a number of threads; allowed: numbers from 1 to 1024",
        ),
        ("--threads 1,2,2", "duplicate value 2"),
        ("--threads 1,1025", "`1025` is not a number of threads"),
        ("--batches 0", "0 rows; allowed: 1 to 90"),
        ("--batches 10,10", "duplicate value 10"),
        ("--batches 91", "91 rows; allowed: 1 to 90"),
        ("--weak --threads 1,2 --batches 46", "allowed: 1 to 45"),
        (
            "--methods magic",
            "unknown method `magic`; a bare name selects all its variants\n  allowed: backprop, ",
        ),
        ("--runs 0", "--runs"),
        ("--limit 0", "--limit"),
        ("--set train.epohcs=1", "did you mean `epochs`?"),
    ] {
        let errors = place.refusal(&format!("scale flowers.toml {options}"));
        assert!(errors.contains(expected), "{options}: {errors}");
    }
    let errors = place.refusal("scale --resume nowhere");
    assert!(errors.contains("no study in this folder"), "{errors}");
}

#[cfg(target_os = "linux")]
#[test]
fn slow_a_study_that_cannot_start_its_threads_keeps_its_samples_and_can_be_resumed() {
    let place = Workplace::new(CONFIG);
    // The address space suffices for some threads with a stack of 64 MiB, but not for 256. It has
    // the effect of a limit on the number of threads, and applies to the superuser too.
    let limited = |line: &str| {
        let program = env!("CARGO_BIN_EXE_nplus1");
        let shell = format!("ulimit -v 8388608; exec {program} {line}");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &shell]).current_dir(place.path());
        command
            .env("NPLUS1_WORKERS", "256")
            .env("RUST_MIN_STACK", (64 << 20).to_string())
            .output()
            .unwrap()
    };
    let line = "scale flowers.toml --threads 1,2,256 --batches 10 --methods backprop --runs 2";
    let output = limited(line);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{errors}");
    for expected in [
        "cannot start 256 threads",
        "ask for fewer with --threads",
        "4 samples are saved",
        "nplus1 scale --resume studies/flowers/001",
    ] {
        assert!(errors.contains(expected), "{expected}: {errors}");
    }
    let samples = place.path().join("studies/flowers/001/rows.jsonl");
    let kept = lines(&samples);
    assert_eq!(kept.len(), 4);
    let again = limited("scale --resume studies/flowers/001");
    assert_eq!(again.status.code(), Some(5), "{}", text(&again.stderr));
    assert_eq!(lines(&samples), kept);
    let place = place.with_processors(256);
    let resumed = place.report("scale --resume studies/flowers/001 --json");
    assert_eq!(rows(&resumed).len(), 6);
    assert_eq!(lines(&samples)[..4], kept);
}

#[test]
fn slow_more_threads_than_processors_are_predicted_and_labelled_so() {
    let place = Workplace::new(CONFIG).with_processors(2);
    let line = "scale flowers.toml --threads 2,1024 --batches 10 --methods backprop --runs 1";
    let (document, errors) = place.document(&format!("{line} --json"), 0);
    assert!(
        errors.contains("2 processors to use: 1024 threads are predicted"),
        "{errors}"
    );
    // One thread is measured too: predictions start from its time.
    let threads: Vec<_> = rows(&document).iter().map(|row| &row["threads"]).collect();
    assert_eq!(threads, [1, 1, 2, 2]);
    let predictions = document["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 2);
    for prediction in predictions {
        assert_eq!(prediction["threads"], 1024);
        // Ten rows and one panel of units: at most ten workers find work.
        assert!(
            prediction["speedup"].as_f64().unwrap() < 12.0,
            "{prediction}"
        );
    }
    let output = text(&place.nplus1(line).stdout);
    assert!(output.contains("Predicted, not measured"), "{output}");
    // Of 4·5 + 5 + 5·3 + 3 parameters, each is one pass: 1,024 workers share them no further.
    let line = line.replace("backprop", "forward-difference");
    let (document, _) = place.document(&format!("{line} --json"), 0);
    let [prediction] = &document["predictions"].as_array().unwrap()[..] else {
        panic!(
            "only whole passes are predicted: {}",
            document["predictions"]
        );
    };
    assert_eq!(prediction["method"], "forward-difference/full");
    let speedup = prediction["speedup"].as_f64().unwrap();
    assert!(speedup < 43.001, "{speedup}");
}

#[test]
fn more_threads_asked_for_than_processors_are_mentioned_once() {
    let place = Workplace::new(CONFIG).with_processors(2);
    let (document, errors) = place.document("train flowers.toml --threads 16 --json", 0);
    assert_eq!(document["threads"], 2);
    assert_eq!(
        errors.matches("16 threads asked for, 2 used").count(),
        1,
        "{errors}"
    );
    for value in ["0", "two", "1025"] {
        let mut command = place.command("train flowers.toml");
        let errors = place.ends(command.env("NPLUS1_WORKERS", value), 2);
        assert!(
            errors.contains(&format!("NPLUS1_WORKERS is \"{value}\"; allowed")),
            "{errors}"
        );
    }
}

#[test]
fn sixteen_workers_train_to_the_weights_of_one() {
    let hash = |processors, split: &str| {
        let place = Workplace::new(CONFIG).with_processors(processors);
        let line = format!("train flowers.toml --set run.split=\"{split}\" --json");
        let (document, _) = place.document(&line, 0);
        assert_eq!(document["threads"], processors);
        document["weights_sha256"].as_str().unwrap().to_owned()
    };
    let one = hash(1, "auto");
    for (workers, split) in [(16, "auto"), (16, "rows"), (16, "units"), (3, "rows")] {
        assert_eq!(hash(workers, split), one, "{workers} workers, {split}");
    }
}

#[test]
fn slow_two_results_are_compared_row_by_row() {
    let place = Workplace::new(CONFIG);
    let line = "scale flowers.toml --threads 1 --batches 10 --methods backprop --runs 6 --json";
    let study = place.study(&place.report(line));
    let compared =
        place.report("compare studies/flowers/001 studies/flowers/001/results.json --json");
    assert_eq!(compared["rows"][0]["verdict"], "same");
    assert_eq!(compared["rows"][0]["ratio"], 1.0);
    // A machine that takes 1000 times as long for every sample.
    let mut slower: Value =
        serde_json::from_slice(&fs::read(study.join("results.json")).unwrap()).unwrap();
    for sample in slower["rows"][0]["samples"].as_array_mut().unwrap() {
        *sample = (sample.as_f64().unwrap() * 1000.0).into();
    }
    fs::write(place.path().join("slower.json"), slower.to_string()).unwrap();
    let output = place.nplus1("compare studies/flowers/001 slower.json");
    let table = text(&output.stdout);
    assert!(
        table.contains("slower") && table.contains("0 faster, 1 slower"),
        "{table}"
    );
    fs::write(place.path().join("none.json"), "{\"rows\": []}").unwrap();
    for (line, expected) in [
        (
            "compare studies/flowers/001 none.json",
            "no `rows` with `samples`",
        ),
        (
            "compare studies/flowers/001 studies",
            "no results.json in this folder",
        ),
        ("compare nothing.json slower.json", "nothing.json"),
    ] {
        let output = place.nplus1(line);
        assert_eq!(output.status.code(), Some(2), "{line}");
        assert!(
            text(&output.stderr).contains(expected),
            "{line}: {}",
            text(&output.stderr)
        );
    }
}

#[test]
fn slow_the_environment_describes_the_machine_and_its_peak_rates() {
    let place = Workplace::new(CONFIG);
    let plain = text(&place.nplus1("env").stdout);
    assert!(
        plain.starts_with("nplus1     ") && plain.contains("\nkernel     "),
        "{plain}"
    );
    let document = place.report("env --peaks --threads 1,2 --json");
    let peaks = document["peaks"].as_array().unwrap();
    assert_eq!(peaks.len(), 2);
    for peak in peaks {
        assert!(peak["operations_per_second"].as_f64().unwrap() > 1e6);
        assert!(peak["bytes_per_second"].as_f64().unwrap() > 1e6);
    }
    let errors = place.refusal("env --peaks --threads 2,0");
    assert!(
        errors.contains("`0` is not a number of threads"),
        "{errors}"
    );
}
