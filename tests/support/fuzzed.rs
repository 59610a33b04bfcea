//! What every reader keeps to, whatever the bytes: it does not panic, an error is a refusal (exit code
//! 2), and what it accepts agrees with the file and reads back equal when it is written again.
//!
//! The fuzz targets of `fuzz/` look for bytes that break this; `tests/library/corpus.rs` replays those
//! of `tests/corpus`.

use std::fmt::Debug;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::DeflateDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, Crc};
use ndarray::Array2;
use nplus1::api::Predictor;
use nplus1::config::{Config, Overrides};
use nplus1::data::csv::RowStream;
use nplus1::data::idx::{self, ElementType, Idx};
use nplus1::data::{
    DataConfig, DataSource, Dataset, ExpectedData, Features, LoadedData, Missing, Normalize,
    SearchPaths, TableOptions, Task, Unknown, load, load_for,
};
use nplus1::error::Result;
use nplus1::format::{Model, safetensors};
use nplus1::model::Layout;
use nplus1::numeric::{Precision, Real};
use nplus1::program::Journal;
use nplus1::program::message::{self, Answered, Point, WrittenLine};
use nplus1::report::{self, source::ReportSource};
use nplus1::run::{Checkpoint, json, metrics};
use nplus1::study::cost::CostRow;
use nplus1::study::lbfgs_precision::MinimizationRow;
use nplus1::study::least_squares::LeastSquaresRow;
use nplus1::study::race::RaceRow;
use nplus1::study::scaling::ScalingSample;
use nplus1::study::sweep::SweepRow;
use nplus1::train::EpochRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Reads bytes, with a folder for files, and asserts what the reader keeps to.
pub type Check = fn(&[u8], &Path);

/// The name of each target, and its check.
pub const TARGETS: [(&str, Check); 8] = [
    ("checkpoint", checkpoint),
    ("csv", csv),
    ("gzip", gzip),
    ("idx", idx),
    ("program", program),
    ("safetensors", safetensors),
    ("study-rows", study_rows),
    ("toml", toml),
];

/// Returns what was read, if the file was not refused.
fn accepted<T>(outcome: Result<T>) -> Option<T> {
    outcome
        .inspect_err(|error| {
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(!error.to_string().is_empty());
        })
        .ok()
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Describes data files without any share.
fn data_config(files: &[&str], task: Option<Task>, options: TableOptions) -> DataConfig {
    DataConfig {
        source: DataSource::Files {
            train: files.iter().map(PathBuf::from).collect(),
            test: Vec::new(),
            label: None,
            options,
        },
        task,
        validation: None,
        test: None,
        folds: None,
        limit: None,
        normalize: Normalize::Unit,
    }
}

fn load_files(folder: &Path, config: &DataConfig) -> Option<LoadedData> {
    accepted(load(config, &SearchPaths::new(Some(folder)), folder))
}

fn regression() -> Option<Task> {
    let targets = Vec::new();
    Some(Task::Regression { targets })
}

/// Asserts that the parts of a dataset agree with each other.
fn check_dataset(data: &Dataset) {
    let (rows, columns) = data.features.dim();
    assert_eq!(rows, data.rows());
    assert!(rows > 0 && columns > 0);
    match &data.targets {
        Some(targets) => {
            assert_eq!(targets.values.dim(), (rows, targets.names.len()));
            assert!(targets.values.iter().all(|value| value.is_finite()));
        }
        None => {
            let classes = data.class_count();
            assert!(classes >= 2);
            assert!(
                data.labels
                    .iter()
                    .all(|&label| usize::from(label) < classes)
            );
        }
    }
    let Some(table) = &data.table else { return };
    assert_eq!(table.lines.len(), rows);
    assert!(table.lines.is_sorted());
    assert_eq!(table.places.len(), columns);
    for (index, column) in table.schema.columns.iter().enumerate() {
        let codes = column.categories.as_ref().map(Vec::len);
        for value in (0..rows).map(|row| data.features.value(row, index)) {
            let fits = codes.is_none_or(|codes| value < codes as f64);
            assert!(value.is_nan() || value.is_finite() && fits, "{value}");
        }
    }
}

/// IDX: alone, as images with labels or numbers beside them, and as labels.
fn idx(bytes: &[u8], folder: &Path) {
    let path = write(folder, "idx", bytes);
    write(folder, "one", &idx_bytes(8, &[1], &[0]));
    let Some(read) = accepted(idx::read(&path, None)) else {
        for pair in [["idx", "one"], ["one", "idx"]] {
            let config = data_config(&pair, None, TableOptions::default());
            assert!(load_files(folder, &config).is_none());
        }
        return;
    };
    let count = read.sizes.iter().product::<usize>();
    assert_eq!(read.values.len(), count);
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        assert_eq!(idx_values(bytes[2], &read), bytes);
    }
    let (rows, width) = (read.sizes[0], count / read.sizes[0]);
    let ones: Vec<u8> = (0..rows).map(|row| (row % 2) as u8).collect();
    if read.sizes.len() == 1 {
        write(folder, "images", &idx_bytes(8, &[rows as u32, 1, 1], &ones));
        let config = data_config(&["images", "idx"], None, TableOptions::default());
        if let Some(data) = load_files(folder, &config) {
            check_dataset(&data.train);
            assert_eq!(data.train.rows(), rows);
        }
        return;
    }
    write(folder, "labels", &idx_bytes(8, &[rows as u32], &ones));
    for task in [None, regression()] {
        let is_regression = task.is_some();
        let config = data_config(&["idx", "labels"], task, TableOptions::default());
        let data = load_files(folder, &config);
        assert!(data.is_some() || rows == 1);
        let Some(data) = data else { continue };
        check_dataset(&data.train);
        assert_eq!(data.train.is_regression(), is_regression);
        assert_eq!(data.train.features.dim(), (rows, width));
        for at in 0..count {
            let value = data.train.features.value(at / width, at % width);
            assert_eq!(value, read.values.value(at));
        }
        accepted(data.split_rows(None, Normalize::Standard, 1));
    }
}

