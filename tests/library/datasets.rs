//! Every named dataset loads completely, with its known shape and class counts.

use std::fs;
use std::path::Path;

use nplus1::data::{Dataset, Features, SearchPaths, catalog};

fn counts(dataset: &Dataset) -> Vec<usize> {
    let mut counts = vec![0; dataset.class_count()];
    if dataset.is_regression() {
        return counts;
    }
    for &label in &dataset.labels {
        counts[usize::from(label)] += 1;
    }
    counts
}

/// Returns the class counts of the training and test parts: those of scikit-learn, and for MNIST
/// those of its web page.
fn known_counts(name: &str) -> (Vec<usize>, Vec<usize>) {
    let train = match name {
        "mnist" => vec![5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        "iris" => vec![50, 50, 50],
        "wine" => vec![59, 71, 48],
        "breast-cancer" => vec![212, 357],
        "digits" => vec![178, 182, 177, 183, 181, 182, 181, 179, 174, 180],
        "diabetes" => vec![],
        _ => panic!("no known counts of {name}"),
    };
    let test = match name {
        "mnist" => vec![980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        _ => vec![],
    };
    (train, test)
}

#[test]
fn every_dataset_loads_with_its_shape_and_its_class_counts() {
    let search_paths = SearchPaths::new(None);
    for entry in catalog::entries() {
        let (train, test) = entry.load(&search_paths).unwrap();
        assert_eq!(train.features.dim(), (entry.rows, entry.features));
        assert_eq!(train.name, entry.name);
        assert_eq!(train.class_names, entry.class_names);
        assert_eq!(train.image, entry.image, "{}", entry.name);
        assert_eq!(train.unit_divisor, entry.unit_divisor, "{}", entry.name);
        let schema = train.schema();
        let named = if entry.name == "mnist" {
            0
        } else {
            entry.features
        };
        assert_eq!(schema.names().count(), named, "{}", entry.name);
        assert_eq!(schema.fault(entry.features), None, "{}", entry.name);
        let (train_counts, test_counts) = known_counts(entry.name);
        assert_eq!(counts(&train), train_counts, "{}", entry.name);
        match test {
            Some(test) => {
                assert_eq!(test.features.dim(), (entry.test_rows, entry.features));
                assert_eq!(counts(&test), test_counts);
            }
            None => assert_eq!(entry.test_rows, 0),
        }
    }
}

#[test]
fn features_are_the_numbers_in_the_files() {
    let search_paths = SearchPaths::new(None);
    let (mnist, _) = catalog::load("mnist", &search_paths).unwrap();
    assert!(matches!(mnist.features, Features::Bytes(_)));
    // The first training image is a 5; its mean pixel is 35.108…, its row 5 begins at column 12.
    assert_eq!(mnist.labels[0], 5);
    let sum: f64 = (0..784).map(|pixel| mnist.features.value(0, pixel)).sum();
    assert_eq!(sum, 27_525.0);
    assert_eq!(mnist.features.value(0, 5 * 28 + 12), 3.0);

    let (iris, _) = catalog::load("iris", &search_paths).unwrap();
    let row = |row| [0, 1, 2, 3].map(|feature| iris.features.value(row, feature));
    assert_eq!(row(0), [5.1, 3.5, 1.4, 0.2]);
    assert_eq!(row(149), [5.9, 3.0, 5.1, 1.8]);
    assert_eq!(iris.labels[149], 2);

    let (diabetes, _) = catalog::load("diabetes", &search_paths).unwrap();
    let targets = diabetes.targets.as_ref().unwrap();
    assert_eq!(targets.names, ["progression"]);
    assert_eq!(
        (targets.values[[0, 0]], targets.values[[441, 0]]),
        (151.0, 57.0)
    );
    assert_eq!(diabetes.features.value(0, 8), 4.8598);

    let (digits, _) = catalog::load("digits", &search_paths).unwrap();
    assert!(matches!(digits.features, Features::Bytes(_)));
    assert_eq!(digits.features.value(0, 2), 5.0);
}

#[test]
fn a_file_that_was_changed_is_refused_with_both_checksums() {
    let folder = tempfile::tempdir().unwrap();
    let (_, original) = copy_dataset("iris", folder.path());
    let path = folder.path().join("iris/iris.csv");
    fs::write(&path, [&original[..], b"\n"].concat()).unwrap();
    let error = catalog::load("iris", &SearchPaths::new(Some(folder.path()))).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    let message = error.to_string();
    assert!(message.contains(&path.display().to_string()), "{message}");
    let expected = catalog::entry("iris").unwrap().files[0].sha256;
    assert!(
        message.contains(&format!("expected {expected}")),
        "{message}"
    );
    assert!(message.contains("SHA-256 found "), "{message}");
}

#[test]
fn a_dataset_in_another_folder_is_found_there() {
    let folder = tempfile::tempdir().unwrap();
    copy_dataset("wine", folder.path());
    let search_paths = SearchPaths::new(Some(folder.path()));
    let wine = catalog::entry("wine").unwrap();
    assert_eq!(search_paths.find(wine).unwrap(), folder.path().join("wine"));
    assert_eq!(wine.load(&search_paths).unwrap().0.rows(), 178);
    // Datasets that are not in this folder are not searched in others.
    assert_eq!(
        catalog::load("iris", &search_paths)
            .unwrap_err()
            .exit_code(),
        2
    );
}

#[test]
fn the_readme_of_the_datasets_states_every_checksum() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/README.md");
    let readme = fs::read_to_string(readme).unwrap();
    for entry in catalog::entries() {
        for file in entry.files {
            let line = format!("{}  {}/{}", file.sha256, entry.name, file.name);
            assert!(readme.contains(&line), "{line}");
        }
        assert!(readme.contains(entry.citation), "{}", entry.citation);
    }
}

/// Copies a dataset of one file; returns the folder it was found in, and the file's bytes.
fn copy_dataset(name: &str, to: &Path) -> (std::path::PathBuf, Vec<u8>) {
    let entry = catalog::entry(name).unwrap();
    let from = SearchPaths::new(None).find(entry).unwrap();
    let bytes = fs::read(from.join(entry.files[0].name)).unwrap();
    fs::create_dir(to.join(name)).unwrap();
    fs::write(to.join(name).join(entry.files[0].name), &bytes).unwrap();
    (from, bytes)
}
