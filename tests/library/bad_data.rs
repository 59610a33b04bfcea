//! Every bad data file is refused with exit code 2, the file's name and the position in it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::support::property_cases::property_cases;
use flate2::Compression;
use flate2::write::GzEncoder;
use nplus1::data::{
    DataConfig, DataSource, LoadedData, Normalize, SearchPaths, TableOptions, load,
};
use nplus1::error::{Error, Result};
use proptest::prelude::*;
use tempfile::TempDir;

/// A temporary folder with data files.
struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        Self(folder)
    }

    fn load(&self, train: &[&str], test: &[&str], label: Option<&str>) -> Result<LoadedData> {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        let config = DataConfig {
            source: DataSource::Files {
                train: paths(train),
                test: paths(test),
                label: label.map(str::to_owned),
                options: TableOptions::default(),
            },
            task: None,
            validation: None,
            test: None,
            folds: None,
            limit: None,
            normalize: Normalize::None,
        };
        load(
            &config,
            &SearchPaths::new(Some(Path::new("nowhere"))),
            self.0.path(),
        )
    }
}

fn assert_refused(error: &Error, file: &str, parts: &[&str]) {
    let message = error.to_string();
    assert_eq!(error.exit_code(), 2, "{message}");
    for part in parts.iter().chain([&file]) {
        assert!(message.contains(part), "no `{part}` in: {message}");
    }
}

fn csv_refused(content: &str, label: Option<&str>, parts: &[&str]) {
    let folder = Folder::new(&[("a.csv", content.as_bytes())]);
    let error = folder.load(&["a.csv"], &[], label).unwrap_err();
    assert_refused(&error, "a.csv", parts);
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn idx(sizes: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, u8::try_from(sizes.len()).unwrap()];
    for size in sizes {
        bytes.extend(size.to_be_bytes());
    }
    bytes.extend(values);
    bytes
}

fn images() -> Vec<u8> {
    idx(&[4, 2, 2], &(0..16).collect::<Vec<u8>>())
}

fn labels() -> Vec<u8> {
    idx(&[4], &[0, 1, 1, 0])
}

/// Checks that these images and labels are refused with a message that names `file` and contains
/// `parts`.
fn idx_refused(images: &[u8], labels: &[u8], file: &str, parts: &[&str]) {
    let folder = Folder::new(&[("images", images), ("labels", labels)]);
    let error = folder.load(&["images", "labels"], &[], None).unwrap_err();
    assert_refused(&error, file, parts);
}

#[test]
fn good_idx_files_load_gzipped_or_not() {
    for (images, labels) in [(images(), labels()), (gzip(&images()), gzip(&labels()))] {
        let folder = Folder::new(&[("images", &images), ("labels", &labels)]);
        let train = folder.load(&["images", "labels"], &[], None).unwrap().train;
        assert_eq!(train.features.dim(), (4, 4));
        assert_eq!(train.image, Some((2, 2)));
        assert_eq!(train.labels, [0, 1, 1, 0]);
        assert_eq!(train.features.value(3, 3), 15.0);
    }
}

#[test]
fn idx_labels_from_one_are_classes_from_zero() {
    let labels = idx(&[4], &[1, 2, 2, 3]);
    let folder = Folder::new(&[("images", &images()), ("labels", &labels)]);
    let train = folder.load(&["images", "labels"], &[], None).unwrap().train;
    assert_eq!(train.labels, [0, 1, 1, 2]);
    assert_eq!(train.class_names, ["1", "2", "3"]);
}

#[test]
fn idx_with_a_wrong_header_is_refused() {
    idx_refused(
        b"\x89PNG....",
        &labels(),
        "images",
        &["byte 0", "89 50 4e 47"],
    );
    idx_refused(
        b"1,2,3,4\n",
        &labels(),
        "images",
        &["byte 0", "looks like text"],
    );
    let mut floats = images();
    floats[2] = 0x0f;
    idx_refused(
        &floats,
        &labels(),
        "images",
        &["byte 2", "unknown type code 0x0f"],
    );
    idx_refused(
        &images(),
        &[0, 0, 8, 0],
        "labels",
        &["byte 3", "0 dimensions"],
    );
    idx_refused(
        &images()[..9],
        &labels(),
        "images",
        &["byte 9", "needs 16 bytes"],
    );
    idx_refused(b"", &labels(), "images", &["byte 0", "too short"]);
    idx_refused(
        &idx(&[4, 0, 2], &[]),
        &labels(),
        "images",
        &["byte 8", "size 0"],
    );
    idx_refused(&images(), &idx(&[0], &[]), "labels", &["byte 4", "0 rows"]);
}

