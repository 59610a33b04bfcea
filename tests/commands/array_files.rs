//! Arrays and pictures that other programs wrote: NumPy's files, IDX of every type, PNG.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::program::{Workplace, text};
use nplus1::data::{
    DataConfig, DataSource, Dataset, LoadedData, Normalize, SearchPaths, TableOptions, load,
};
use nplus1::error::Result;
use nplus1::{Model, Trainer};

/// The folder of files that `tests/reference/arrays.py` wrote.
fn arrays() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/arrays")
}

fn load_from(folder: &Path, files: &[&str], label: Option<&str>) -> Result<LoadedData> {
    let config = DataConfig {
        task: None,
        source: DataSource::Files {
            train: files.iter().map(PathBuf::from).collect(),
            test: Vec::new(),
            label: label.map(str::to_owned),
            options: TableOptions::default(),
        },
        validation: None,
        test: None,
        folds: None,
        limit: None,
        normalize: Normalize::None,
    };
    load(&config, &SearchPaths::new(None), folder)
}

fn assert_is_x_and_y(data: &Dataset, names: [&str; 2]) {
    assert_eq!(data.features.dim(), (12, 3));
    for row in 0..12 {
        for column in 0..3 {
            let expected = row as f64 + column as f64 / 4.0;
            assert_eq!(
                data.features.value(row, column),
                expected,
                "{row}, {column}"
            );
        }
        assert_eq!(usize::from(data.labels[row]), row % 2);
    }
    assert_eq!(data.class_names, names);
}

#[test]
fn numpys_files_have_the_numbers_that_numpy_saved() {
    let numbers = ["0", "1"];
    let names = ["even", "odd"];
    for (files, label, classes) in [
        (&["stored.npz"][..], None, numbers),
        (&["packed.npz"], Some("names"), names),
        (&["c.npy", "y.npy"], None, numbers),
        (&["fortran.npy", "names.npy"], None, names),
        (&["half.npy", "bytes.npy"], None, names),
        (&["table.npy"], None, numbers),
        (&["table.npy"], Some("3"), numbers),
    ] {
        let data = load_from(&arrays(), files, label).unwrap().train;
        assert_is_x_and_y(&data, classes);
    }
    let images = load_from(&arrays(), &["images.npy", "y.npy"], None)
        .unwrap()
        .train;
    assert_eq!(
        (images.image, images.unit_divisor),
        (Some((2, 2)), Some(255.0))
    );
    assert_eq!(images.features.value(11, 3), 47.0);
}

#[test]
fn arrays_that_are_no_data_are_refused() {
    for (files, label, part) in [
        (&["objects.npy", "y.npy"][..], None, "type `|O`"),
        (&["names.npy", "y.npy"], None, "shape (12)"),
        (&["c.npy", "table.npy"], None, "labels of shape"),
        (&["c.npy", "half.npy"], None, "labels of shape"),
        (&["packed.npz"], None, "no array of labels"),
        (&["packed.npz"], Some("nam"), "no array is called `nam`"),
        (&["table.npy"], Some("4"), "the columns are 0…3"),
        (&["table.npy"], Some("1"), "no integer"),
    ] {
        let error = load_from(&arrays(), files, label).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    // Every prefix and every flipped byte of an archive.
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(arrays().join("packed.npz")).unwrap();
    let path = folder.path().join("a.npz");
    for cut in 4..good.len() {
        fs::write(&path, &good[..cut]).unwrap();
        let error = load_from(folder.path(), &["a.npz"], Some("names")).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{cut}: {error}");
    }
    for at in 4..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x55;
        fs::write(&path, &bad).unwrap();
        if let Err(error) = load_from(folder.path(), &["a.npz"], Some("names")) {
            assert_eq!(error.exit_code(), 2, "{at}: {error}");
        }
    }
}

/// An IDX file of this type with `values` in 12 rows of 3, or of 1.
fn idx(code: u8, sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, code, sizes.len() as u8];
    for size in sizes {
        bytes.extend(size.to_be_bytes());
    }
    bytes.extend(values);
    bytes
}

