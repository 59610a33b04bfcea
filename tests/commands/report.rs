//! Every command with results writes an HTML page of them, which is made from its files alone
//! and is the same each time. The page reports whatever is wrong with the files, and no text of a
//! file acts as markup or script.

use std::fs;
use std::path::Path;

use crate::support::pages::{CONFIG, make, make_all, workplace};
use crate::support::program::{Workplace, text};
use serde_json::Value;

/// Returns a text with everything that a page must escape: markup, control characters, great
/// length.
fn hostile() -> String {
    let long = "n".repeat(10_000);
    format!("</script><script>alert(1)</script>\"'&<b>\u{1}\u{7f}\u{202e}\u{200f}{long}")
}

/// Runs `report` with `line` on the first day of 1970, and returns the page.
fn page(place: &Workplace, line: &str) -> String {
    let mut command = place.command(&format!("report {line} -o page.html"));
    let output = command.env("SOURCE_DATE_EPOCH", "0").output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{line}: {errors}");
    let page = fs::read_to_string(place.path().join("page.html")).unwrap();
    assert!(page.contains("1970-01-01"));
    page
}

/// Runs a command that must be refused without a result; returns its standard error.
fn refused(place: &Workplace, line: &str) -> String {
    let output = place.nplus1(line);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}: {errors}");
    assert_eq!(text(&output.stdout), "", "{line}");
    errors
}

/// Returns the page's data, as its scripts read them.
fn data(page: &str) -> Value {
    let text = page.split("id=\"data\">").nth(1).unwrap();
    serde_json::from_str(text.split("</script>").next().unwrap()).unwrap()
}

fn figure<'a>(data: &'a Value, title: &str) -> &'a Value {
    let figures = data["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure["title"] == title);
    found.unwrap_or_else(|| panic!("no figure `{title}`"))
}

#[test]
fn slow_every_command_writes_its_page_unless_given_no_report() {
    let place = workplace();
    for (kind, path) in make_all(&place) {
        let page = fs::read_to_string(&path).unwrap();
        assert!(page.starts_with("<!DOCTYPE html>"), "{kind}");
        if kind != "toy" {
            assert!(page.matches("<svg").count() > 0, "{kind}");
            assert!(
                page.matches("<code>nplus1 ").count() > 0,
                "{kind} names its command"
            );
        }
    }
    make(&place, "train flowers.toml --no-report --out bare");
    assert!(!place.path().join("bare/report.html").exists());
}

#[test]
fn the_same_files_give_the_same_page_wherever_they_are() {
    let place = workplace();
    make(&place, "train flowers.toml");
    make(
        &place,
        "scale flowers.toml --threads 1 --methods backprop --batches 10 --runs 2",
    );
    for folder in ["runs/digits/001", "studies/digits/001"] {
        let first = page(&place, folder);
        let elsewhere = Workplace::new(CONFIG);
        let copy = elsewhere.path().join("copy");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(place.path().join(folder)).unwrap() {
            let entry = entry.unwrap();
            if entry.file_name() != "report.html" {
                fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
            }
        }
        assert!(first == page(&elsewhere, "copy"), "{folder}");
        let own = fs::read_to_string(place.path().join(folder).join("report.html")).unwrap();
        let day = own.split("<time datetime=\"").nth(1).unwrap();
        let day = day.split('"').next().unwrap();
        assert!(first == own.replace(day, "1970-01-01"), "{folder}");
    }
}

#[test]
fn figures_have_the_numbers_of_the_files() {
    let place = workplace();
    make(&place, "train flowers.toml --out run");
    let data = data(&page(&place, "run"));
    let loss = figure(&data, "Loss");
    let lines = fs::read_to_string(place.path().join("run/metrics.jsonl")).unwrap();
    let records: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(records.len(), 5);
    for (index, record) in records.iter().enumerate() {
        assert_eq!(loss["xs"][index], record["epoch"].as_f64().unwrap());
        assert_eq!(loss["series"][0]["y"][index], record["train_loss"]);
        assert_eq!(loss["series"][1]["y"][index], record["validation_loss"]);
    }
}

