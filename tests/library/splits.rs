//! Rows are split into training, validation and test parts as the config says: stratified, and
//! determined by the seed.

use std::path::Path;
use std::sync::Arc;

use nplus1::data::{DataConfig, DataSource, LoadedData, Normalize, Part, SearchPaths, Share, load};

fn config(name: &str) -> DataConfig {
    DataConfig {
        source: DataSource::Catalog(name.into()),
        task: None,
        validation: None,
        test: None,
        folds: None,
        limit: None,
        normalize: Normalize::None,
    }
}

fn loaded(name: &str) -> LoadedData {
    load(&config(name), &SearchPaths::new(None), Path::new("")).unwrap()
}

fn counts(part: &Part) -> Vec<usize> {
    let mut counts = vec![0; part.dataset.class_count()];
    for &row in &part.rows {
        counts[usize::from(part.dataset.labels[row as usize])] += 1;
    }
    counts
}

/// Checks that each of `all` rows occurs once in `parts`.
fn assert_partition(parts: &[&Part], all: usize) {
    let mut rows: Vec<u32> = parts.iter().flat_map(|part| part.rows.clone()).collect();
    rows.sort_unstable();
    assert!(
        rows.iter().copied().eq(0..all as u32),
        "{} rows",
        rows.len()
    );
}

#[test]
fn mnist_validates_on_its_last_rows_and_tests_on_its_test_files() {
    let mnist = loaded("mnist");
    let data_config = DataConfig {
        validation: Some(Share::Rows(10_000)),
        limit: Some(512),
        normalize: Normalize::Unit,
        ..config("mnist")
    };
    let split = mnist.split(&data_config, 1).unwrap();
    assert!(split.train.rows.iter().copied().eq(0..512));
    assert!(
        split
            .validation
            .unwrap()
            .rows
            .into_iter()
            .eq(50_000..60_000)
    );
    let test = split.test.unwrap();
    assert!(test.rows.into_iter().eq(0..10_000));
    assert!(Arc::ptr_eq(&test.dataset, mnist.test.as_ref().unwrap()));
    assert_eq!(split.scaling.uniform_divisor(), Some(255.0));
    assert!(split.scaling.keeps_zero());

    let data_config = DataConfig {
        test: Some(Share::Rows(100)),
        ..config("mnist")
    };
    let error = mnist.split(&data_config, 1).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(
        error.to_string().contains("already has 10000 test rows"),
        "{error}"
    );
}

#[test]
fn no_row_of_mnist_both_trains_and_validates() {
    let data_config = DataConfig {
        validation: Some(Share::Rows(10_000)),
        ..config("mnist")
    };
    let split = loaded("mnist").split(&data_config, 1).unwrap();
    assert!(split.train.rows.iter().copied().eq(0..50_000));
    assert_partition(&[&split.train, &split.validation.unwrap()], 60_000);
}

#[test]
fn a_set_without_a_test_part_is_split_stratified() {
    let iris = loaded("iris");
    let data_config = DataConfig {
        validation: Some(Share::Rows(15)),
        test: Some(Share::Fraction(0.2)),
        ..config("iris")
    };
    let split = iris.split(&data_config, 1).unwrap();
    let (validation, test) = (split.validation.unwrap(), split.test.unwrap());
    assert_partition(&[&split.train, &validation, &test], 150);
    assert_eq!(counts(&test), [10, 10, 10]);
    assert_eq!(counts(&validation), [5, 5, 5]);
    assert_eq!(counts(&split.train), [35, 35, 35]);
    // The first training rows contain all classes, although the file is grouped by class.
    let data_config = DataConfig {
        limit: Some(20),
        ..data_config
    };
    let few = iris.split(&data_config, 1).unwrap().train;
    assert_eq!(few.rows, split.train.rows[..20]);
    assert!(counts(&few).iter().all(|&count| count > 0));
}

#[test]
fn stratified_shares_are_within_one_row_of_the_exact_proportion() {
    let wine = loaded("wine");
    let data_config = DataConfig {
        test: Some(Share::Rows(50)),
        ..config("wine")
    };
    let test = wine.split(&data_config, 3).unwrap().test.unwrap();
    assert_eq!(test.rows.len(), 50);
    // 59, 71 and 48 of 178, times 50: 16.57, 19.94, 13.48; the largest remainders round up.
    assert_eq!(counts(&test), [17, 20, 13]);
}

#[test]
fn the_seed_alone_chooses_the_rows() {
    let rows = |seed| {
        let data_config = DataConfig {
            test: Some(Share::Fraction(0.5)),
            ..config("wine")
        };
        let split = loaded("wine").split(&data_config, seed).unwrap();
        (split.train.rows, split.test.unwrap().rows)
    };
    assert_eq!(rows(1), rows(1));
    assert_ne!(rows(1), rows(2));
}

#[test]
fn each_row_tests_in_exactly_one_fold() {
    let wine = loaded("wine");
    let data_config = DataConfig {
        validation: Some(Share::Fraction(0.1)),
        normalize: Normalize::Standard,
        ..config("wine")
    };
    let folds = wine.folds(&data_config, 10, 0).unwrap();
    assert_eq!(folds.len(), 10);
    let tests: Vec<&Part> = folds
        .iter()
        .map(|fold| fold.test.as_ref().unwrap())
        .collect();
    assert_partition(&tests, 178);
    for fold in &folds {
        let (validation, test) = (
            fold.validation.as_ref().unwrap(),
            fold.test.as_ref().unwrap(),
        );
        assert_partition(&[&fold.train, validation, test], 178);
        assert!([17, 18].contains(&test.rows.len()));
        assert_eq!(validation.rows.len(), 16);
        // 59, 71 and 48 rows are distributed over 10 folds.
        for (count, least) in counts(test).into_iter().zip([5, 7, 4]) {
            assert!(count == least || count == least + 1);
        }
    }
    // Each fold is scaled by its own training rows.
    assert_ne!(folds[0].scaling, folds[1].scaling);
    let again = wine.folds(&data_config, 10, 0).unwrap();
    assert!(
        folds
            .iter()
            .zip(&again)
            .all(|(a, b)| a.train.rows == b.train.rows)
    );
}

#[test]
fn shares_that_leave_no_rows_are_refused_with_the_count() {
    let iris = loaded("iris");
    let refused = |data_config: DataConfig, parts: &[&str]| {
        let error = iris.split(&data_config, 1).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        for part in parts {
            assert!(error.to_string().contains(part), "no `{part}` in: {error}");
        }
    };
    let with = |validation, test, limit| DataConfig {
        validation,
        test,
        limit,
        ..config("iris")
    };
    let rows = |rows| Some(Share::Rows(rows));
    let fraction = |fraction| Some(Share::Fraction(fraction));
    refused(
        with(rows(150), None, None),
        &["validation = 150", "150 rows"],
    );
    refused(
        with(rows(0), None, None),
        &["gives no row: there are 150 rows"],
    );
    refused(
        with(None, fraction(0.001), None),
        &["test = 0.001", "gives no row"],
    );
    refused(
        with(rows(60), rows(100), None),
        &["validation = 60", "100 of them for the test"],
    );
    refused(with(None, None, Some(0)), &["limit = 0"]);
    for folds in [0, 1, 151] {
        let error = iris.folds(&config("iris"), folds, 1).unwrap_err();
        assert!(error.to_string().contains("2…150"), "{error}");
    }
}
