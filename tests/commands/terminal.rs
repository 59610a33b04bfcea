//! No text from a file or an argument can control the terminal, JSON documents keep it unchanged,
//! and no message is longer than 8 KiB.

use std::fs;
use std::process::Output;

use crate::support::program::{Workplace, text};
use serde_json::{Value, json};

/// Control characters of one and of two bytes, and marks that change the text direction.
const HOSTILE: &str = "\u{1b}]0;owned\u{7}\u{1b}[2J\r\u{7f}\u{9b}31m\u{202e}\u{2066}\u{200f}";
/// [`HOSTILE`] as the program prints it.
const SHOWN: &str = "␛]0;owned␇␛[2J␍␡<U+009B>31m<U+202E><U+2066><U+200F>";

/// A config that trains on `data.csv`.
const CONFIG: &str = r#"
name = "flowers"
[data]
train = "data.csv"
normalize = "none"
[model]
hidden = []
output = "softmax"
[optimizer]
learning_rate = 1.0
[train]
epochs = 2
batch_size = 2
"#;

/// Creates a folder with the config, and with data whose header and first class are [`HOSTILE`].
fn workplace() -> Workplace {
    let place = Workplace::new(CONFIG);
    place.write(
        "data.csv",
        &format!("\"{HOSTILE}\",class\n0,\"{HOSTILE}\"\n1,b\n0,\"{HOSTILE}\"\n1,b\n"),
    );
    place
}

/// Runs the program, which must end with `code`; checks that neither output stream contains control
/// characters, and returns both.
fn printed(place: &Workplace, arguments: &[&str], code: i32) -> (String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = place.command("").args(arguments).output().unwrap();
    let (out, errors) = (text(&stdout), text(&stderr));
    assert_eq!(status.code(), Some(code), "{arguments:?}: {errors}");
    for stream in [&out, &errors] {
        let control = stream.chars().find(|&letter| {
            (letter.is_control() && letter != '\n')
                || ('\u{200e}'..='\u{200f}').contains(&letter)
                || ('\u{202a}'..='\u{202e}').contains(&letter)
                || ('\u{2066}'..='\u{2069}').contains(&letter)
        });
        assert_eq!(control, None, "{arguments:?}: {stream:?}");
    }
    (out, errors)
}

#[track_caller]
fn assert_shown(text: &str) {
    assert!(text.contains(SHOWN), "{text}");
}

#[test]
fn names_from_data_are_escaped_in_text_and_unchanged_in_documents() {
    let place = workplace();
    printed(&place, &["train", "flowers.toml", "--out", "run"], 0);
    let eval = ["eval", "run", "--data", "data.csv", "--confusion"];
    let (table, _) = printed(&place, &eval, 0);
    assert_shown(&table);
    let (document, _) = printed(&place, &[&eval[..], &["--json"]].concat(), 0);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["classes"][1]["name"], "b", "{document}");
    assert_eq!(document["classes"][0]["name"], HOSTILE, "{document}");
    let explain = ["explain", "flowers.toml", "--weight", "0,0,0"];
    printed(&place, &explain, 0);
    // A file with an unknown class: the error names the known ones.
    place.write("other.csv", "x,class\n0,c\n1,b\n");
    let (_, errors) = printed(&place, &["eval", "run", "--data", "other.csv"], 2);
    assert!(errors.contains("owned"), "{errors}");
}

#[test]
fn texts_of_configs_are_escaped_and_a_printed_config_can_be_read_again() {
    let place = workplace();
    let quoted = json!(HOSTILE).to_string().replace('\u{7f}', "\\u007f");
    place.write(
        "bad.toml",
        &format!("{CONFIG}{quoted} = 1\n[data.{quoted}]\nx = 1\n[{quoted}]\n"),
    );
    let (_, errors) = printed(&place, &["config", "check", "bad.toml"], 2);
    assert_shown(&errors);
    let (document, _) = printed(&place, &["config", "check", "bad.toml", "--json"], 2);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["files"][0]["ok"], false);

    // A path and a label may contain anything; for a backslash the TOML writer uses other quotes.
    let label = json!(format!("\\{HOSTILE}"))
        .to_string()
        .replace('\u{7f}', "\\u007f");
    let data = format!("train = {quoted}\nlabel = {label}");
    place.write("odd.toml", &CONFIG.replace("train = \"data.csv\"", &data));
    let (checked, _) = printed(&place, &["config", "check", "odd.toml"], 0);
    assert_shown(&checked);
    let (shown, _) = printed(&place, &["config", "show", "odd.toml"], 0);
    place.write("shown.toml", &shown);
    let (again, _) = printed(&place, &["config", "show", "shown.toml"], 0);
    assert_eq!(shown, again);
    let document = |file| {
        let (document, _) = printed(&place, &["config", "show", file, "--json"], 0);
        serde_json::from_str::<Value>(&document).unwrap()
    };
    assert_eq!(document("odd.toml"), document("shown.toml"));
    assert_eq!(
        document("odd.toml")["data"]["label"],
        format!("\\{HOSTILE}")
    );
}

