//! Training by backprop gives the same bits with any number of workers, with any kernel, in any
//! run.

mod support;

use std::sync::Arc;

use ndarray::Array2;
use nplus1::data::{Dataset, Features, Samples};
use nplus1::gradient::{Backprop, Control, Descent, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::numeric::Real;
use nplus1::optimizer::{AdamConfig, LbfgsConfig, OptimizerConfig, Schedule, SgdConfig};
use nplus1::parallel::Workers;
use nplus1::train::{NoObserver, TrainConfig, Training, TrainingState};
use support::networks;
use support::watchdog::time_limit;

/// Returns 230 images of 100 pixels in 10 classes: mostly 0 if `sparse`, else without zeros.
fn images(sparse: bool) -> Arc<Dataset> {
    let images = networks::images((230, 100), 10, sparse, |hash| (hash % 255) as u8 + 1);
    Arc::new(Dataset {
        image: Some((10, 10)),
        ..images
    })
}

struct Case {
    hidden: &'static [usize],
    output: OutputUnits,
    loss: Loss,
    batch_size: usize,
    optimizer: OptimizerConfig,
    l2: f64,
    sparse: bool,
    epochs: usize,
}

const fn sgd(momentum: f64) -> OptimizerConfig {
    OptimizerConfig::Sgd(SgdConfig {
        learning_rate: 0.5,
        momentum,
        weight_decay: 0.0,
        schedule: Schedule::Cosine,
    })
}

const PLAIN: Case = Case {
    hidden: &[40],
    output: OutputUnits::Sigmoid,
    loss: Loss::Quadratic,
    batch_size: 10,
    optimizer: sgd(0.0),
    l2: 0.0,
    sparse: true,
    epochs: 2,
};

/// Trains; returns the hash of the weights, and the metrics with every time set to 0.
fn train<R: Real>(case: &Case, workers: usize, isa: Isa) -> (String, String) {
    train_on::<R>(&images(case.sparse), case, workers, isa)
}

fn train_on<R: Real>(
    data: &Arc<Dataset>,
    case: &Case,
    workers: usize,
    isa: Isa,
) -> (String, String) {
    let scaling = networks::uniform_scaling(100, 255.0);
    let samples = Samples::<R>::new(data, &scaling);
    let mut sizes = vec![100];
    sizes.extend(case.hidden);
    sizes.push(10);
    let network = Network::new(&sizes, true, case.output, case.loss, case.l2).unwrap();
    let pool = Arc::new(Workers::new(Some(workers)).unwrap());
    let rows: Vec<u32> = (0..203).collect();
    let validation: Vec<u32> = (203..230).collect();
    let mut state = TrainingState::new(Initialization::Scaled.draw::<R>(&network.layout, 3));
    let first = state.parameters.sha256();
    Training {
        network: &network,
        samples: &samples,
        rows: &rows,
        validation: Some(&validation),
        classes: 10,
        optimizer: &case.optimizer,
        config: &TrainConfig {
            epochs: Some(case.epochs),
            max_steps: None,
            max_seconds: None,
            batch_size: case.batch_size,
            early_stopping: None,
        },
        seed: 5,
        pool: &pool,
        isa,
        workers: Some(workers),
        gradient: &GradientConfig::Backprop,
        control: &Control::default(),
    }
    .run(&mut state, &mut NoObserver)
    .unwrap();
    for record in &mut state.records {
        record.seconds = 0.0;
    }
    let hash = state.parameters.sha256();
    assert_ne!(hash, first, "training changed no weight");
    (hash, serde_json::to_string(&state.records).unwrap())
}

/// Checks that training gives the same bits with every number of workers and every kernel.
fn assert_keeps_its_bits<R: Real>(case: &Case) {
    let reference = train::<R>(case, 1, Isa::detect());
    for workers in [1, 2, 3, 5, 8, 16] {
        assert_eq!(
            train::<R>(case, workers, Isa::detect()),
            reference,
            "{workers} workers"
        );
    }
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        assert_eq!(train::<R>(case, 2, isa), reference, "{}", isa.name());
    }
}

fn assert_both_precisions_keep_their_bits(case: &Case) {
    assert_keeps_its_bits::<f32>(case);
    assert_keeps_its_bits::<f64>(case);
}

#[test]
fn small_batches_with_a_smaller_last_one_keep_their_bits() {
    let _limit = time_limit();
    assert_both_precisions_keep_their_bits(&PLAIN);
}

#[test]
fn large_batches_with_a_smaller_last_one_keep_their_bits() {
    let _limit = time_limit();
    assert_both_precisions_keep_their_bits(&Case {
        batch_size: 128,
        ..PLAIN
    });
}

#[test]
fn dense_inputs_keep_their_bits() {
    let _limit = time_limit();
    assert_both_precisions_keep_their_bits(&Case {
        sparse: false,
        ..PLAIN
    });
    assert_both_precisions_keep_their_bits(&Case {
        sparse: false,
        batch_size: 128,
        ..PLAIN
    });
}

#[test]
fn deep_networks_keep_their_bits() {
    let _limit = time_limit();
    for hidden in [&[40, 33][..], &[70, 40, 20], &[20, 50, 30, 40]] {
        assert_both_precisions_keep_their_bits(&Case {
            hidden,
            output: OutputUnits::Softmax,
            loss: Loss::CrossEntropy,
            ..PLAIN
        });
        assert_both_precisions_keep_their_bits(&Case {
            hidden,
            batch_size: 128,
            ..PLAIN
        });
    }
}

