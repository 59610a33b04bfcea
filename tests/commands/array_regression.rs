//! Regressions on arrays: features and numbers to predict in NumPy's files and in IDX.

use std::fs;
use std::io::{Cursor, Write};

use crate::support::program::{Workplace, text};
use nplus1::format::npy;
use serde_json::Value;

const ROWS: usize = 60;

/// Features, then the targets price and rent.
fn house(row: usize) -> [f64; 5] {
    let (size, age) = (40.0 + (row * 37 % 61) as f64 / 2.0, (row * 17 % 29) as f64);
    let rooms = (row % 5) as f64 + 0.5;
    [
        size,
        age,
        rooms,
        3.0 * size - age,
        20.0 * rooms + 0.1 * size,
    ]
}

fn columns(from: usize, to: usize) -> Vec<f64> {
    let row = |row: usize| house(row)[from..to].to_vec();
    (0..ROWS).flat_map(row).collect()
}

fn npz(arrays: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    for (name, array) in arrays {
        writer.start_file(format!("{name}.npy"), options).unwrap();
        writer.write_all(array).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// An IDX file of doubles.
fn idx(sizes: &[usize], numbers: &[f64]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 0x0e, sizes.len() as u8];
    bytes.extend(sizes.iter().flat_map(|&size| (size as u32).to_be_bytes()));
    bytes.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    bytes
}

fn config(data: &str) -> String {
    format!(
        "seed = 4\n[data]\n{data}\ntest = 0.2\nnormalize = 'standard'\n[model]\nhidden = [4]\n\
         [optimizer]\nlearning_rate = 0.1\n[train]\nepochs = 3\n"
    )
}

/// A workplace with the houses in every form.
fn houses() -> Workplace {
    let place = Workplace::new("");
    let mut csv = "size,age,rooms,price,rent\n".to_owned();
    for row in 0..ROWS {
        let cells = house(row).map(|cell| cell.to_string());
        csv += &(cells.join(",") + "\n");
    }
    place.write("houses.csv", &csv);
    let write = |name: &str, bytes: Vec<u8>| fs::write(place.path().join(name), bytes).unwrap();
    let (x, y) = (columns(0, 3), columns(3, 5));
    let features = npy::of_numbers(&x, &[ROWS, 3]);
    let both = npy::of_numbers(&y, &[ROWS, 2]);
    let price = npy::of_numbers(&columns(3, 4), &[ROWS]);
    let rent = npy::of_numbers(&columns(4, 5), &[ROWS, 1]);
    write("table.npy", npy::of_numbers(&columns(0, 5), &[ROWS, 5]));
    write(
        "named.npz",
        npz(&[
            ("price", price.clone()),
            ("X", features.clone()),
            ("rent", rent),
        ]),
    );
    write(
        "usual.npz",
        npz(&[("y", both.clone()), ("X", features.clone())]),
    );
    write("x.npy", features);
    write("y.npy", both);
    write("price.npy", price);
    write("x.idx", idx(&[ROWS, 3], &x));
    write("y.idx", idx(&[ROWS, 2], &y));
    place
}

fn trained(place: &Workplace, data: &str, run: &str) -> Value {
    place.write("flowers.toml", &config(data));
    place.report(&format!(
        "train flowers.toml --out {run} --no-report --json"
    ))
}

#[test]
fn a_regression_has_the_same_bits_from_a_table_and_from_every_kind_of_array() {
    let place = houses();
    let named = "targets = ['price', 'rent']";
    let expected = trained(&place, &format!("train = 'houses.csv'\n{named}"), "csv");
    let two = ["price", "rent"];
    for (at, (data, names)) in [
        (format!("train = ['x.npy', 'y.npy']\n{named}"), two),
        (format!("train = 'named.npz'\n{named}"), two),
        (format!("train = ['x.idx', 'y.idx']\n{named}"), two),
        (
            "train = ['x.npy', 'y.npy']\ntask = 'regression'".to_owned(),
            ["target 0", "target 1"],
        ),
        (
            "train = ['x.idx', 'y.idx']\ntask = 'regression'".to_owned(),
            ["target 0", "target 1"],
        ),
        (
            "train = 'usual.npz'\ntask = 'regression'".to_owned(),
            ["y 0", "y 1"],
        ),
        (
            "train = 'table.npy'\ntargets = ['3', '4']".to_owned(),
            ["column 3", "column 4"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let run = format!("run-{at}");
        let found = trained(&place, &data, &run);
        assert_eq!(
            found["weights_sha256"], expected["weights_sha256"],
            "{data}"
        );
        assert_eq!(found["test_r2"], expected["test_r2"], "{data}");
        let errors = found["target_errors"].as_array().unwrap();
        let found_names: Vec<_> = errors.iter().map(|error| error["name"].clone()).collect();
        assert_eq!(found_names, names, "{data}");
        // The model is asked about arrays of every kind, and evaluated on them.
        let eval = |data: &str| {
            let document = place.report(&format!("eval {run} --data {data} --json"));
            document["regression"]["targets"][1]["rmse"].clone()
        };
        let error = eval("x.npy y.npy");
        for other in ["x.idx y.idx", "usual.npz", "table.npy"] {
            assert_eq!(eval(other), error, "{data}: {other}");
        }
        let answers = |input: &str| {
            let output = place.nplus1(&format!("predict {run} {input}"));
            text(&output.stdout)
        };
        let numbers = answers("x.npy");
        assert!(numbers.starts_with(&names.join(",")), "{numbers}");
        assert_eq!(answers("x.idx"), numbers);
        assert_eq!(answers("named.npz"), numbers);
    }
}

#[test]
fn one_number_a_row_is_the_target() {
    let place = houses();
    for (data, name) in [
        (
            "train = ['x.npy', 'price.npy']\ntask = 'regression'",
            "target",
        ),
        (
            "train = 'named.npz'\ntask = 'regression'\nlabel = 'price'",
            "price",
        ),
        ("train = 'table.npy'\ntask = 'regression'", "column 4"),
        (
            "train = 'table.npy'\ntask = 'regression'\nlabel = '0'",
            "column 0",
        ),
    ] {
        let run = format!("run-{name}").replace(' ', "-");
        let found = trained(&place, data, &run);
        let errors = found["target_errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{data}");
        assert_eq!(errors[0]["name"], name, "{data}");
    }
    // The test part has the names of the training part.
    let parts = "train = ['x.npy', 'price.npy']\ntest = ['x.idx', 'p.idx']\ntargets = ['price']";
    fs::write(place.path().join("p.idx"), idx(&[ROWS], &columns(3, 4))).unwrap();
    let config = config(parts).replace("test = 0.2\n", "");
    place.write("flowers.toml", &config);
    let found = place.report("train flowers.toml --out parts --no-report --json");
    assert_eq!(found["target_errors"][0]["name"], "price");
}

#[test]
fn arrays_that_are_no_numbers_to_predict_are_refused_with_the_way_out() {
    let place = houses();
    let write = |name: &str, bytes: Vec<u8>| fs::write(place.path().join(name), bytes).unwrap();
    let price = columns(3, 4);
    write("short.npy", npy::of_numbers(&price[1..], &[ROWS - 1]));
    let mut nan = price.clone();
    nan[7] = f64::NAN;
    write("nan.npy", npy::of_numbers(&nan, &[ROWS]));
    write("nan.idx", idx(&[ROWS], &nan));
    write("deep.npy", npy::of_numbers(&price, &[ROWS, 1, 1]));
    write("deep.idx", idx(&[ROWS, 1, 1], &price));
    write(
        "texts.npy",
        npy::of_texts(["a", "b"].into_iter().cycle().take(ROWS)),
    );
    write("empty.npy", npy::of_numbers(&[], &[ROWS, 0]));
    let x = npy::of_numbers(&columns(0, 3), &[ROWS, 3]);
    let short = npy::of_numbers(&price[1..], &[ROWS - 1]);
    let p = npy::of_numbers(&price, &[ROWS]);
    write(
        "uneven.npz",
        npz(&[("X", x.clone()), ("a", p), ("b", short)]),
    );
    write("alone.npz", npz(&[("X", x)]));
    fs::create_dir(place.path().join("pictures")).unwrap();
    let task = "task = 'regression'";
    for (data, part) in [
        (
            "['x.npy', 'short.npy']",
            "60 rows of features, but 59 of numbers to predict",
        ),
        ("['x.npy', 'nan.npy']", "element 7: NaN"),
        ("['x.idx', 'nan.idx']", "byte 64: NaN"),
        ("['x.npy', 'deep.npy']", "shape (60 × 1 × 1)"),
        ("['x.npy', 'empty.npy']", "shape (60 × 0)"),
        ("['x.idx', 'deep.idx']", "3 dimensions"),
        ("['x.npy', 'texts.npy']", "an array of texts"),
        ("['price.npy', 'x.npy']", "shape (60)"),
        ("'alone.npz'", "no array of the numbers to predict"),
        ("'named.npz'\nlabel = 'prize'", "no array is called `prize`"),
        ("'table.npy'\nlabel = '5'", "the columns are 0…4"),
        ("'pictures'", "save the pictures as one array"),
    ] {
        place.write("flowers.toml", &config(&format!("train = {data}\n{task}")));
        let errors = place.refusal("train flowers.toml --out run");
        assert!(errors.contains(part), "{data}: {errors}");
    }
    for (data, part) in [
        (
            "train = ['x.npy', 'y.npy']\ntargets = ['price']",
            "2 numbers to predict per row, but `targets` names 1",
        ),
        ("train = ['x.npy', 'y.npy']\ntargets = ['a', 'a']", "twice"),
        (
            "train = 'uneven.npz'\ntargets = ['a', 'b']",
            "have 60, 59 rows",
        ),
        (
            "train = 'named.npz'\ntargets = ['price', 'size']",
            "no array is called `size`",
        ),
        (
            "train = 'table.npy'\ntargets = ['3', '9']",
            "the columns are 0…4",
        ),
        (
            "train = 'table.npy'\ntargets = ['0', '1', '2', '3', '4']",
            "the columns are 0…4",
        ),
        (
            "train = 'table.npy'\ntargets = ['price']",
            "give their numbers",
        ),
        ("train = ['x.npy', 'price.npy']", "task = \"regression\""),
        ("train = 'table.npy'", "task = \"regression\""),
    ] {
        place.write("flowers.toml", &config(data));
        let errors = place.refusal("train flowers.toml --out run");
        assert!(errors.contains(part), "{data}: {errors}");
    }
    trained(
        &place,
        "train = ['x.npy', 'y.npy']\ntask = 'regression'",
        "run",
    );
    let errors = place.refusal("eval run --data x.npy price.npy");
    assert!(errors.contains("has 2: target 0, target 1"), "{errors}");
}