#[test]
fn idx_files_of_every_type_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let x = |row: usize, column: usize| row as f64 + column as f64 / 4.0;
    let all = || (0..12).flat_map(|row| (0..3).map(move |column| x(row, column)));
    let bytes = |to_bytes: fn(f64) -> Vec<u8>| all().flat_map(to_bytes).collect::<Vec<u8>>();
    let labels: Vec<u8> = (0..12).map(|row| row % 2).collect();
    write("y", &idx(8, &[12], &labels));
    write(
        "y16",
        &idx(
            0x0b,
            &[12],
            &labels.iter().flat_map(|&y| [0, y]).collect::<Vec<u8>>(),
        ),
    );
    write(
        "f32",
        &idx(
            0x0d,
            &[12, 3],
            &bytes(|x| (x as f32).to_be_bytes().to_vec()),
        ),
    );
    write(
        "f64",
        &idx(0x0e, &[12, 3], &bytes(|x| x.to_be_bytes().to_vec())),
    );
    for (images, labels) in [("f32", "y"), ("f64", "y16")] {
        let data = load_from(folder.path(), &[images, labels], None)
            .unwrap()
            .train;
        assert_is_x_and_y(&data, ["0", "1"]);
    }
    write("i8", &idx(9, &[12, 3], &[0xfe; 36]));
    write(
        "i32",
        &idx(0x0c, &[12, 3], &(-70_000i32).to_be_bytes().repeat(36)),
    );
    for (images, value) in [("i8", -2.0), ("i32", -70_000.0)] {
        let data = load_from(folder.path(), &[images, "y"], None)
            .unwrap()
            .train;
        assert_eq!(data.features.value(11, 2), value);
    }
    write(
        "nan",
        &idx(0x0d, &[12, 3], &f32::NAN.to_be_bytes().repeat(36)),
    );
    let error = load_from(folder.path(), &["nan", "y"], None).unwrap_err();
    assert!(error.to_string().contains("byte 12"), "{error}");
}

#[test]
fn the_answers_about_one_array_are_equal_in_every_format() {
    let data = load_from(&arrays(), &["c.npy", "y.npy"], None)
        .unwrap()
        .train;
    let trained = Trainer::new().hidden([3]).epochs(3).fit(&data).unwrap();
    let place = Workplace::new("");
    trained
        .save(place.path().join("model.safetensors"))
        .unwrap();
    for name in ["c.npy", "fortran.npy", "half.npy", "packed.npz"] {
        fs::copy(arrays().join(name), place.path().join(name)).unwrap();
    }
    let rows = |separator: &str| {
        let row = |row: usize| {
            let cells = (0..3).map(|column| (row as f64 + column as f64 / 4.0).to_string());
            cells.collect::<Vec<_>>().join(separator) + "\n"
        };
        (0..12).map(row).collect::<String>()
    };
    place.write("x.csv", &rows(","));
    place.write("x.tsv", &rows("\t"));
    let answer = |file: &str| {
        place.report(&format!(
            "predict model.safetensors {file} --probabilities --json"
        ))
    };
    let expected = answer("x.csv");
    assert_eq!(expected["rows"], 12);
    for file in ["x.tsv", "c.npy", "fortran.npy", "half.npy", "packed.npz"] {
        assert_eq!(answer(file), expected, "{file}");
    }
    let model = Model::load(place.path().join("model.safetensors")).unwrap();
    let read = model.read_rows(place.path().join("c.npy")).unwrap();
    assert_eq!(read.dim(), (12, 3));
}