fn idx_bytes(kind: u8, sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, kind, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|size| size.to_be_bytes()));
    bytes.extend(values);
    bytes
}

/// Writes what was read as an IDX file.
fn idx_values(kind: u8, read: &Idx) -> Vec<u8> {
    let sizes: Vec<u32> = read.sizes.iter().map(|&size| size as u32).collect();
    let values = (0..read.values.len()).map(|at| read.values.value(at));
    let values: Vec<u8> = values
        .flat_map(|value| match read.element {
            ElementType::U8 => vec![value as u8],
            ElementType::I8 => vec![value as i8 as u8],
            ElementType::I16 => (value as i16).to_be_bytes().to_vec(),
            ElementType::I32 => (value as i32).to_be_bytes().to_vec(),
            ElementType::F32 => (value as f32).to_be_bytes().to_vec(),
            ElementType::F64 => value.to_be_bytes().to_vec(),
        })
        .collect();
    idx_bytes(kind, &sizes, &values)
}

/// A table: with classes or numbers to predict, read again by what a model knows of it.
fn csv(bytes: &[u8], folder: &Path) {
    write(folder, "table", bytes);
    let filled = TableOptions {
        missing: Missing::Mean,
        unknown: Unknown::Zero,
        ..TableOptions::default()
    };
    let dropped = TableOptions {
        missing: Missing::Drop,
        ignore: vec!["0".to_owned()],
        ..TableOptions::default()
    };
    for (task, options) in [
        (None, TableOptions::default()),
        (Some(Task::Classification), filled),
        (regression(), dropped),
    ] {
        let is_plain = task.is_none();
        let config = data_config(&["table"], task, options);
        let Some(data) = load_files(folder, &config) else {
            continue;
        };
        check_dataset(&data.train);
        if let Some(train) = accepted(data.whole()) {
            check_known_table(bytes, &train, &folder.join("table"), is_plain);
        }
        accepted(data.split_rows(None, Normalize::Unit, 1));
    }
}

/// Asserts that the table reads equal by the names that a model trained on it knows: with its labels,
/// and row by row. It may be refused, for two columns of one name.
fn check_known_table(bytes: &[u8], train: &Arc<Dataset>, path: &Path, is_plain: bool) {
    let schema = train.schema();
    let expected = ExpectedData {
        path: Path::new("model"),
        schema: &schema,
        inputs: train.feature_count(),
        class_names: &train.class_names,
        targets: train.targets.as_ref().map(|targets| &targets.names[..]),
    };
    let Some(again) = accepted(load_for(&[path.to_path_buf()], &expected)) else {
        return;
    };
    assert_eq!(again.features, train.features);
    assert_eq!(again.labels, train.labels);
    assert_eq!(again.targets, train.targets);
    if !is_plain || train.table.is_none() || bytes.starts_with(&[0x1f, 0x8b]) {
        return;
    }
    let input = Box::new(std::io::Cursor::new(bytes.to_vec()));
    let (mut stream, mut rows) = (RowStream::new(input, path, &expected).unwrap(), 0);
    while let Some(row) = stream.next().unwrap() {
        for input in 0..expected.inputs {
            assert_eq!(row.value(0, input), train.features.value(rows, input));
        }
        rows += 1;
    }
    assert_eq!(rows, train.rows());
}

