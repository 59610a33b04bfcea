//! Tables as they are: separators, quotes, missing values, text columns, ignored columns; all of it
//! learned on training rows.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::program::{Workplace, text};
use flate2::Compression;
use flate2::write::GzEncoder;
use nplus1::data::schema::{Column, Fill};
use nplus1::data::{
    DataConfig, DataSource, LoadedData, Missing, Normalize, SearchPaths, Share, Split,
    TableOptions, Unknown, load,
};
use nplus1::error::Result;
use nplus1::{Model, Trainer};

const TABLE: &str = "id;color;size;kind\n\
    a;red;1;x\n\
    b;blue;NA;y\n\
    c;red;3;x\n\
    d;;5;y\n\
    e;blue;1;x\n\
    f;red;2;y\n";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, train: &str, test: &[&str], options: TableOptions) -> DataConfig {
        DataConfig {
            task: None,
            source: DataSource::Files {
                train: vec![train.into()],
                test: test.iter().map(PathBuf::from).collect(),
                label: None,
                options,
            },
            validation: None,
            test: None,
            folds: None,
            limit: None,
            normalize: Normalize::None,
        }
    }

    fn load(&self, train: &str, test: &[&str], options: TableOptions) -> Result<LoadedData> {
        let config = self.config(train, test, options);
        load(&config, &SearchPaths::new(None), self.0.path())
    }

    fn split(&self, train: &str, test: &[&str], options: TableOptions) -> Result<Split> {
        let config = self.config(train, test, options.clone());
        self.load(train, test, options)?.split(&config, 1)
    }
}

fn ignoring_id() -> TableOptions {
    TableOptions {
        ignore: vec!["id".to_owned()],
        ..TableOptions::default()
    }
}

fn filled() -> TableOptions {
    TableOptions {
        missing: Missing::Mean,
        ..ignoring_id()
    }
}

fn row(split: &Split, row: usize) -> Vec<f64> {
    let data = &split.train.dataset;
    (0..data.feature_count())
        .map(|feature| data.features.value(row, feature))
        .collect()
}

#[test]
fn text_becomes_categories_and_missing_values_become_means() {
    let folder = Folder::new(&[("a.csv", TABLE.as_bytes())]);
    let split = folder.split("a.csv", &[], filled()).unwrap();
    let schema = split.train.dataset.schema();
    assert_eq!(
        schema.input_names().unwrap(),
        ["color=blue", "color=red", "size"]
    );
    let color = Column {
        name: Some("color".to_owned()),
        categories: Some(vec!["blue".to_owned(), "red".to_owned()]),
        fill: Some(Fill::Category("red".to_owned())),
    };
    assert_eq!(schema.columns[0], color);
    assert_eq!(schema.columns[1].fill, Some(Fill::Mean(2.4)));
    assert_eq!(row(&split, 0), [0.0, 1.0, 1.0]);
    assert_eq!(row(&split, 1), [1.0, 0.0, 2.4]);
    assert_eq!(row(&split, 3), [0.0, 1.0, 5.0]);
    assert_eq!(split.train.dataset.labels, [0, 1, 0, 1, 0, 1]);
    let notes: Vec<String> = folder
        .load("a.csv", &[], filled())
        .unwrap()
        .notes()
        .map(str::to_owned)
        .collect();
    assert!(notes[0].ends_with("separated by semicolons"), "{notes:?}");
}

#[test]
fn rows_with_missing_values_are_dropped_or_refused() {
    let folder = Folder::new(&[("a.csv", TABLE.as_bytes())]);
    let dropped = TableOptions {
        missing: Missing::Drop,
        ..ignoring_id()
    };
    let split = folder.split("a.csv", &[], dropped).unwrap();
    assert_eq!(split.train.dataset.rows(), 4);
    assert_eq!(row(&split, 1), [0.0, 1.0, 3.0]);
    let error = folder.load("a.csv", &[], ignoring_id()).unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("line 3, column 3 (size): a missing value (`NA`)"),
        "{message}"
    );
}

