//! Exported source files compile without a warning and answer as nplus1 does, within the derived
//! bound of rounding.

use std::fs;

use crate::support::compilers::{Answer, ask_c, ask_rust, c_self_test, compiled_c, rust_self_test};
use ndarray::{Array2, ArrayView2};
use nplus1::data::{Features, SearchPaths, catalog};
use nplus1::format::export::{ExportFormat, WeightType, rounding_bounds, sample_inputs};
use nplus1::model::{Loss, OutputUnits};
use nplus1::numeric::Precision;
use nplus1::{Dataset, Model, Trainer};

/// A named dataset as arrays, rounded to single precision.
fn dataset(name: &str) -> Dataset {
    let (train, _) = catalog::load(name, &SearchPaths::new(None)).unwrap();
    let (rows, features) = train.features.dim();
    let values = Array2::from_shape_fn((rows, features), |(row, feature)| {
        // Numbers that both precisions hold: the files and nplus1 are asked the same question.
        f64::from(train.features.value(row, feature) as f32)
    });
    let names = train.labels.iter();
    let labels: Vec<&str> = names
        .map(|&label| train.class_names[usize::from(label)].as_str())
        .collect();
    Dataset::from_arrays(values.view(), &labels).unwrap()
}

fn features(data: &Dataset) -> ArrayView2<'_, f64> {
    match &data.features {
        Features::Reals(values) => values.view(),
        Features::Bytes(_) => panic!("numbers"),
    }
}

/// Models of each kind of output, precision, scaling and depth.
fn models() -> Vec<(&'static str, Model, Dataset)> {
    let iris = dataset("iris");
    let cancer = dataset("breast-cancer");
    let short = || Trainer::new().hidden([5]).epochs(3);
    let settings = [
        ("softmax", &iris, short()),
        (
            "two hidden layers in f64",
            &iris,
            short().hidden([4, 3]).precision(Precision::F64),
        ),
        ("sigmoid, quadratic", &iris, short().loss(Loss::Quadratic)),
        (
            "sigmoid, cross-entropy, without biases",
            &iris,
            short().output(OutputUnits::Sigmoid).bias(false),
        ),
        (
            "linear, quadratic, scaled to 0 and 1",
            &iris,
            short()
                .loss(Loss::Quadratic)
                .output(OutputUnits::Linear)
                .learning_rate(0.01)
                .normalize(nplus1::data::Normalize::Unit),
        ),
        (
            "logistic without hidden layers",
            &cancer,
            short().hidden([]).loss(Loss::Logistic),
        ),
        (
            "logistic in f64, unscaled",
            &cancer,
            short()
                .loss(Loss::Logistic)
                .precision(Precision::F64)
                .normalize(nplus1::data::Normalize::None),
        ),
    ];
    let fit = |(name, data, trainer): (&'static str, &Dataset, Trainer)| {
        let model = trainer.fit(data).unwrap().model;
        (name, model, data.clone())
    };
    settings.into_iter().map(fit).collect()
}

fn real(model: &Model) -> &'static str {
    match model.parameters.precision() {
        Precision::F32 => "float",
        Precision::F64 => "double",
    }
}

/// Returns the source file of a model.
fn source(model: &Model, format: ExportFormat, weights: WeightType) -> Vec<u8> {
    let rows = sample_inputs(model);
    model.exported(format, weights, rows.view()).unwrap()
}

/// Returns the largest difference between two answers' numbers.
fn difference(one: &[f64], other: &[f64]) -> f64 {
    assert_eq!(one.len(), other.len());
    let pairs = one.iter().zip(other);
    pairs.fold(0.0, |most, (one, other)| {
        f64::max(most, (one - other).abs())
    })
}