#[test]
fn idx_with_more_or_fewer_labels_than_images_is_refused() {
    for labels in [&[0, 1, 1, 0, 1][..], &[0, 1, 1]] {
        let found = format!("4 images, but {} labels in", labels.len());
        let labels = idx(&[u32::try_from(labels.len()).unwrap()], labels);
        idx_refused(
            &images(),
            &labels,
            "images",
            &["byte 4", &found, "the labels file that belongs to it"],
        );
    }
}

#[test]
fn idx_of_the_wrong_length_is_refused() {
    let short = &images()[..20];
    idx_refused(
        short,
        &labels(),
        "images",
        &["too short", "4 × 2 × 2", "at most 4"],
    );
    let short = gzip(&images()[..20]);
    let parts = ["byte 20 of the unpacked data", "too short", "after 4"];
    idx_refused(&short, &labels(), "images", &parts);
    let long = [&images()[..], &[7]].concat();
    idx_refused(&long, &labels(), "images", &["byte 32", "too long"]);
    idx_refused(
        &gzip(&long),
        &labels(),
        "images",
        &["byte 32 of", "too long"],
    );
}

#[test]
fn a_header_that_claims_a_huge_size_is_refused_without_allocating_it() {
    let huge = idx(&[u32::MAX, u32::MAX, u32::MAX], &[1, 2, 3]);
    idx_refused(
        &huge,
        &labels(),
        "images",
        &["byte 4", "too short", "at most 3"],
    );
    idx_refused(&gzip(&huge), &labels(), "images", &["byte 4", "too short"]);
    let large = idx(&[u32::MAX, 64], &[1, 2, 3]);
    idx_refused(&large, &labels(), "images", &["byte 4", "too short"]);
}