#[test]
fn categories_and_means_are_those_of_training_rows_alone() {
    let test = "id,size,color,kind\ng,7,green,x\nh,,red,y\n";
    let folder = Folder::new(&[("a.csv", TABLE.as_bytes()), ("b.csv", test.as_bytes())]);
    let error = folder.split("a.csv", &["b.csv"], filled()).unwrap_err();
    let message = error.to_string();
    for part in [
        "b.csv, line 2, column 3 (color)",
        "`green` is in no training row",
        "blue, red",
        "unknown = \"zero\"",
    ] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let tolerant = TableOptions {
        unknown: Unknown::Zero,
        ..filled()
    };
    let split = folder.split("a.csv", &["b.csv"], tolerant).unwrap();
    let test = split.test.unwrap().dataset;
    let value = |row, feature| test.features.value(row, feature);
    assert_eq!([value(0, 0), value(0, 1), value(0, 2)], [0.0, 0.0, 7.0]);
    assert_eq!([value(1, 0), value(1, 1), value(1, 2)], [0.0, 1.0, 2.4]);
    // A fold knows the categories of its own training rows.
    let rare = "c,n,k\nred,1,x\nred,2,y\nred,3,x\nred,4,y\ngreen,5,x\nred,6,y\n";
    fs::write(folder.path("rare.csv"), rare).unwrap();
    let config = DataConfig {
        folds: Some(3),
        ..folder.config("rare.csv", &[], TableOptions::default())
    };
    let loaded = folder
        .load("rare.csv", &[], TableOptions::default())
        .unwrap();
    let error = loaded.folds(&config, 3, 1).unwrap_err().to_string();
    assert!(
        error.contains("line 6, column 1 (c): category `green`"),
        "{error}"
    );
}