#[test]
fn a_page_of_thirty_epochs_is_small() {
    let place = workplace();
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/mnist-100.toml");
    make(
        &place,
        &format!("train {config} --set data.limit=1000 --set data.validation=200 --out run"),
    );
    let lines = fs::read_to_string(place.path().join("run/metrics.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 30);
    let page = page(&place, "run");
    assert!(page.len() <= 400_000, "{} bytes", page.len());
    assert_eq!(
        page.matches("data:image/png").count(),
        25 + 1,
        "wrong digits, and the weights"
    );
}

#[test]
fn several_runs_share_a_page_and_need_an_output_path() {
    let place = workplace();
    make(&place, "train flowers.toml --seeds 1..2");
    let both = "runs/digits/001 runs/digits/002";
    let page = page(&place, both);
    let data = data(&page);
    let accuracy = figure(&data, "Accuracy");
    assert_eq!(accuracy["series"].as_array().unwrap().len(), 2);
    assert_eq!(accuracy["series"][1]["label"], "runs/digits/002");
    assert!(page.contains("Test accuracy of 2 runs: "));
    let errors = refused(&place, &format!("report {both}"));
    assert!(errors.contains("-o compared.html"), "{errors}");
}

#[test]
fn a_long_study_is_thinned_and_says_so() {
    let place = workplace();
    make(&place, "train flowers.toml --out run");
    let metrics = place.path().join("run/metrics.jsonl");
    let line = fs::read_to_string(&metrics).unwrap();
    let record: Value = serde_json::from_str(line.lines().next().unwrap()).unwrap();
    let mut lines = String::new();
    for epoch in 1..=100_000 {
        let mut record = record.clone();
        record["epoch"] = epoch.into();
        lines += &format!("{record}\n");
    }
    fs::write(&metrics, lines).unwrap();
    let page = page(&place, "run");
    assert!(
        page.contains("of 200000 points"),
        "loss, training and validation"
    );
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

#[test]
fn a_page_reports_what_is_wrong_with_the_files_of_a_run() {
    let place = workplace();
    make(&place, "train flowers.toml --out run");
    let run = place.path().join("run");
    let metrics = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let keep = |name: &str, text: &str| fs::write(run.join(name), text).unwrap();

    // A damaged line, and missing last epochs.
    let lines: Vec<&str> = metrics.lines().collect();
    keep(
        "metrics.jsonl",
        &format!("{}\n{{\"epoch\":\n{}\n", lines[0], lines[2]),
    );
    let html = page(&place, "run");
    assert!(html.contains("1 line of metrics.jsonl cannot be read, and was skipped."));
    assert!(html.contains("The metrics of the last epochs are missing: 2 of 5 epochs were read."));
    assert_eq!(
        figure(&data(&html), "Loss")["xs"],
        serde_json::json!([1.0, 3.0])
    );
    keep("metrics.jsonl", &metrics);

    // Not ended.
    let summary = fs::read_to_string(run.join("summary.json")).unwrap();
    fs::remove_file(run.join("summary.json")).unwrap();
    let html = page(&place, "run");
    assert!(html.contains("its metrics go up to epoch 5 of 5"));
    keep("summary.json", "{\"run\": 3}");
    assert!(page(&place, "run").contains("summary.json cannot be read"));
    keep("summary.json", &summary);

    // Without losses there is a sentence in place of the plot.
    let without = metrics.replace("_loss\":", "_loss\":null,\"other\":");
    keep("metrics.jsonl", &without);
    assert!(page(&place, "run").contains("Loss: no points to draw."));

    // Without any epoch there is a sentence and no plot.
    fs::remove_file(run.join("summary.json")).unwrap();
    keep("metrics.jsonl", "");
    let html = page(&place, "run");
    assert!(html.contains("No epoch of this run was completed.") && !html.contains("<svg"));
    keep("metrics.jsonl", &metrics);
    keep("summary.json", &summary);

    // Files of a newer version, with an additional field, and of another format.
    let environment = fs::read_to_string(run.join("environment.json")).unwrap();
    let newer = environment.replace("\"version\": \"", "\"better\": [1], \"version\": \"9");
    keep("environment.json", &newer);
    assert!(page(&place, "run").contains("which is newer than this"));
    keep("environment.json", "not JSON");
    let html = page(&place, "run");
    assert!(html.contains("environment.json cannot be read"));
    keep("environment.json", &environment);

    // A file that is not a model.
    keep("model.safetensors", "not a model");
    assert!(page(&place, "run").contains("its weights are not shown"));
}

#[test]
fn an_unfinished_study_is_shown_with_its_rows_and_warnings() {
    let place = workplace();
    make(
        &place,
        "scale flowers.toml --threads 1,2 --methods backprop --batches 10 --runs 2 --out scale",
    );
    let study = place.path().join("scale");
    let results = fs::read_to_string(study.join("results.json")).unwrap();
    let mut edited: Value = serde_json::from_str(&results).unwrap();
    edited["warnings"] = serde_json::json!(["a neighbour was at work"]);
    fs::write(study.join("results.json"), edited.to_string()).unwrap();
    assert!(page(&place, "scale").contains("Doubtful: a neighbour was at work."));

    // Not ended, with a damaged row.
    fs::remove_file(study.join("results.json")).unwrap();
    let rows = fs::read_to_string(study.join("rows.jsonl")).unwrap();
    let kept: Vec<&str> = rows.lines().take(3).collect();
    fs::write(
        study.join("rows.jsonl"),
        format!("{}\n{{\"round\":", kept.join("\n")),
    )
    .unwrap();
    let html = page(&place, "scale");
    assert!(html.contains("1 line of rows.jsonl cannot be read"));
    let samples = figure(&data(&html), "Samples, round by round")["series"].clone();
    let drawn: usize = (samples.as_array().unwrap().iter())
        .flat_map(|series| series["y"].as_array().unwrap())
        .filter(|sample| !sample.is_null())
        .count();
    assert_eq!(drawn, 3);

    // Without any row there is a sentence and no plot.
    fs::write(study.join("rows.jsonl"), "").unwrap();
    let html = page(&place, "scale");
    assert!(html.contains("Speedup: no points to draw") && !html.contains("<svg"));
}

#[test]
fn numbers_that_no_axis_can_show_are_left_out_and_counted() {
    let place = workplace();
    make(&place, "train flowers.toml --out run");
    let metrics = place.path().join("run/metrics.jsonl");
    let log = fs::read_to_string(&metrics).unwrap();
    let mut lines = String::new();
    let extremes = [1.7e308, -1.7e308, 5e-324, 1e-320, 0.5];
    for (line, extreme) in log.lines().zip(extremes) {
        let mut record: Value = serde_json::from_str(line).unwrap();
        for key in [
            "train_loss",
            "gradient_norm",
            "validation_accuracy",
            "seconds",
        ] {
            record[key] = serde_json::json!(extreme);
        }
        lines += &format!("{record}\n");
    }
    fs::write(&metrics, lines).unwrap();
    let html = page(&place, "run");
    assert!(html.contains(
        "4 points are not drawn: an axis shows only 0 and magnitudes from 1e-300 to 1e300."
    ));
    assert!(!html.contains("NaN") && !html.contains("inf\""));
}

#[test]
fn the_page_of_a_cross_validation_reports_missing_folds() {
    let place = workplace();
    let (_, line) = crate::support::pages::COMMANDS[1];
    make(&place, line);
    fs::remove_dir_all(place.path().join("folds/fold-01")).unwrap();
    let html = page(&place, "folds");
    assert!(html.contains("2 of 3 folds were found."));
    assert!(html.contains("Test accuracy of 2 runs: "));
    // Runs of different configs have no common mean.
    make(&place, "train flowers.toml --out run");
    assert!(!page(&place, "folds run").contains("Test accuracy of 3 runs"));
}

#[test]
fn the_spread_over_folds_is_the_sample_standard_deviation() {
    let place = workplace();
    let (_, line) = crate::support::pages::COMMANDS[1];
    make(&place, line);
    for (fold, accuracy) in [(1, 0.90), (2, 0.94), (3, 0.95)] {
        let path = place
            .path()
            .join(format!("folds/fold-{fold:02}/summary.json"));
        let mut summary: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        summary["test_accuracy"] = accuracy.into();
        fs::write(&path, summary.to_string()).unwrap();
    }
    // The mean is 0.93; √((0.03² + 0.01² + 0.02²)/2) = 0.02646; over 3 it would be 0.02160.
    let spread = "Test accuracy of 3 runs: 93.00 % ± 2.65 % (mean and standard deviation).";
    assert!(make(&place, "report folds --text").contains(spread));
    assert!(page(&place, "folds").contains(spread));
}

#[test]
fn the_confusion_matrix_of_a_page_has_true_classes_as_rows() {
    let place = workplace();
    make(&place, "train flowers.toml --out run");
    let path = place.path().join("run/evaluation.json");
    let mut evaluation: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let names = evaluation["classes"].as_array().unwrap().len();
    for (truth, row) in (0..names).zip(evaluation["confusion"].as_array_mut().unwrap()) {
        *row = (0..names)
            .map(|predicted| 100 * truth + predicted)
            .collect();
    }
    fs::write(&path, evaluation.to_string()).unwrap();
    let page = page(&place, "run");
    let matrix = page.split("<table class=\"confusion\">").nth(1).unwrap();
    let cells = matrix
        .split("</table>")
        .next()
        .unwrap()
        .split("<td class=\"")
        .skip(1);
    let cells: Vec<usize> = cells
        .map(|cell| {
            let count = cell.split('>').nth(1).unwrap();
            count.split('<').next().unwrap().parse().unwrap()
        })
        .collect();
    let rows =
        (0..names).flat_map(|truth| (0..names).map(move |predicted| 100 * truth + predicted));
    assert!(rows.eq(cells.iter().copied()), "{cells:?}");
}

#[test]
fn the_toy_page_has_static_pictures_where_there_is_something_to_draw() {
    let place = workplace();
    make(&place, "explain toy --html toy.html");
    let toy_page = fs::read_to_string(place.path().join("toy.html")).unwrap();
    assert_eq!(toy_page.matches("<svg").count(), 2);
    make(&place, "explain toy --x 0 --html toy.html");
    let toy_page = fs::read_to_string(place.path().join("toy.html")).unwrap();
    assert!(toy_page.contains("Every error is 0 here.") && toy_page.matches("<svg").count() == 1);
}

#[test]
fn runs_with_the_same_name_get_different_labels() {
    let place = workplace();
    make(&place, "train flowers.toml --out run");
    let page = page(&place, "run run");
    let data = data(&page);
    let series = &figure(&data, "Accuracy")["series"];
    assert_eq!(
        (&series[0]["group"], &series[1]["group"]),
        (&"run".into(), &"run (2)".into())
    );
}

#[test]
fn invalid_folders_and_arguments_are_refused() {
    let place = workplace();
    fs::create_dir(place.path().join("empty")).unwrap();
    fs::create_dir_all(place.path().join("odd")).unwrap();
    fs::write(
        place.path().join("odd/study.json"),
        r#"{"study":"astrology","arguments":{}}"#,
    )
    .unwrap();
    fs::create_dir_all(place.path().join("newer")).unwrap();
    fs::write(
        place.path().join("newer/study.json"),
        r#"{"study":"race","arguments":{"laps":3}}"#,
    )
    .unwrap();
    fs::create_dir_all(place.path().join("rows")).unwrap();
    fs::write(place.path().join("rows/rows.jsonl"), "").unwrap();
    make(&place, "train flowers.toml --out run");
    for (line, words) in [
        ("report missing", "no such folder"),
        ("report empty", "neither a run nor a study in this folder"),
        ("report flowers.toml", "is a file, not the directory"),
        (
            "report odd",
            "study of kind `astrology`, which this version does not know",
        ),
        ("report newer", "the plan of a race study cannot be read"),
        ("report empty --text", "neither a run nor a study"),
        ("report empty --text -o x.html", "cannot be used with"),
        ("report", "RUN|STUDY"),
        (
            "report run --text --json",
            "--text and --json cannot be combined",
        ),
        (
            "report run -o run/metrics.jsonl",
            "exists and is not a page",
        ),
        ("report run -o flowers.toml", "exists and is not a page"),
        (
            "report run -o no/such/page.html",
            "its folder does not exist",
        ),
        ("report run -o run", "is a folder"),
        ("report run -o /dev/null", "is a device, not a regular file"),
        ("report rows", "no study.json"),
        (
            "explain logistic --html x.html",
            "the toy and the claims only",
        ),
        ("explain toy --epsilon 0 --html x.html", "epsilon"),
    ] {
        let errors = refused(&place, line);
        assert!(errors.contains(words), "{line}: {errors}");
    }
    assert!(
        !place.path().join("x.html").exists() && !place.path().join("empty/report.html").exists()
    );
}

/// Replaces every string of a document by `text`.
fn replace_strings(value: &mut Value, text: &str) {
    match value {
        Value::String(string) => text.clone_into(string),
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| replace_strings(item, text)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|item| replace_strings(item, text)),
        _ => {}
    }
}

/// Replaces every string in a JSON or JSONL file by `text`.
fn replace_strings_in_file(path: &Path, text: &str) {
    let content = fs::read_to_string(path).unwrap();
    let lines = path
        .extension()
        .is_some_and(|extension| extension == "jsonl");
    let replaced = |part: &str| {
        let mut value: Value = serde_json::from_str(part).unwrap();
        replace_strings(&mut value, text);
        value.to_string() + "\n"
    };
    let replaced = if lines {
        content.lines().map(replaced).collect()
    } else {
        replaced(&content)
    };
    fs::write(path, replaced).unwrap();
}

#[test]
fn slow_hostile_text_in_every_field_adds_no_markup() {
    let place = workplace();
    make_all(&place);
    // As long, so that a table's cells may break at the same places.
    let (hostile, harmless) = (hostile(), "n".repeat(10_100));
    for (folder, files) in [
        (
            "run",
            ["summary.json", "evaluation.json", "environment.json"].as_slice(),
        ),
        ("cost", &["rows.jsonl", "environment.json"]),
        ("llsq", &["rows.jsonl"]),
        ("sweep", &["rows.jsonl"]),
    ] {
        let structure = |text: &str| {
            let at = |file: &&str| place.path().join(folder).join(file);
            files
                .iter()
                .for_each(|file| replace_strings_in_file(&at(file), text));
            if place.path().join(folder).join("config.toml").exists() {
                let mut config = toml_edit::DocumentMut::new();
                config["name"] = toml_edit::value(text);
                fs::write(
                    place.path().join(folder).join("config.toml"),
                    config.to_string(),
                )
                .unwrap();
            }
            let page = page(&place, folder);
            for control in ['\u{1}', '\u{7f}'] {
                assert!(!page.contains(control), "{folder}: a control character");
            }
            let tags = page.split('<').skip(1).map(|part| {
                let end = part.find([' ', '>', '\n']).unwrap_or(part.len());
                part[..end].to_owned()
            });
            tags.collect::<Vec<String>>()
        };
        let (with_harmless, with_hostile) = (structure(&harmless), structure(&hostile));
        assert!(with_harmless == with_hostile, "{folder}: other tags");
    }
}

#[test]
fn a_terminal_gets_the_same_report_as_text() {
    let place = workplace();
    let trained = make(&place, "train flowers.toml --out run");
    let text = make(&place, "report run --text");
    let curve = |text: &str| {
        let mut lines = text.lines();
        let line =
            lines.find(|line| line.starts_with("validation accuracy ") && line.contains('█'));
        line.map(str::to_owned)
    };
    let line = curve(&text).expect("a curve of blocks");
    assert!(trained.contains(&line), "{line}\n{trained}");
    assert!(trained.contains("run/report.html"));
    make(&place, "cost flowers.toml --methods backprop --out cost");
    let table = make(&place, "report cost --text");
    assert!(table.contains("forward-pass") && table.contains("÷ backprop"));
}

#[test]
fn figures_can_be_written_as_svg_files() {
    let place = workplace();
    make(&place, "train flowers.toml --out run");
    make(&place, "report run --figures pictures");
    let svg = fs::read_to_string(place.path().join("pictures/accuracy.svg")).unwrap();
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && svg.ends_with("</svg>")
    );
    assert!(svg.contains("validation accuracy"));
}