/// Gzip: the bytes as a file, as the content of one, and as the stream of one whose checksum is right.
fn gzip(bytes: &[u8], folder: &Path) {
    const MOST: u64 = 1 << 20;
    accepted(idx::read(&write(folder, "table", bytes), None));
    load_files(
        folder,
        &data_config(&["table"], None, TableOptions::default()),
    );
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    check_packed(&encoder.finish().unwrap(), bytes, folder);

    let (mut content, mut decoder) = (Vec::new(), DeflateDecoder::new(bytes));
    let end = decoder.by_ref().take(MOST).read_to_end(&mut content);
    if end.is_err() || content.len() as u64 == MOST {
        return;
    }
    let mut crc = Crc::new();
    crc.update(&content);
    let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    packed.extend(&bytes[..decoder.total_in() as usize]);
    packed.extend(crc.sum().to_le_bytes());
    packed.extend((content.len() as u32).to_le_bytes());
    check_packed(&packed, &content, folder);
    // Another byte of the checksum is damage.
    let last = packed.len() - 1;
    packed[last] ^= 1;
    assert!(accepted(idx::read(&write(folder, "table", &packed), None)).is_none());
}

/// Asserts that a packed file reads as its content does, if that is not packed itself.
fn check_packed(packed: &[u8], content: &[u8], folder: &Path) {
    let read = |bytes: &[u8]| {
        let path = write(folder, "table", bytes);
        let config = data_config(&["table"], None, TableOptions::default());
        let data = load_files(folder, &config);
        (
            accepted(idx::read(&path, None)),
            data.map(|data| data.train),
        )
    };
    assert!(content.starts_with(&[0x1f, 0x8b]) || read(packed) == read(content));
}

/// A config: what it is written as reads back equal, in any folder.
fn toml(bytes: &[u8], folder: &Path) {
    let path = folder.join("a.toml");
    let Ok(text) = std::str::from_utf8(bytes) else {
        write(folder, "a.toml", bytes);
        assert!(accepted(Config::load(&path, &Overrides::default())).is_none());
        return;
    };
    let Some(config) = accepted(Config::parse(text, &path, &Overrides::default())) else {
        return;
    };
    let written = config.to_toml();
    let again = Config::parse(&written, Path::new("/b/c.toml"), &Overrides::default());
    let again = again.unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again, config);
    assert_eq!(again.to_toml(), written);
}

/// A model: it answers, and its file reads back equal.
fn safetensors(bytes: &[u8], folder: &Path) {
    let path = Path::new("a.safetensors");
    let Some(loaded) = accepted(safetensors::from_bytes(bytes, path)) else {
        return;
    };
    let again = safetensors::from_bytes(&safetensors::to_bytes(&loaded.model), path);
    let again = again.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(again.model, loaded.model);
    assert_eq!(again.assumed, Vec::<String>::new());
    check_answers(&loaded.model);
    accepted(
        loaded
            .model
            .read_rows(write(folder, "table", b"a,b\n1,x\n2,\n")),
    );
}

/// Asserts that a model predicts.
fn check_answers(model: &Model) {
    let predictor = Predictor::new(model);
    let zeros = Array2::zeros((1, model.network.layout.sizes()[0]));
    let Some(outputs) = accepted(predictor.outputs(Features::Reals(zeros))) else {
        return;
    };
    let z = outputs.row(0);
    let mut numbers = Vec::new();
    if model.is_regression() {
        predictor.numbers(z, &mut numbers);
        assert_eq!(numbers.len(), z.len());
        return;
    }
    assert!(predictor.class(z) < model.class_names.len());
    if predictor.has_probabilities() {
        predictor.probabilities(z, &mut numbers);
        assert_eq!(numbers.len(), model.class_names.len());
    }
}

/// A checkpoint: the bytes as a file, and as the payload of one whose length and hash are right.
fn checkpoint(bytes: &[u8], _: &Path) {
    let path = Path::new("a");
    accepted(Checkpoint::from_bytes(bytes, path));
    let mut sealed = b"nplus1cp\x02\0\0\0".to_vec();
    sealed.extend((bytes.len() as u64).to_le_bytes());
    sealed.extend(Sha256::digest(bytes));
    sealed.extend(bytes);
    let Some(read) = accepted(Checkpoint::from_bytes(&sealed, path)) else {
        return;
    };
    let written = read.to_bytes();
    let again = Checkpoint::from_bytes(&written, path).unwrap_or_else(|error| panic!("{error}"));
    // By their bytes, since a loss may be NaN.
    assert_eq!(again.to_bytes(), written);
    match read.precision {
        Precision::F32 => check_state::<f32>(&read, path),
        Precision::F64 => check_state::<f64>(&read, path),
    }
}