#[test]
fn networks_without_hidden_units_keep_their_bits() {
    let _limit = time_limit();
    assert_both_precisions_keep_their_bits(&Case {
        hidden: &[],
        ..PLAIN
    });
}

#[test]
fn momentum_and_l2_keep_their_bits() {
    let _limit = time_limit();
    assert_both_precisions_keep_their_bits(&Case {
        optimizer: sgd(0.9),
        l2: 1e-3,
        ..PLAIN
    });
    assert_both_precisions_keep_their_bits(&Case {
        hidden: &[40, 33],
        optimizer: sgd(0.9),
        l2: 1e-3,
        batch_size: 128,
        ..PLAIN
    });
}

#[test]
fn adam_keeps_its_bits() {
    let _limit = time_limit();
    for batch_size in [10, 128] {
        assert_both_precisions_keep_their_bits(&Case {
            optimizer: OptimizerConfig::Adam(AdamConfig {
                learning_rate: 1e-2,
                beta1: 0.9,
                beta2: 0.999,
                epsilon: 1e-8,
                weight_decay: 1e-3,
                schedule: Schedule::Cosine,
            }),
            l2: 1e-3,
            batch_size,
            ..PLAIN
        });
    }
}

#[test]
fn lbfgs_keeps_its_bits() {
    let _limit = time_limit();
    for hidden in [&[40][..], &[40, 33]] {
        assert_both_precisions_keep_their_bits(&Case {
            optimizer: OptimizerConfig::Lbfgs(LbfgsConfig {
                memory: 2,
                tolerance: 0.0,
            }),
            hidden,
            l2: 1e-3,
            batch_size: TrainConfig::ALL_ROWS,
            epochs: 6,
            ..PLAIN
        });
    }
}

/// Returns the same data stored as numbers, which are never read as sparse bytes.
fn as_numbers(bytes: &Dataset) -> Arc<Dataset> {
    let at = |(row, feature)| bytes.features.value(row, feature);
    Arc::new(Dataset {
        features: Features::Reals(Array2::from_shape_fn(bytes.features.dim(), at)),
        ..bytes.clone()
    })
}

#[test]
fn sparse_inputs_give_the_bits_of_dense_ones() {
    let _limit = time_limit();
    let sparse = images(true);
    // Weight decay changes a weight even if its input is 0.
    let decaying = OptimizerConfig::Sgd(SgdConfig {
        learning_rate: 0.5,
        momentum: 0.0,
        weight_decay: 1e-2,
        schedule: Schedule::Constant,
    });
    for batch_size in [10, 128] {
        for optimizer in [PLAIN.optimizer, decaying.clone()] {
            let case = Case {
                batch_size,
                optimizer,
                ..PLAIN
            };
            let (hash, _) = train_on::<f32>(&sparse, &case, 1, Isa::detect());
            let (dense, _) = train_on::<f32>(&as_numbers(&sparse), &case, 1, Isa::detect());
            assert_eq!(hash, dense, "batch {batch_size}, {:?}", case.optimizer);
        }
    }
}

/// Trains in 20 segments, taking the numbers of workers from `workers` in turn, as a run does while
/// the tuner tries other numbers; returns the hash of the weights and the sum of the losses.
fn descend_in_segments(momentum: f64, hidden: &[usize], workers: &[usize]) -> (String, f64) {
    let data = images(true);
    let samples = Samples::<f32>::new(&data, &networks::uniform_scaling(100, 255.0));
    let sizes = [&[100], hidden, &[10]].concat();
    let network =
        Network::new(&sizes, true, OutputUnits::Softmax, Loss::CrossEntropy, 1e-4).unwrap();
    let pool = Arc::new(Workers::new(Some(5)).unwrap());
    let mut engine = Backprop::new(&network, &pool, Isa::detect(), 10);
    let mut parameters = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    engine.load(&parameters);
    let optimizer = SgdConfig {
        learning_rate: 0.5,
        momentum,
        weight_decay: 0.0,
        schedule: Schedule::Constant,
    };
    let rule = optimizer.rule(network.l2, 1.0);
    let order: Vec<u32> = (0..203).collect();
    let mut loss = 0.0;
    for segment in 0..20 {
        let workers = workers[segment % workers.len()];
        engine
            .descend(
                &samples,
                &order,
                10,
                rule,
                workers,
                &mut loss,
                &Control::default(),
            )
            .unwrap();
    }
    engine.store(&mut parameters);
    (parameters.sha256(), loss)
}

#[test]
fn a_number_of_workers_that_changes_within_a_run_keeps_the_bits() {
    let _limit = time_limit();
    for momentum in [0.0, 0.9] {
        for hidden in [&[][..], &[40], &[40, 33]] {
            let reference = descend_in_segments(momentum, hidden, &[1]);
            for workers in [&[2][..], &[2, 1], &[5, 1, 3, 2], &[1, 4]] {
                assert_eq!(
                    descend_in_segments(momentum, hidden, workers),
                    reference,
                    "{workers:?} workers, hidden {hidden:?}, momentum {momentum}"
                );
            }
        }
    }
}

/// The hash of the weights of this run is the same on every machine and in every version; a new
/// value means changed arithmetic, which belongs in the changelog.
#[test]
fn the_golden_hash_is_unchanged() {
    let _limit = time_limit();
    let (hash, _) = train::<f32>(&PLAIN, 2, Isa::detect());
    assert_eq!(hash, GOLDEN);
}

const GOLDEN: &str = "5b821563bbe1ed502240735fc3a43ded7f30e4b1bbe8a48b8c7856db68ac7315";