/// Asserts that `answers` are those of `model`: classes equal unless rounding may change them,
/// numbers within the bound. Returns the largest difference of a number.
fn check(model: &Model, rows: ArrayView2<'_, f64>, answers: &[Answer]) -> f64 {
    let classes = model.predict_indices(rows).unwrap();
    let plain = model.network.output == OutputUnits::Linear && model.network.loss != Loss::Logistic;
    let expected = (!plain).then(|| model.predict_proba(rows).unwrap());
    assert_eq!(answers.len(), rows.nrows());
    let mut largest = 0.0f64;
    for (at, (class, numbers)) in answers.iter().enumerate() {
        let row = rows.row(at).to_vec();
        let bounds = || rounding_bounds(model, &row).into_iter().fold(0.0, f64::max);
        if let Some(expected) = &expected {
            let found = difference(numbers, &expected.row(at).to_vec());
            assert!(found <= 1e-5 || found <= bounds(), "row {at}: {found:e}");
            largest = largest.max(found);
        }
        if *class != classes[at] as i64 {
            // The two best are closer than two answers can be apart.
            let other = usize::try_from(*class).unwrap();
            let gap = (numbers[other] - numbers[classes[at]]).abs();
            assert!(
                gap <= 2.0 * bounds(),
                "row {at}: class {class}, not {}",
                classes[at]
            );
        }
    }
    largest
}

#[test]
fn slow_every_kind_of_network_answers_in_c_and_rust_as_in_nplus1() {
    let place = tempfile::tempdir().unwrap();
    for (name, model, data) in models() {
        let rows = features(&data);
        let raw: Vec<Vec<f64>> = rows.rows().into_iter().map(|row| row.to_vec()).collect();
        let text = source(&model, ExportFormat::C, WeightType::Full);
        if let Some(answers) = ask_c(place.path(), &text, real(&model), &raw) {
            let largest = check(&model, rows, &answers);
            let (shown, passes) = c_self_test(place.path(), "model.c").unwrap();
            assert!(passes, "{name}: {shown}");
            println!("{name}: differences of at most {largest:e}");
        }
        let text = source(&model, ExportFormat::Rust, WeightType::Full);
        if let Some(answers) = ask_rust(place.path(), &text, real(&model), &raw) {
            check(&model, rows, &answers);
        }
        rust_self_test(place.path(), "model.rs");
    }
}

#[test]
fn slow_weights_of_f16_and_int8_answer_as_the_model_whose_weights_they_are() {
    let place = tempfile::tempdir().unwrap();
    let (_, model, data) = models().swap_remove(0);
    let without_biases = models().swap_remove(3).1;
    let rows = features(&data);
    let raw: Vec<Vec<f64>> = rows.rows().into_iter().map(|row| row.to_vec()).collect();
    for model in [model, without_biases] {
        for weights in [WeightType::F16, WeightType::Int8] {
            let rounded = weights.rounded(&model).unwrap();
            assert_ne!(rounded.weights_sha256(), model.weights_sha256());
            let text = source(&model, ExportFormat::C, weights);
            if let Some(answers) = ask_c(place.path(), &text, "float", &raw) {
                check(&rounded, rows, &answers);
                assert!(c_self_test(place.path(), "model.c").unwrap().1);
            }
            let text = source(&model, ExportFormat::Rust, weights);
            if let Some(answers) = ask_rust(place.path(), &text, "float", &raw) {
                check(&rounded, rows, &answers);
            }
            rust_self_test(place.path(), "model.rs");
        }
    }
}

/// The pixels of MNIST's test images, and the model 784-30-10 that was trained on the others.
#[test]
fn mnist_has_the_same_classes_in_c_and_rust() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/reference/mnist-30.safetensors"
    );
    let model = Model::load(path).unwrap();
    let (_, test) = catalog::load("mnist", &SearchPaths::new(None)).unwrap();
    let test = test.unwrap();
    let rows = Array2::from_shape_fn(test.features.dim(), |(row, pixel)| {
        test.features.value(row, pixel)
    });
    let raw: Vec<Vec<f64>> = rows.rows().into_iter().map(|row| row.to_vec()).collect();
    assert_eq!(raw.len(), 10_000);
    let place = tempfile::tempdir().unwrap();
    let text = source(&model, ExportFormat::C, WeightType::Full);
    if let Some(answers) = ask_c(place.path(), &text, "float", &raw) {
        let largest = check(&model, rows.view(), &answers);
        println!("C: differences of at most {largest:e}");
    }
    let text = source(&model, ExportFormat::Rust, WeightType::Full);
    if let Some(answers) = ask_rust(place.path(), &text, "float", &raw) {
        let largest = check(&model, rows.view(), &answers);
        println!("Rust: differences of at most {largest:e}");
    }
}