/// Asserts that the state of a run is that of its checkpoint.
fn check_state<R: Real>(read: &Checkpoint, path: &Path) {
    let layout = Arc::new(Layout::new(&[read.parameters.len() / R::BYTES, 1], false));
    if let Some(state) = accepted(read.state::<R>(&layout, path)) {
        let again = Checkpoint::from_state(read.config.clone(), &state);
        let again = again.with_schema(read.schema.clone());
        assert_eq!(again.to_bytes(), read.to_bytes());
    }
}

/// A study: its first line is its question, the others are its rows. The rows read back equal, and
/// become a page.
fn study_rows(bytes: &[u8], folder: &Path) {
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let (question, rows) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
    write(folder, "study.json", question);
    let path = write(folder, "rows.jsonl", rows);
    check_rows::<CostRow>(&path);
    check_rows::<LeastSquaresRow>(&path);
    check_rows::<RaceRow>(&path);
    check_rows::<ScalingSample>(&path);
    check_rows::<SweepRow>(&path);
    check_rows::<MinimizationRow>(&path);
    check_rows::<EpochRecord>(&path);
    if let Some(source) = accepted(ReportSource::read(folder)) {
        let page = report::render(vec![source], "2026-01-01");
        assert!(page.trim_end().ends_with("</html>"));
    }
}

/// Asserts that rows that were read are written so that they read back equal.
fn check_rows<T: Serialize + DeserializeOwned>(path: &Path) {
    let Some(log) = accepted(metrics::read_log::<T>(path)) else {
        return;
    };
    for record in &log.records {
        let line = json::line(record);
        let again: T = json::parse(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        // By their lines, since a number may be NaN.
        assert_eq!(json::line(&again), line);
    }
}

/// The lines of a user's program: numbers keep their bits when they are written again, as answers and
/// as the requests that follow; and the lines of a journal.
fn program(bytes: &[u8], folder: &Path) {
    for line in String::from_utf8_lossy(bytes).lines() {
        match message::parse(line) {
            Ok(WrittenLine::Greeting(greeting)) => {
                check_numbers(&greeting.theta.unwrap_or_default());
            }
            Ok(WrittenLine::Answer { id, outcome }) => check_answer(id, outcome),
            Err(problem) => assert!(!problem.is_empty()),
        }
        if let Ok(numbers) = message::parse_numbers(line) {
            check_numbers(&numbers);
        }
    }
    let begin = b"{\"nplus1_journal\":1,\"command\":\"true\",\"files\":{}}\n";
    for content in [bytes, &[&begin[..], bytes].concat()] {
        let path = write(folder, "journal", content);
        let Some(journal) = accepted(Journal::open(&path, "true")) else {
            continue;
        };
        let known = journal.resumed;
        assert!(known <= content.split(|&byte| byte == b'\n').count());
        drop(journal);
        let again = Journal::open(&path, "true").unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(again.resumed, known);
    }
}

fn check_answer(id: u64, outcome: Result<Answered, String>) {
    let written = match &outcome {
        Err(message) => format!("{{\"id\":{id},\"error\":{}}}", json::line(message)),
        Ok(Answered { loss, gradient }) => {
            check_numbers(gradient.as_deref().unwrap_or_default());
            let gradient = gradient.as_ref().map(|g| format!(",\"gradient\":{g:?}"));
            format!(
                "{{\"id\":{id},\"loss\":{loss:?}{}}}",
                gradient.unwrap_or_default()
            )
        }
    };
    let again = message::parse(&written);
    // By their forms, since a number may be NaN.
    assert_same(&again, &Ok(WrittenLine::Answer { id, outcome }));
}

fn check_numbers(numbers: &[f64]) {
    assert_same(
        &message::parse_numbers(&format!("{numbers:?}")).map_err(|error| error.to_string()),
        &Ok(numbers.to_vec()),
    );
    if numbers.iter().any(|number| !number.is_finite()) {
        return;
    }
    let mut text = String::new();
    let point = Point {
        theta: Some(numbers),
        change: numbers.last().map(|&value| (numbers.len() - 1, value)),
    };
    message::request(&mut text, 1, true, point);
    let request: serde_json::Value = serde_json::from_str(&text).unwrap();
    let theta: Vec<f64> = serde_json::from_value(request["theta"].clone()).unwrap();
    assert_same(&theta, &numbers.to_vec());
}

/// Asserts that two values have the same form, in which each bit of a finite number shows.
fn assert_same<T: Debug>(left: &T, right: &T) {
    assert_eq!(format!("{left:?}"), format!("{right:?}"));
}
