//! `nplus1 config`: checks configs, shows one with its defaults, writes one to start from, or prints
//! the JSON Schema of all. It trains nothing, and opens no data but that of `init --data`.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use toml_edit::{DocumentMut, Item, TableLike, Value};

use super::arguments::ConfigCommand;
use super::inputs::overrides;
use super::output::Messages;
use super::table_config;
use crate::config::{Config, Overrides, schema, starter};
use crate::error::{Error, Result};
use crate::format::file::{folder_of, write_new};
use crate::optimizer::Schedule;
use crate::text::shortened;
use crate::train::TrainConfig;

/// Runs the command; results go to `out`, as one JSON document if `json`.
///
/// # Errors
/// The errors in the configs; [`Error::Refused`] if `init` would overwrite a file;
/// [`Error::Io`] if `out` cannot be written to.
pub fn run(
    command: &ConfigCommand,
    out: &mut dyn Write,
    json: bool,
    messages: Messages,
) -> Result<()> {
    match command {
        ConfigCommand::Check { files, changes } => {
            let errors = check(files, &overrides(changes), out, json)?;
            end(errors, messages)
        }
        ConfigCommand::Show { file, changes } => {
            let text = Config::load(file, &overrides(changes))?.to_toml();
            if json {
                print(out, &document(&text))
            } else {
                write(out, &text)
            }
        }
        ConfigCommand::Init { file, data, label } => {
            let folder = output_file(file).map_or(Path::new(""), folder_of);
            let text = match data {
                Some(data) => table_config::config(data, label.as_deref(), folder)?,
                None => starter(),
            };
            init(output_file(file), &text, out, json)
        }
        ConfigCommand::Schema { file } => match output_file(file) {
            None => print(out, &schema()),
            Some(file) => {
                create(file, &format!("{:#}\n", schema()))?;
                let done = format!("wrote {}\n", file.display());
                report_file(out, json, file, &done)
            }
        },
    }
}

/// Writes the text of a config to `file` or to `out`.
fn init(file: Option<&Path>, text: &str, out: &mut dyn Write, json: bool) -> Result<()> {
    match file {
        None if json => print(out, &json!({ "file": null, "text": text })),
        None => write(out, text),
        Some(file) => {
            create(file, text)?;
            let name = file.display();
            let done = format!("wrote {name}; train it with `nplus1 train {name}`\n");
            report_file(out, json, file, &done)
        }
    }
}

/// Returns the file to write; `None` for standard output.
fn output_file(file: &Option<PathBuf>) -> Option<&Path> {
    file.as_deref().filter(|file| *file != Path::new("-"))
}

/// Reports a file that was written: `done`, or its name as JSON.
fn report_file(out: &mut dyn Write, json: bool, file: &Path, done: &str) -> Result<()> {
    if json {
        print(out, &json!({ "file": file.display().to_string() }))
    } else {
        write(out, done)
    }
}

/// Checks every file and returns all errors.
fn check(
    files: &[PathBuf],
    overrides: &Overrides,
    out: &mut dyn Write,
    json: bool,
) -> Result<Vec<Error>> {
    let mut errors = Vec::new();
    let mut rows = Vec::new();
    for file in files {
        let name = file.display();
        match Config::load(file, overrides) {
            Ok(config) if json => rows.push(json!({
                "file": name.to_string(),
                "ok": true,
                "name": config.name,
                "summary": summarize(&config),
            })),
            Ok(config) => write(out, &format!("{name}: ok ({})\n", summarize(&config)))?,
            Err(error) => {
                if json {
                    let error = error.to_string();
                    rows.push(
                        json!({ "file": name.to_string(), "ok": false, "error": shortened(&error) }),
                    );
                }
                errors.push(error);
            }
        }
    }
    if json {
        print(out, &json!({ "files": rows }))?;
    }
    Ok(errors)
}

