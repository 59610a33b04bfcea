//! The front door: `Trainer` trains the weights of `nplus1 train`, a saved model predicts as before,
//! and input that does not fit is refused with a typed error.

use std::fmt::Write;
use std::sync::Arc;

use crate::support::program::Workplace;
use ndarray::{Array2, array};
use nplus1::data::{Normalize, Samples, Scaling};
use nplus1::error::{Error, InputError};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::numeric::Precision;
use nplus1::optimizer::{AdamConfig, LbfgsConfig, OptimizerConfig, Schedule, SgdConfig};
use nplus1::parallel::Workers;
use nplus1::train::{Ending, NoObserver, TrainConfig, Training, TrainingState};
use nplus1::{Dataset, Model, TrainedModel, Trainer};

/// 90 rows of three classes on circles of radius 1, 2 and 3, with their names.
fn rings() -> (Array2<f64>, Vec<&'static str>) {
    let angle = |i: usize| 2.399 * i as f64;
    let radius = |i: usize| (1 + i % 3) as f64 + 0.1 * (7.0 * i as f64).sin();
    let x = Array2::from_shape_fn((90, 2), |(i, j)| {
        radius(i)
            * if j == 0 {
                angle(i).cos()
            } else {
                angle(i).sin()
            }
    });
    let names = ["inner", "middle", "outer"];
    (x, (0..90).map(|i| names[i % 3]).collect())
}

fn rings_data() -> Dataset {
    let (x, labels) = rings();
    Dataset::from_arrays(x.view(), &labels).unwrap()
}

fn fit_rings() -> TrainedModel {
    let trainer = Trainer::new().hidden([12]).learning_rate(1.0).epochs(100);
    trainer.fit(&rings_data()).unwrap()
}