#[test]
fn arguments_and_paths_are_escaped() {
    let place = workplace();
    let file = format!("{HOSTILE}.toml");
    let option = format!("--{HOSTILE}");
    for arguments in [
        ["train", &file].as_slice(),
        &["train", "flowers.toml", &option],
        &["train", "flowers.toml", "--seeds", HOSTILE],
        &["train", "flowers.toml", "--set", HOSTILE],
        &[HOSTILE],
    ] {
        assert_shown(&printed(&place, arguments, 2).1);
    }
    let (list, _) = printed(&place, &["data", "list", "--datasets", HOSTILE], 0);
    assert_shown(&list);
}

#[test]
fn tensors_and_metadata_of_models_are_escaped() {
    let place = workplace();
    let model = |header: Value| {
        let header = header.to_string();
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend([0; 12]);
        fs::write(place.path().join("model.safetensors"), bytes).unwrap();
    };
    let tensor = |shape: &[usize], from: usize| {
        let end = from + 4 * shape.iter().product::<usize>();
        json!({"dtype": "F32", "shape": shape, "data_offsets": [from, end]})
    };
    let eval = ["eval", "model.safetensors", "--data", "data.csv"];
    model(json!({ HOSTILE: tensor(&[3], 0) }));
    assert_shown(&printed(&place, &eval, 2).1);
    model(json!({
        "__metadata__": {"output": HOSTILE},
        "layers.0.weight": tensor(&[1, 2], 0),
        "layers.0.bias": tensor(&[1], 8),
    }));
    assert_shown(&printed(&place, &eval, 2).1);
}

#[test]
fn texts_of_runs_and_studies_are_escaped() {
    let place = workplace();
    printed(&place, &["train", "flowers.toml", "--out", "run"], 0);
    let config = fs::read_to_string(place.path().join("run/config.toml")).unwrap();
    let hostile = json!(HOSTILE).to_string().replace('\u{7f}', "\\u007f");
    fs::write(
        place.path().join("run/config.toml"),
        config.replace("\"flowers\"", &hostile),
    )
    .unwrap();
    assert_shown(&printed(&place, &["report", "run", "--text"], 0).0);
    let samples = [1.0, 2.0, 3.0, 4.0, 5.0];
    let row = json!({"label": HOSTILE, "samples": samples});
    place.write("results.json", &json!({ "rows": [row] }).to_string());
    let compare = ["compare", "results.json", "results.json"];
    assert_shown(&printed(&place, &compare, 0).0);
}

#[test]
fn the_colors_of_the_program_s_headings_are_kept() {
    let place = workplace();
    let output = place.nplus1("train \u{1b}[31m.toml --color always");
    let errors = text(&output.stderr);
    assert!(
        errors.starts_with("\u{1b}[1;31merror:\u{1b}[0m ␛[31m"),
        "{errors:?}"
    );
    assert_eq!(errors.matches('\u{1b}').count(), 2, "{errors:?}");
}

#[test]
fn a_message_is_at_most_8_kibibytes_and_says_how_much_is_left_out() {
    let place = workplace();
    place.write(
        "key.toml",
        &format!("{} = 1\n{CONFIG}", "k".repeat(200_000)),
    );
    let name = "k".repeat(60);
    let keys: String = (0..3000).map(|key| format!("{name}{key} = 1\n")).collect();
    place.write("keys.toml", &format!("{keys}{CONFIG}"));
    for (file, ending) in [
        ("key.toml", "1 error in key.toml"),
        ("keys.toml", "at least 100 errors in keys.toml"),
    ] {
        for command in ["train", "config check"] {
            let errors = place.failure(&format!("{command} {file}"), 2);
            assert!(errors.len() <= 8192, "{command} {file}: {}", errors.len());
            assert!(errors.starts_with("error: unknown key `k"), "{errors}");
            assert!(errors.contains(" bytes left out …\n"), "{errors}");
            assert!(errors.trim_end().ends_with(ending), "{errors}");
        }
        let (document, _) = place.document(&format!("config check {file} --json"), 2);
        let error = document["files"][0]["error"].as_str().unwrap();
        assert!(error.len() <= 8192 && error.ends_with(ending), "{error}");
    }
}

#[test]
fn every_checked_file_has_its_message() {
    let place = workplace();
    let keys: String = (0..100).map(|key| format!("k{key} = 1\n")).collect();
    let files = ["a.toml", "b.toml", "c.toml"];
    for file in files {
        place.write(file, &format!("{keys}{CONFIG}"));
    }
    let errors = place.failure("config check a.toml b.toml c.toml", 2);
    for file in files {
        assert!(
            errors.contains(&format!("100 errors in {file}\n")),
            "{errors}"
        );
    }
}