/// Prints every error but one, and returns that one: an error of the operating system, or else the
/// last. Each error is a separate message, so that the limit on the length of a message applies to
/// each.
fn end(mut errors: Vec<Error>, messages: Messages) -> Result<()> {
    let unforeseen = errors.iter().position(|error| error.exit_code() != 2);
    let Some(last) = unforeseen.or(errors.len().checked_sub(1)) else {
        return Ok(());
    };
    let last = errors.remove(last);
    errors.iter().for_each(|error| messages.error(error));
    Err(last)
}

/// Summarizes a config: `iris, hidden [8], softmax, cross-entropy, sgd 0.5 (cosine), 100 epochs of
/// batches of 10`.
fn summarize(config: &Config) -> String {
    use crate::data::DataSource;
    let data = match &config.data.source {
        DataSource::Catalog(name) => name.clone(),
        DataSource::Files { train, .. } => {
            let names: Vec<String> = train
                .iter()
                .map(|file| file.display().to_string())
                .collect();
            names.join(" + ")
        }
    };
    let schedule = match config.optimizer.schedule() {
        Some(Schedule::Step { .. }) => " (step)",
        Some(Schedule::Cosine) => " (cosine)",
        Some(Schedule::Constant) | None => "",
    };
    let rate = config.optimizer.learning_rate();
    let rate = rate.map_or(String::new(), |rate| format!(" {rate}"));
    let train = &config.train;
    let lengths = [
        train.epochs.map(|epochs| format!("{epochs} epochs")),
        train.max_steps.map(|steps| format!("{steps} steps")),
        train
            .max_seconds
            .map(|seconds| format!("at most {seconds} s")),
    ];
    let batches = match train.batch_size {
        TrainConfig::ALL_ROWS => "all rows".to_owned(),
        rows => format!("batches of {rows}"),
    };
    let lengths: Vec<String> = lengths.into_iter().flatten().collect();
    format!(
        "{data}, hidden {:?}, {} outputs, {}, {}{rate}{schedule}, {} of {batches}",
        config.model.hidden,
        config.model.output.name(),
        config.loss.kind.name(),
        config.optimizer.kind(),
        lengths.join(", "),
    )
}

/// Writes `text` to a new file; never overwrites one.
fn create(file: &Path, text: &str) -> Result<()> {
    write_new(file, text.as_bytes()).map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::refused(file, "the file exists and is not overwritten")
                .help("give another name, or remove it first")
        }
        std::io::ErrorKind::NotFound => {
            Error::refused(file, "its folder does not exist").help("make the folder first")
        }
        _ => Error::io("write", file, source),
    })
}

fn write(out: &mut dyn Write, text: &str) -> Result<()> {
    out.write_all(text.as_bytes())
        .map_err(|source| Error::io("write", Path::new("standard output"), source))
}

fn print(out: &mut dyn Write, document: &serde_json::Value) -> Result<()> {
    write(out, &format!("{document:#}\n"))
}

/// Returns a resolved config as JSON with the same sections and keys.
fn document(text: &str) -> serde_json::Value {
    let document: DocumentMut = text.parse().expect("a resolved config is TOML");
    object(document.as_table())
}

fn object(table: &dyn TableLike) -> serde_json::Value {
    let members = table.iter().map(|(key, item)| {
        let member = match item {
            Item::Value(found) => value(found),
            item => item.as_table_like().map_or(serde_json::Value::Null, object),
        };
        (key.to_owned(), member)
    });
    members.collect::<serde_json::Map<_, _>>().into()
}

fn value(found: &Value) -> serde_json::Value {
    match found {
        Value::String(text) => json!(text.value()),
        Value::Integer(number) => json!(number.value()),
        Value::Float(number) => json!(number.value()),
        Value::Boolean(flag) => json!(flag.value()),
        Value::Datetime(date) => json!(date.value().to_string()),
        Value::Array(list) => list.iter().map(value).collect(),
        Value::InlineTable(table) => object(table),
    }
}