#[test]
fn an_idx_file_is_answered_in_parts_as_the_rows_alone_would_be() {
    let place = Workplace::new("");
    // Sparse rows, dense ones, and a last part that is not full.
    let pixel = |row: usize, column: usize| match row % 3 {
        0 => 0,
        1 => (row * 31 + column * 7) % 256,
        _ => usize::from(column == row % 6) * 200,
    };
    let rows = 5000;
    let values: Vec<u8> = (0..rows)
        .flat_map(|row| (0..6).map(move |column| pixel(row, column) as u8))
        .collect();
    let labels: Vec<u8> = (0..rows).map(|row| (row % 3) as u8).collect();
    fs::write(
        place.path().join("x.idx"),
        idx(8, &[rows as u32, 2, 3], &values),
    )
    .unwrap();
    fs::write(place.path().join("y.idx"), idx(8, &[rows as u32], &labels)).unwrap();
    let csv: String = values
        .chunks(6)
        .map(|row| row.iter().map(u8::to_string).collect::<Vec<_>>().join(",") + "\n")
        .collect();
    place.write("x.csv", &csv);
    let data = load_from(place.path(), &["x.idx", "y.idx"], None)
        .unwrap()
        .train;
    let trainer = Trainer::new().hidden([4]).epochs(1).batch_size(100);
    let trained = trainer.normalize(Normalize::Unit).fit(&data).unwrap();
    trained
        .save(place.path().join("model.safetensors"))
        .unwrap();
    let line = "predict model.safetensors x.idx --probabilities";
    let expected = text(&place.nplus1(line).stdout);
    assert_eq!(expected.lines().count(), rows + 1);
    let csv = text(
        &place
            .nplus1("predict model.safetensors x.csv --probabilities")
            .stdout,
    );
    assert_eq!(csv, expected);
    let mut command = place.command("predict model.safetensors - --probabilities");
    let input = fs::File::open(place.path().join("x.csv")).unwrap();
    let stream = command.stdin(input).output().unwrap();
    // A stream without a header is answered without one.
    let lines = expected.lines().skip(1);
    assert!(text(&stream.stdout).lines().eq(lines));
    let one = place.with_processors(8);
    assert_eq!(text(&one.nplus1(line).stdout), expected);
}

#[cfg(feature = "png")]
#[test]
fn pictures_are_trained_on_by_folder_and_asked_one_by_one() {
    let place = Workplace::new("");
    for (class, name) in [("dark", "bits.png"), ("light", "gray.png")] {
        let folder = place.path().join("pictures").join(class);
        fs::create_dir_all(&folder).unwrap();
        for copy in 0..3 {
            fs::copy(arrays().join(name), folder.join(format!("{copy}.png"))).unwrap();
        }
    }
    let data = load_from(place.path(), &["pictures"], None).unwrap().train;
    assert_eq!((data.rows(), data.image), (6, Some((3, 2))));
    assert_eq!(data.class_names, ["dark", "light"]);
    let pixels: Vec<f64> = (0..6).map(|pixel| data.features.value(5, pixel)).collect();
    assert_eq!(pixels, [0.0, 10.0, 40.0, 50.0, 80.0, 90.0]);
    let pixels: Vec<f64> = (0..6).map(|pixel| data.features.value(0, pixel)).collect();
    assert_eq!(pixels, [255.0, 0.0, 0.0, 255.0, 0.0, 0.0]);
    let trained = Trainer::new().hidden([3]).epochs(30).fit(&data).unwrap();
    trained
        .save(place.path().join("model.safetensors"))
        .unwrap();
    let answers = text(&place.nplus1("predict model.safetensors pictures").stdout);
    let expected = "file,class\ndark/0.png,dark\ndark/1.png,dark\ndark/2.png,dark\n\
                    light/0.png,light\nlight/1.png,light\nlight/2.png,light\n";
    assert_eq!(answers, expected);
    fs::copy(arrays().join("gray.png"), place.path().join("gray.png")).unwrap();
    let answers = text(&place.nplus1("predict model.safetensors gray.png").stdout);
    assert_eq!(answers, "class\nlight\n");
    for (name, part) in [
        ("color.png", "a PNG with color"),
        ("palette.png", "a PNG with"),
        ("alpha.png", "transparency"),
        ("deep.png", "16 bits"),
        (
            "wide.png",
            "3 × 3 pixels (height × width), but model.safetensors was trained with 3 × 2",
        ),
    ] {
        fs::copy(arrays().join(name), place.path().join(name)).unwrap();
        let errors = place.refusal(&format!("predict model.safetensors {name}"));
        assert!(errors.contains(part), "{part}: {errors}");
    }
    let good = fs::read(arrays().join("gray.png")).unwrap();
    fs::write(place.path().join("cut.png"), &good[..good.len() / 2]).unwrap();
    place.refusal("predict model.safetensors cut.png");
    fs::create_dir(place.path().join("empty")).unwrap();
    let errors = place.refusal("predict model.safetensors empty");
    assert!(errors.contains("no PNG file"), "{errors}");
}