fn problem<T>(result: nplus1::Result<T>) -> InputError {
    match result.err().expect("it must be refused") {
        Error::Input(problem) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_learns_and_a_saved_model_predicts_the_same() {
    let (x, labels) = rings();
    let data = rings_data();
    let trained = fit_rings();
    let evaluation = trained.evaluate(&data).unwrap();
    assert!(evaluation.accuracy > 0.95, "{}", evaluation.accuracy);
    assert_eq!(trained.history.len(), 100);
    assert!(trained.history[99].train_loss < 0.5 * trained.history[0].train_loss);
    assert_eq!(trained.ending, Ending::Finished);

    let predicted = trained.predict(x.view()).unwrap();
    let right = predicted
        .iter()
        .zip(&labels)
        .filter(|(a, b)| a == b)
        .count();
    assert_eq!(right as f64 / 90.0, evaluation.accuracy);
    let indices = trained.predict_indices(x.view()).unwrap();
    let probabilities = trained.predict_proba(x.view()).unwrap();
    assert_eq!(probabilities.dim(), (90, 3));
    for ((row, &class), &name) in probabilities
        .rows()
        .into_iter()
        .zip(&indices)
        .zip(&predicted)
    {
        assert!((row.sum() - 1.0).abs() < 1e-12);
        assert!(row.iter().all(|p| *p <= row[class]));
        assert_eq!(trained.model.class_names[class], name);
    }

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rings.safetensors");
    trained.save(&path).unwrap();
    let model = Model::load(&path).unwrap();
    assert_eq!(model, trained.model);
    assert_eq!(model.weights_sha256(), trained.weights_sha256());
    assert_eq!(model.predict(x.view()).unwrap(), predicted);
    assert_eq!(model.evaluate(&data).unwrap(), evaluation);
    assert!(Model::load(folder.path().join("none")).is_err());
}

#[test]
fn labels_may_be_integers_and_features_of_any_layout_and_precision() {
    let x = array![[0.0, 5.0], [1.0, 4.0], [2.0, 3.0]];
    let data = Dataset::from_arrays(x.view(), &[10, 9, 10]).unwrap();
    assert_eq!(
        (&data.labels[..], data.class_names.len()),
        (&[1u16, 0, 1][..], 2)
    );
    assert_eq!(data.class_names, ["9", "10"]);
    // A transposed array is not contiguous row by row.
    let columns = array![[0.0, 1.0, 2.0], [5.0, 4.0, 3.0]];
    let labels: Vec<String> = ["10", "9", "10"].map(String::from).to_vec();
    assert_eq!(Dataset::from_arrays(columns.t(), &labels).unwrap(), data);
    let single = x.mapv(|x| x as f32);
    let labels = array![10u8, 9, 10];
    assert_eq!(Dataset::from_arrays(single.view(), &labels).unwrap(), data);
    let bytes = x.mapv(|x| x as u8).reversed_axes();
    let data = Dataset::from_arrays(bytes.t(), &[true, false, true]).unwrap();
    let trained = Trainer::new().epochs(1).fit(&data).unwrap();
    assert_eq!(trained.predict(bytes.t()).unwrap().len(), 3);
}

/// Labels 0, 1, 2 come back as they were given, though one class is absent from the new rows.
#[test]
fn classes_are_matched_by_name() {
    let trained = fit_rings();
    let (x, labels) = rings();
    let some: Vec<usize> = (0..90).filter(|i| labels[*i] != "inner").collect();
    let x = x.select(ndarray::Axis(0), &some);
    let labels: Vec<&str> = some.iter().map(|&i| labels[i]).collect();
    let part = Dataset::from_arrays(x.view(), &labels).unwrap();
    let evaluation = trained.evaluate(&part).unwrap();
    assert!(evaluation.accuracy > 0.9, "{}", evaluation.accuracy);
    assert_eq!(evaluation.confusion.row(0).sum(), 0);
    let other = Dataset::from_arrays(x.view(), &vec!["outer space"; 60]).unwrap();
    assert!(matches!(
        problem(trained.evaluate(&other)),
        InputError::UnknownClass { class, .. } if class == "outer space"
    ));
}

#[test]
fn the_bits_are_those_of_the_command_line_and_do_not_depend_on_threads() {
    let (x, labels) = rings();
    let mut csv = String::new();
    for (row, label) in x.rows().into_iter().zip(&labels) {
        writeln!(csv, "{:?},{:?},{label}", row[0], row[1]).unwrap();
    }
    let config = "seed = 7\n[data]\ntrain = \"rings.csv\"\nvalidation = 0.2\n\
        normalize = \"standard\"\n[model]\nhidden = [11, 5]\noutput = \"softmax\"\n\
        [loss]\nl2 = 1e-3\n[optimizer]\nlearning_rate = 0.5\nmomentum = 0.5\n\
        schedule = \"cosine\"\n[train]\nepochs = 6\nbatch_size = 7\n";
    let place = Workplace::new(config);
    place.write("rings.csv", &csv);
    let output = place.nplus1("train flowers.toml --json --no-report");
    let text = String::from_utf8(output.stdout).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&text).unwrap();

    let data = Dataset::from_arrays(x.view(), &labels).unwrap();
    let trainer = Trainer::new()
        .seed(7)
        .validation(0.2)
        .hidden([11, 5])
        .l2(1e-3)
        .learning_rate(0.5)
        .momentum(0.5)
        .schedule(Schedule::Cosine)
        .epochs(6)
        .batch_size(7);
    let trained = trainer.fit(&data).unwrap();
    assert_eq!(summary["weights_sha256"], trained.weights_sha256());
    let last = &trained.history[5];
    assert_eq!(summary["train_loss"], last.train_loss);
    assert_eq!(summary["validation_loss"], last.validation_loss.unwrap());
    for threads in [1, 2, 8] {
        let again = trainer.clone().threads(threads).fit(&data).unwrap();
        assert_eq!(
            again.weights_sha256(),
            trained.weights_sha256(),
            "{threads} threads"
        );
    }
}

#[test]
fn every_loss_and_optimizer_trains_and_gives_probabilities() {
    let data = rings_data();
    let (x, labels) = rings();
    let trainers = [
        Trainer::new().loss(Loss::Quadratic).learning_rate(1.0),
        Trainer::new().output(OutputUnits::Sigmoid),
        Trainer::new()
            .optimizer(AdamConfig::default())
            .learning_rate(0.01),
        Trainer::new().optimizer(LbfgsConfig::default()),
        Trainer::new()
            .precision(Precision::F64)
            .initialization(Initialization::Xavier),
    ];
    for trainer in trainers {
        let trained = trainer.epochs(40).fit(&data).unwrap();
        let (first, last) = (&trained.history[0], trained.history.last().unwrap());
        assert!(last.train_loss < first.train_loss);
        let probabilities = trained.predict_proba(x.view()).unwrap();
        assert!(
            probabilities
                .rows()
                .into_iter()
                .all(|row| (row.sum() - 1.0).abs() < 1e-12)
        );
    }
    let inner: Vec<bool> = labels.iter().map(|&label| label == "inner").collect();
    let two = Dataset::from_arrays(x.view(), &inner).unwrap();
    let trained = Trainer::new().loss(Loss::Logistic).fit(&two).unwrap();
    let probabilities = trained.predict_proba(x.view()).unwrap();
    let indices = trained.predict_indices(x.view()).unwrap();
    for (row, class) in probabilities.rows().into_iter().zip(indices) {
        assert!((row.sum() - 1.0).abs() < 1e-12);
        assert!(row[class] >= 0.5);
    }
    let early = Trainer::new()
        .validation(0.3)
        .early_stopping(1)
        .learning_rate(20.0);
    let trained = early.epochs(500).fit(&data).unwrap();
    assert_eq!(trained.ending, Ending::StoppedEarly);
    let linear = Trainer::new()
        .loss(Loss::Quadratic)
        .output(OutputUnits::Linear);
    let trained = linear.learning_rate(0.01).fit(&data).unwrap();
    assert_eq!(
        problem(trained.predict_proba(x.view())),
        InputError::NoProbabilities
    );
}

#[test]
fn arrays_that_do_not_fit_are_refused() {
    let x = array![[1.0, 2.0], [3.0, 4.0]];
    let labels = |count| vec![0u8; count];
    let from = |x: &Array2<f64>, labels: &[u8]| problem(Dataset::from_arrays(x.view(), labels));
    assert_eq!(
        from(&x, &labels(3)),
        InputError::LabelCount { rows: 2, labels: 3 }
    );
    assert_eq!(from(&Array2::zeros((0, 2)), &[]), InputError::NoRows);
    assert_eq!(
        from(&Array2::zeros((2, 0)), &labels(2)),
        InputError::NoFeatures { rows: 2 }
    );
    for value in [f64::INFINITY, f64::NEG_INFINITY] {
        let x = array![[1.0, 2.0], [3.0, value]];
        let expected = InputError::NotFinite {
            row: 1,
            feature: 1,
            value,
        };
        assert_eq!(from(&x, &labels(2)), expected);
    }
    let nan = array![[f32::NAN, 2.0], [3.0, 4.0]];
    assert!(matches!(
        problem(Dataset::from_arrays(nan.view(), &[0, 1])),
        InputError::NotFinite {
            row: 0,
            feature: 0,
            ..
        }
    ));
    let many: Vec<i32> = (0..1001).collect();
    assert_eq!(
        problem(Dataset::from_arrays(
            Array2::<f64>::zeros((1001, 1)).view(),
            &many
        )),
        InputError::TooManyClasses { most: 1000 }
    );
    assert_eq!(
        problem(Dataset::from_class_indices(x.view(), &[0, 2], &["a", "b"])),
        InputError::LabelBeyondClasses {
            row: 1,
            label: 2,
            classes: 2
        }
    );
}

#[test]
fn data_that_cannot_be_trained_on_is_refused() {
    let x = array![[1.0, 2.0], [3.0, 4.0]];
    let one = Dataset::from_arrays(x.view(), &["same", "same"]).unwrap();
    let fit = |data: &Dataset| problem(Trainer::new().fit(data));
    assert_eq!(fit(&one), InputError::TooFewClasses { classes: 1 });
    let absent = Dataset::from_class_indices(x.view(), &[1, 1], &["a", "b"]).unwrap();
    assert_eq!(fit(&absent), InputError::TooFewClasses { classes: 1 });
    let mut beyond = Dataset::from_arrays(x.view(), &[0, 1]).unwrap();
    beyond.labels[1] = 7;
    assert!(matches!(
        fit(&beyond),
        InputError::LabelBeyondClasses {
            row: 1,
            label: 7,
            ..
        }
    ));
    let three = rings_data();
    assert_eq!(
        problem(Trainer::new().loss(Loss::Logistic).fit(&three)),
        InputError::NotTwoClasses { classes: 3 }
    );
    let huge = array![[1e300, 2.0], [3.0, 4.0]];
    let huge = Dataset::from_arrays(huge.view(), &[0, 1]).unwrap();
    assert!(matches!(
        problem(Trainer::new().normalize(Normalize::None).fit(&huge)),
        InputError::NotFinite {
            row: 0,
            feature: 0,
            ..
        }
    ));
    let all = Trainer::new().validation(0.999).fit(&three);
    assert!(matches!(all, Err(Error::Refused(_))));
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let data = rings_data();
    for (trainer, name) in [
        (Trainer::new().hidden([3, 0]), "hidden"),
        (Trainer::new().learning_rate(0.0), "learning_rate"),
        (Trainer::new().learning_rate(f64::NAN), "learning_rate"),
        (Trainer::new().momentum(1.0), "momentum"),
        (Trainer::new().epochs(0), "epochs"),
        (Trainer::new().batch_size(0), "batch_size"),
        (Trainer::new().l2(-1.0), "l2"),
        (Trainer::new().validation(1.5), "validation"),
        (Trainer::new().validation(f64::NAN), "validation"),
    ] {
        match problem(trainer.fit(&data)) {
            InputError::Setting { setting, .. } => assert_eq!(setting, name),
            other => panic!("{name}: {other:?}"),
        }
    }
    let lbfgs = || Trainer::new().optimizer(LbfgsConfig::default());
    for trainer in [
        lbfgs().learning_rate(1.0),
        lbfgs().momentum(0.5),
        lbfgs().batch_size(10),
        Trainer::new()
            .optimizer(AdamConfig::default())
            .momentum(0.5),
        Trainer::new().early_stopping(2),
        Trainer::new().output(OutputUnits::Linear),
    ] {
        assert!(matches!(
            problem(trainer.fit(&data)),
            InputError::Conflict(_)
        ));
    }
    assert!(matches!(
        Trainer::new().threads(0).fit(&data),
        Err(Error::Usage(_))
    ));
}

#[test]
fn rows_that_do_not_fit_the_model_are_refused() {
    let trained = fit_rings();
    let three = array![[1.0, 2.0, 3.0]];
    let expected = InputError::FeatureCount {
        found: 3,
        expected: 2,
    };
    assert_eq!(problem(trained.predict(three.view())), expected);
    assert_eq!(problem(trained.predict_proba(three.view())), expected);
    let data = Dataset::from_arrays(three.view(), &["inner"]).unwrap();
    assert_eq!(problem(trained.evaluate(&data)), expected);
    let nan = array![[1.0, f64::NAN]];
    assert!(matches!(
        problem(trained.predict(nan.view())),
        InputError::NotFinite {
            row: 0,
            feature: 1,
            ..
        }
    ));
    // Finite, but not in single precision.
    let huge = array![[1.0, 1.0], [1e300, 1.0]];
    assert!(matches!(
        problem(trained.predict(huge.view())),
        InputError::NotFinite {
            row: 1,
            feature: 0,
            ..
        }
    ));
    assert!(
        trained
            .predict(Array2::<f64>::zeros((0, 2)).view())
            .unwrap()
            .is_empty()
    );
}

/// `Training` itself refuses what does not fit, not only the front door.
#[test]
fn a_training_run_refuses_samples_that_its_network_cannot_take() {
    let data = Arc::new(rings_data());
    let samples = Samples::<f32>::new(&data, &Scaling::identity(2));
    let pool = Arc::new(Workers::exactly(1).unwrap());
    let rows: Vec<u32> = (0..90).collect();
    let run = |sizes: &[usize], rows: &[u32], batch_size, classes| {
        let network =
            Network::new(sizes, true, OutputUnits::Softmax, Loss::CrossEntropy, 0.0).unwrap();
        let config = TrainConfig {
            epochs: Some(1),
            max_steps: None,
            max_seconds: None,
            batch_size,
            early_stopping: None,
        };
        let training = Training {
            network: &network,
            samples: &samples,
            rows,
            validation: None,
            classes,
            gradient: &GradientConfig::Backprop,
            optimizer: &OptimizerConfig::Sgd(SgdConfig {
                learning_rate: 0.1,
                momentum: 0.0,
                weight_decay: 0.0,
                schedule: Schedule::Constant,
            }),
            config: &config,
            seed: 1,
            pool: &pool,
            isa: Isa::detect(),
            workers: None,
            split: None,
            control: &Control::default(),
        };
        let theta = Initialization::Scaled.draw(&network.layout, 1);
        training.run(&mut TrainingState::new(theta), &mut NoObserver)
    };
    assert!(run(&[2, 4, 3], &rows, 10, 3).is_ok());
    assert_eq!(
        problem(run(&[3, 4, 3], &rows, 10, 3)),
        InputError::FeatureCount {
            found: 2,
            expected: 3
        }
    );
    assert_eq!(
        problem(run(&[2, 4, 2], &rows, 10, 3)),
        InputError::OutputCount {
            classes: 3,
            outputs: 2
        }
    );
    assert!(matches!(
        problem(run(&[2, 4, 2], &rows, 10, 2)),
        InputError::LabelBeyondClasses {
            row: 2,
            label: 2,
            classes: 2
        }
    ));
    assert_eq!(problem(run(&[2, 4, 3], &[], 10, 3)), InputError::NoRows);
    assert_eq!(
        problem(run(&[2, 4, 3], &[5, 90], 10, 3)),
        InputError::RowBeyondData { row: 90, rows: 90 }
    );
    assert!(matches!(
        problem(run(&[2, 4, 3], &rows, 0, 3)),
        InputError::Setting {
            setting: "batch_size",
            ..
        }
    ));
}