#[test]
fn a_self_test_fails_if_a_weight_is_another() {
    let place = tempfile::tempdir().unwrap();
    let (_, model, _) = models().swap_remove(0);
    let text = String::from_utf8(source(&model, ExportFormat::C, WeightType::Full)).unwrap();
    let start = text.find("weight_1").unwrap();
    let start = start + text[start..].find("{\n    {").unwrap() + "{\n    {".len();
    let end = start + text[start..].find(',').unwrap();
    let changed = format!("{}9.0f{}", &text[..start], &text[end..]);
    fs::write(place.path().join("changed.c"), changed).unwrap();
    if let Some((shown, passes)) = c_self_test(place.path(), "changed.c") {
        assert!(!passes && shown.contains("wrong"), "{shown}");
    }
}

#[test]
fn names_cannot_leave_their_strings_and_comments() {
    let place = tempfile::tempdir().unwrap();
    let (_, mut model, _) = models().swap_remove(0);
    let names = [
        "*/ int x; /* \"??=\\",
        "a\nb\u{202e}\u{1b}[31m",
        "é %s // ??/",
    ];
    model.class_names = names.map(str::to_owned).to_vec();
    model.name = "*/ #error // \\".to_owned();
    let text = source(&model, ExportFormat::C, WeightType::Full);
    fs::write(place.path().join("model.c"), &text).unwrap();
    let main = "#include <stdio.h>\n#include \"model.c\"\nint main(void)\n{\n    int i;\n\n    \
                for (i = 0; i < 3; i++)\n        printf(\"%s%c\", nplus1_class_names[i], 1);\n    \
                return 0;\n}\n";
    fs::write(place.path().join("names.c"), main).unwrap();
    if let Some(program) = compiled_c(place.path(), "names.c", &[]) {
        let shown = crate::support::compilers::succeeds(&mut std::process::Command::new(program));
        assert_eq!(shown.split('\u{1}').collect::<Vec<_>>()[..3], names);
        assert!(c_self_test(place.path(), "model.c").unwrap().1);
    }
    let text = source(&model, ExportFormat::Rust, WeightType::Full);
    fs::write(place.path().join("model.rs"), &text).unwrap();
    rust_self_test(place.path(), "model.rs");
    model.class_names[0] = "x".repeat(5000);
    let rows = sample_inputs(&model);
    let error = model
        .exported(ExportFormat::C, WeightType::Full, rows.view())
        .unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("4095"), "{error}");
}

/// A regression is a model with linear outputs and the mean and scale of each target.
#[test]
fn targets_are_answered_in_their_units() {
    let place = tempfile::tempdir().unwrap();
    let (_, mut model, data) = models().swap_remove(4);
    let rows = features(&data);
    let outputs = model.exported(
        ExportFormat::C,
        WeightType::Full,
        rows.slice(ndarray::s![..3, ..]),
    );
    let outputs = ask_c(
        place.path(),
        &outputs.unwrap(),
        "float",
        &[rows.row(0).to_vec()],
    );
    model.scaling.targets = Some(nplus1::data::TargetScaling {
        names: vec!["price".to_owned(), "area".to_owned(), "age".to_owned()],
        mean: vec![1000.0, -2.0, 0.0],
        deviation: vec![250.0, 0.5, 1.0],
    });
    let text = source(&model, ExportFormat::C, WeightType::Full);
    let Some(answers) = ask_c(place.path(), &text, "float", &[rows.row(0).to_vec()]) else {
        return;
    };
    assert!(c_self_test(place.path(), "model.c").unwrap().1);
    let z = &outputs.unwrap()[0].1;
    let expected = [z[0] * 250.0 + 1000.0, z[1] * 0.5 - 2.0, z[2]];
    assert!(
        difference(&answers[0].1, &expected) < 1e-3,
        "{answers:?}, {expected:?}"
    );
    assert_eq!(answers[0].0, 0);
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("nplus1_target_names") && text.contains("\"price\""));
    let text = source(&model, ExportFormat::Rust, WeightType::Full);
    fs::write(place.path().join("model.rs"), &text).unwrap();
    rust_self_test(place.path(), "model.rs");
}