#[test]
fn quotes_marks_and_line_ends_are_those_of_rfc_4180() {
    let table = "\u{feff}\"a, b\";text;kind\r\n1;\"semi;colon\";x\r\n\r\n2;\"two\nlines\";y\r\n3;\"say \"\"hi\"\"\";x\r\n";
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(table.as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    let folder = Folder::new(&[("a.csv", table.as_bytes()), ("a.csv.gz", &packed)]);
    for name in ["a.csv", "a.csv.gz"] {
        let split = folder.split(name, &[], TableOptions::default()).unwrap();
        let schema = split.train.dataset.schema();
        assert_eq!(schema.names().collect::<Vec<_>>(), ["a, b", "text"]);
        let categories = schema.columns[1].categories.as_ref().unwrap();
        assert_eq!(categories, &["say \"hi\"", "semi;colon", "two\nlines"]);
        let table = split.train.dataset.table.clone().unwrap();
        assert_eq!(table.lines, [2, 4, 6], "{name}");
        assert_eq!(split.train.dataset.labels, [0, 1, 0]);
    }
}

#[test]
fn columns_are_ignored_by_name_or_number_and_unknown_ones_are_refused() {
    let folder = Folder::new(&[("a.csv", b"id,p,q,kind\n1,2,3,x\n4,5,6,y\n")]);
    let ignoring = |name: &str| TableOptions {
        ignore: vec![name.to_owned()],
        ..TableOptions::default()
    };
    for name in ["id", "0"] {
        let data = folder.load("a.csv", &[], ignoring(name)).unwrap().train;
        assert_eq!(data.schema().names().collect::<Vec<_>>(), ["p", "q"]);
        assert_eq!(data.schema().ignored[0].name.as_deref(), Some("id"));
    }
    // Without the last column, the one before it is the label.
    let data = folder.load("a.csv", &[], ignoring("kind")).unwrap().train;
    assert_eq!(data.class_names, ["3", "6"]);
    for (name, part) in [
        ("Id", "no column is called `Id`; did you mean `id`?"),
        ("9", "no column 9: the columns are 0…3"),
    ] {
        let error = folder.load("a.csv", &[], ignoring(name)).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let twice = Folder::new(&[("a.csv", b"p,p,kind\n1,2,x\n3,4,y\n")]);
    let error = twice
        .load("a.csv", &[], TableOptions::default())
        .unwrap_err();
    assert!(
        error.to_string().contains("two columns are called `p`"),
        "{error}"
    );
}

#[test]
fn a_header_is_told_from_a_row_of_texts() {
    let load = |content: &str| {
        let folder = Folder::new(&[("a.csv", content.as_bytes())]);
        folder
            .load("a.csv", &[], TableOptions::default())
            .unwrap()
            .train
    };
    let bare = load("red,big,x\nblue,big,y\nred,small,x\n");
    assert_eq!((bare.rows(), bare.schema().names().count()), (3, 0));
    let bare = load("red,1,x\nblue,2,y\nred,3,x\n");
    assert_eq!(bare.rows(), 3);
    let named = load("color,size,kind\nblue,big,y\nred,big,x\n");
    assert_eq!((named.rows(), named.schema().names().count()), (2, 2));
    let named = load("color,number,kind\nblue,1,y\nred,2,x\n");
    assert_eq!((named.rows(), named.schema().names().count()), (2, 2));
}

#[test]
fn numbers_with_commas_and_stray_words_are_refused_with_the_way_out() {
    let refused = |content: &str| {
        let folder = Folder::new(&[("a.csv", content.as_bytes())]);
        let error = folder
            .load("a.csv", &[], TableOptions::default())
            .unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let message = refused("a;b;k\n1,5;2;x\n2,5;3;y\n");
    // Decimal commas make words of a whole column, which would be categories.
    assert!(message.contains("decimal point"), "{message}");
    let message = refused("a,b,k\n1,2,x\n3,oops,y\n");
    assert!(
        message.contains("line 3, column 2 (b): `oops` is not a number"),
        "{message}"
    );
    let many: String = (0..1500)
        .map(|row| format!("w{row},{row},{}\n", row % 2))
        .collect();
    let message = refused(&format!("note,n,k\n{many}"));
    assert!(message.contains("line 1002, column 1 (note)"), "{message}");
    assert!(message.contains("ignore = "), "{message}");
    let message = refused("\u{0}\u{1}\u{2}");
    assert!(message.contains("binary file"), "{message}");
}

#[test]
fn the_library_trains_on_a_table_and_keeps_its_columns() {
    let folder = Folder::new(&[
        ("a.csv", TABLE.as_bytes()),
        ("new.csv", b"size,color,id\n,red,1\n4,,2\n"),
        ("bad.csv", b"size,color\n1,green\n"),
    ]);
    let data = folder.load("a.csv", &[], filled()).unwrap().train;
    let trained = Trainer::new().hidden([3]).epochs(5).fit(&data).unwrap();
    let path = folder.path("model.safetensors");
    trained.save(&path).unwrap();
    let model = Model::load(&path).unwrap();
    assert_eq!(model.schema, trained.model.schema);
    let rows = model.read_rows(folder.path("new.csv")).unwrap();
    let numbers = rows.iter().copied().collect::<Vec<f64>>();
    assert_eq!(numbers, [0.0, 1.0, 2.4, 0.0, 1.0, 4.0]);
    let error = model.read_rows(folder.path("bad.csv")).unwrap_err();
    assert!(
        error.to_string().contains("line 2, column 2 (color)"),
        "{error}"
    );
    // Evaluation of the table as it was read.
    let whole = trained.evaluate(&data).unwrap();
    assert_eq!(whole.confusion.sum(), 6);
}

#[test]
fn a_table_with_everything_is_trained_and_asked_from_the_command_line() {
    let place = Workplace::new("");
    let fruit = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fruit.csv");
    fs::copy(&fruit, place.path().join("fruit.csv")).unwrap();
    place.write(
        "fruit.toml",
        "[data]\ntrain = \"fruit.csv\"\nignore = [\"id\"]\nmissing = \"mean\"\nfolds = 5\n\
         normalize = \"standard\"\n[model]\nhidden = [8]\noutput = \"softmax\"\n[optimizer]\n\
         learning_rate = 0.2\n[train]\nepochs = 20\n",
    );
    let summary = place.report("train fruit.toml --out run --no-report --json");
    assert!(
        summary["test_accuracy"].as_f64().unwrap() > 0.85,
        "{summary}"
    );
    let file = fs::read_to_string(&fruit).unwrap();
    let unlabeled: Vec<&str> = file
        .lines()
        .map(|line| line.rsplit_once(';').unwrap().0)
        .collect();
    place.write("new.csv", &unlabeled.join("\n"));
    let answers = text(&place.nplus1("predict run/fold-01 new.csv").stdout);
    let labels = file.lines().map(|line| line.rsplit_once(';').unwrap().1);
    let right = answers
        .lines()
        .zip(labels)
        .filter(|(answer, label)| answer == label);
    assert!(right.count() > 210, "{answers}");
    // The resolved config has the keys and reads the same.
    let shown = text(&place.nplus1("config show fruit.toml").stdout);
    assert!(shown.contains("ignore = [\"id\"]") && shown.contains("missing = \"mean\""));
    for line in [
        "separator = \"ab\"",
        "missing = \"zero\"",
        "unknown = 1",
        "ignore = \"id\"",
    ] {
        let key = line.split(' ').next().unwrap();
        let errors = place.refusal(&format!(
            "train fruit.toml --set data.{}",
            line.replace(' ', "")
        ));
        assert!(errors.contains(key), "{line}: {errors}");
    }
}

#[test]
fn a_share_of_rows_is_stratified_as_before() {
    let folder = Folder::new(&[("a.csv", TABLE.as_bytes())]);
    let config = DataConfig {
        test: Some(Share::Rows(2)),
        ..folder.config("a.csv", &[], filled())
    };
    let loaded = folder.load("a.csv", &[], filled()).unwrap();
    let split = loaded.split(&config, 1).unwrap();
    assert_eq!((split.train.len(), split.test.unwrap().len()), (4, 2));
}

#[test]
fn a_file_is_described_and_the_config_made_of_it_trains() {
    let place = Workplace::new("");
    let fruit = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fruit.csv");
    fs::copy(&fruit, place.path().join("fruit.csv")).unwrap();
    let shown = text(&place.nplus1("data describe fruit.csv").stdout);
    for part in [
        "rows            240",
        "separated by semicolons",
        "all different",
        "lemon",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let document = place.report("data describe fruit.csv --json");
    assert_eq!(document["columns"].as_array().unwrap().len(), 7);
    assert_eq!(document["columns"][1]["kind"], "text");
    assert!(document["columns"][3]["missing"].as_u64().unwrap() > 0);
    let classes = document["classes"].as_array().unwrap().iter();
    let rows: u64 = classes.map(|class| class[1].as_u64().unwrap()).sum();
    assert_eq!((document["label"].as_str(), rows), (Some("kind"), 240));
    place.nplus1("config init fruit.toml --data fruit.csv");
    let config = fs::read_to_string(place.path().join("fruit.toml")).unwrap();
    for line in [
        "train = \"fruit.csv\"",
        "ignore = [\"id\"]",
        "missing = \"mean\"",
    ] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let summary = place.report("train fruit.toml --out run --no-report --json");
    assert!(
        summary["test_accuracy"].as_f64().unwrap() > 0.85,
        "{summary}"
    );
    // Measurements are numbers to predict, and free text names no classes.
    place.nplus1("config init b.toml --data fruit.csv --label weight");
    let config = fs::read_to_string(place.path().join("b.toml")).unwrap();
    assert!(config.contains("task = \"regression\""), "{config}");
    place.write("notes.csv", "a,b\n1,one\n2,two\n3,three\n4,four\n");
    let errors = place.refusal("config init c.toml --data notes.csv");
    assert!(errors.contains("which are no classes"), "{errors}");
    let errors = place.refusal("data describe fruit.csv --label colour");
    assert!(errors.contains("did you mean `color`?"), "{errors}");
    let document = place.report("data describe fruit.csv --label color --json");
    assert!(
        document["classes"].as_array().unwrap().len() == 5,
        "{document}"
    );
}