#[test]
fn damaged_gzip_is_refused() {
    // Bytes that do not compress, so that the file is cut within them.
    let noise: Vec<u8> = (0..4000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let images = gzip(&idx(&[4, 1000], &noise));
    let cut = &images[..images.len() / 2];
    idx_refused(
        cut,
        &labels(),
        "images",
        &["truncated", "of the unpacked data"],
    );
    let without_checksum = &images[..images.len() - 8];
    idx_refused(
        without_checksum,
        &labels(),
        "images",
        &["byte 4012 of", "truncated"],
    );
    let mut flipped = images.clone();
    let last = flipped.len() - 5;
    flipped[last] ^= 1;
    idx_refused(&flipped, &labels(), "images", &["damaged"]);
    let folder = Folder::new(&[("a.csv", cut)]);
    let error = folder.load(&["a.csv"], &[], None).unwrap_err();
    assert_refused(&error, "a.csv", &[]);
}

#[test]
fn labels_out_of_range_are_refused_with_their_byte() {
    let stray = idx(&[4], &[0, 1, 200, 2]);
    let parts = [
        "byte 10 (row 3)",
        "label 200 out of range",
        "no row has label 3",
    ];
    idx_refused(&images(), &stray, "labels", &parts);
    idx_refused(
        &images(),
        &idx(&[4], &[2, 3, 2, 3]),
        "labels",
        &["label 2 out of range"],
    );
    idx_refused(
        &images(),
        &idx(&[4], &[0; 4]),
        "labels",
        &["every label is 0"],
    );

    let other = idx(&[4], &[0, 1, 2, 0]);
    let folder = Folder::new(&[
        ("images", &images()),
        ("labels", &labels()),
        ("other", &other),
    ]);
    let error = folder
        .load(&["images", "labels"], &["images", "other"], None)
        .unwrap_err();
    assert_refused(
        &error,
        "other",
        &["byte 10", "label 2", "the classes are 0, 1"],
    );
}

#[test]
fn images_and_labels_that_do_not_belong_together_are_refused() {
    idx_refused(
        &images(),
        &idx(&[3], &[0, 1, 1]),
        "images",
        &["4 images, but 3 labels"],
    );
    idx_refused(&labels(), &images(), "labels", &["labels have 1 dimension"]);
    idx_refused(&labels(), &labels(), "images", &["1 dimension"]);
    let folder = Folder::new(&[("images", &images()), ("labels", &labels())]);
    let error = folder.load(&["images"], &[], None).unwrap_err();
    assert_refused(&error, "images", &["binary file", "IDX needs two files"]);
    let error = folder
        .load(&["images", "labels"], &[], Some("x"))
        .unwrap_err();
    assert_refused(&error, "images", &["label = \"x\""]);
    let error = folder.load(&["a", "b", "c"], &[], None).unwrap_err();
    assert_refused(&error, "", &["3 data files"]);
}

#[test]
fn test_files_must_agree_with_training_files() {
    let narrow = idx(&[4, 3], &[0; 12]);
    let folder = Folder::new(&[
        ("images", &images()),
        ("labels", &labels()),
        ("narrow", &narrow),
        ("a.csv", b"1,2,x\n3,4,y\n"),
        ("wide.csv", b"1,2,3,x\n"),
        ("new.csv", b"1,2,x\n\n3,4,z\n"),
        ("named.csv", b"p,q,kind\n1,2,x\n3,4,y\n"),
        ("swapped.csv", b"kind,q,extra,p\nx,1,9,2\ny,3,9,4\n"),
        ("renamed.csv", b"width,q,kind\n1,2,x\n3,4,y\n"),
        ("one.csv", b"1.5,2,y\n"),
    ]);
    let refused = |train: &[&str], test: &[&str], file, parts: &[&str]| {
        assert_refused(&folder.load(train, test, None).unwrap_err(), file, parts);
    };
    let idx = ["images", "labels"];
    refused(
        &idx,
        &["narrow", "labels"],
        "narrow",
        &["3 features per row", "has 4"],
    );
    refused(
        &["a.csv"],
        &["wide.csv"],
        "wide.csv",
        &["3 features per row, but", "has 2"],
    );
    refused(
        &["a.csv"],
        &["new.csv"],
        "new.csv",
        &["line 3", "class `z`", "x, y"],
    );
    refused(
        &["named.csv"],
        &["renamed.csv"],
        "renamed.csv",
        &["line 1", "no column is called `p`", "width, q, kind"],
    );
    // Columns are found by name, in any order, and others are ignored.
    let loaded = folder.load(&["named.csv"], &["swapped.csv"], None).unwrap();
    let test = loaded.test.as_ref().unwrap();
    assert_eq!(test.features.value(0, 0), 2.0);
    assert_eq!(test.features.value(0, 1), 1.0);
    assert!(loaded.notes().any(|note| note.contains("ignored extra")));
    // A test file may contain only one class.
    let loaded = folder.load(&["a.csv"], &["one.csv"], None).unwrap();
    assert_eq!(loaded.test.unwrap().labels, [1]);
}

#[test]
fn csv_values_that_are_not_finite_numbers_are_refused() {
    csv_refused(
        "1,2,a\n3,x,b\n",
        None,
        &["line 2, column 2", "`x` is not a number"],
    );
    csv_refused(
        "1,2,a\n\n\n3,,b\n",
        None,
        &["line 4, column 2", "a missing value", "missing = \"mean\""],
    );
    csv_refused(
        "p,q,c\r\n\r\n1,inf,a\r\n",
        None,
        &["line 3, column 2 (q)", "not finite"],
    );
    csv_refused(
        "1,NaN,a\n3,4,b\n",
        None,
        &["line 1, column 2", "a missing value (`NaN`)"],
    );
    csv_refused(
        "1,1e999,a\n3,4,b\n",
        None,
        &["line 1, column 2", "not finite"],
    );
    // A line with one word among numbers is not a header.
    csv_refused(
        "1,2,3,?,a\n1,2,3,4,b\n",
        None,
        &["line 1, column 4", "a missing value (`?`)"],
    );
    csv_refused("1,2,\n3,4,b\n", None, &["line 1, column 3", "not a label"]);
}

#[test]
fn csv_of_the_wrong_form_is_refused() {
    csv_refused("", None, &["empty file"]);
    csv_refused("\n\r\n", None, &["empty file"]);
    csv_refused("p,q,c\n", None, &["no rows"]);
    csv_refused(
        "1,2,a\n3,b\n",
        None,
        &["line 2, column 3", "2 columns, but line 1 has 3"],
    );
    csv_refused("1,2,a\n3,4,5,b\n", None, &["line 2, column 4", "4 columns"]);
    csv_refused("1:2:a\n3:4:b\n", None, &["line 1", "1 column", "commas"]);
    csv_refused("1,2,a\n3,4,a\n", None, &["every label is `a`"]);
    csv_refused(
        "3,2,a,b\n1,2,0\n3,4,1\n",
        None,
        &["line 1", "announces 3 rows, but the file has 2"],
    );
    csv_refused(
        "2,2,a,b\n1,2,0\n3,4,2\n",
        None,
        &["line 3, column 3", "allowed are 0…1"],
    );
    let many: String = (0..1500).map(|row| format!("1,{row}.5\n")).collect();
    csv_refused(&many, None, &["line 1001, column 2", "at most 1000"]);
    csv_refused(
        "1,2,a\n3,4,\"b\n5,6,a\n",
        None,
        &["line 2", "a quotation mark is not closed"],
    );
    let folder = Folder::new(&[("a.csv", b"1,2,a\n3,\xff,b\n")]);
    let error = folder.load(&["a.csv"], &[], None).unwrap_err();
    assert_refused(&error, "a.csv", &["line 2, column 2", "UTF-8"]);
}

#[test]
fn a_missing_label_column_is_refused() {
    let named = "width,kind,height\n1,a,2\n3,b,4\n";
    let parts = [
        "line 1",
        "`kund`",
        "did you mean `kind`?",
        "width, kind, height",
    ];
    csv_refused(named, Some("kund"), &parts);
    csv_refused("1,2,a\n3,4,b\n", Some("kind"), &["no header", "0…2"]);
    csv_refused(named, Some("3"), &["no label column 3", "0…2"]);
    csv_refused("a,a,b\n1,2,3\n", Some("a"), &["two columns are called `a`"]);
}

#[test]
fn paths_that_are_not_files_are_refused() {
    let folder = Folder::new(&[]);
    fs::create_dir(folder.0.path().join("inner")).unwrap();
    let error = folder.load(&["absent.csv"], &[], None).unwrap_err();
    assert_refused(&error, "absent.csv", &["no such file"]);
    let error = folder.load(&["inner"], &[], None).unwrap_err();
    assert_refused(&error, "inner", &["no PNG file in this folder"]);
}

#[test]
fn good_csv_files_load_in_every_form() {
    let rows = "5.5,a,1\n6,b,2\n7,a,3\n";
    let header = format!("\u{feff}size,kind,mass\r\n{}", rows.replace('\n', "\r\n"));
    let folder = Folder::new(&[
        ("plain.csv", rows.as_bytes()),
        ("header.csv", header.as_bytes()),
        ("gzipped", &gzip(rows.as_bytes())),
        ("last.csv", b"1,2,-1\n3,255,1"),
        ("numbered.csv", b"0,1,label\n7,8,3\n9,10,4\n"),
        ("counted.csv", b"3,2,no,yes\n1,2,1\n3,4,1\n5,6,0\n"),
    ]);
    for (file, label) in [
        ("plain.csv", "1"),
        ("header.csv", "kind"),
        ("header.csv", "1"),
        ("gzipped", "1"),
    ] {
        let train = folder.load(&[file], &[], Some(label)).unwrap().train;
        assert_eq!(train.features.dim(), (3, 2), "{file}");
        assert_eq!(train.labels, [0, 1, 0], "{file}");
        assert_eq!(train.class_names, ["a", "b"], "{file}");
        assert_eq!(
            (train.features.value(0, 0), train.features.value(2, 1)),
            (5.5, 3.0)
        );
    }
    let load = |file| folder.load(&[file], &[], None).unwrap().train;
    assert_eq!(load("last.csv").class_names, ["-1", "1"]);
    assert_eq!(load("last.csv").features.value(1, 1), 255.0);
    assert_eq!(load("numbered.csv").labels, [0, 1]);
    assert_eq!(load("numbered.csv").features.value(0, 0), 7.0);
    assert_eq!(load("counted.csv").labels, [1, 1, 0]);
    assert_eq!(load("counted.csv").class_names, ["no", "yes"]);
}

proptest! {
    #![proptest_config(property_cases(256))]

    #[test]
    fn any_text_as_csv_loads_or_is_refused(text in "[0-9a,.\"\r\n;-]{0,80}", label in "[0-3a]?") {
        let folder = Folder::new(&[("a.csv", text.as_bytes())]);
        let label = Some(label.as_str()).filter(|label| !label.is_empty());
        if let Err(error) = folder.load(&["a.csv"], &["a.csv"], label) {
            prop_assert_eq!(error.exit_code(), 2);
        }
    }

    #[test]
    fn any_bytes_load_or_are_refused(
        start in prop::sample::select(vec![&b"\0\0\x08\x01\0\0\0"[..], b"\0\0\x08", b"\x1f\x8b\x08", b""]),
        rest in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let bytes = [start, &rest].concat();
        let folder = Folder::new(&[("bytes", &bytes), ("images", &images())]);
        for files in [&["bytes"][..], &["bytes", "bytes"], &["images", "bytes"]] {
            if let Err(error) = folder.load(files, &[], None) {
                prop_assert_eq!(error.exit_code(), 2);
            }
        }
    }
}
