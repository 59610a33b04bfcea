//! Training by backprop gives the same bits with any number of workers, with any kernel, in any
//! run.

use std::sync::Arc;

use crate::support::networks;
use crate::support::watchdog::time_limit;
use ndarray::Array2;
use nplus1::data::{Dataset, Features, Samples};
use nplus1::gradient::{
    Backprop, Control, Descent, GradientConfig, GradientEngine, NumericBackpropConfig,
};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Loss, Network, OutputUnits};
use nplus1::numeric::Real;
use nplus1::optimizer::{AdamConfig, LbfgsConfig, OptimizerConfig, Schedule, SgdConfig};
use nplus1::parallel::{Division, Split, Workers};
use nplus1::train::{NoObserver, TrainConfig, Training, TrainingState};

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
    gradient: GradientConfig,
    bias: bool,
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
    gradient: GradientConfig::Backprop,
    bias: true,
};

/// By units among `workers`.
fn by_units(workers: usize) -> Division {
    Division {
        split: Some(Split::Units),
        workers,
    }
}

/// By rows among `workers`.
fn by_rows(workers: usize) -> Division {
    Division {
        split: Some(Split::Rows),
        workers,
    }
}

/// By whichever split is faster, among `workers`.
fn auto(workers: usize) -> Division {
    Division {
        split: None,
        workers,
    }
}

/// Trains; `weights_sha256` and the metrics without their time field.
fn train<R: Real>(case: &Case, division: Division, isa: Isa) -> (String, String) {
    train_on::<R>(&images(case.sparse), case, division, isa)
}

fn train_on<R: Real>(
    data: &Arc<Dataset>,
    case: &Case,
    division: Division,
    isa: Isa,
) -> (String, String) {
    let workers = division.workers;
    let scaling = networks::uniform_scaling(100, 255.0);
    let samples = Samples::<R>::new(data, &scaling);
    let mut sizes = vec![100];
    sizes.extend(case.hidden);
    sizes.push(10);
    let network = Network::new(&sizes, case.bias, case.output, case.loss, case.l2).unwrap();
    let pool = Arc::new(Workers::exactly(workers).unwrap());
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
        split: division.split,
        gradient: &case.gradient,
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

fn assert_keeps_its_bits<R: Real>(case: &Case) {
    let reference = train::<R>(case, by_units(1), Isa::detect());
    for workers in WORKERS {
        for division in [by_units(workers), by_rows(workers)] {
            let trained = train::<R>(case, division, Isa::detect());
            assert_eq!(trained, reference, "{division:?}");
        }
    }
    for isa in available_kernels() {
        for division in [by_units(2), by_rows(3)] {
            let trained = train::<R>(case, division, isa);
            assert_eq!(trained, reference, "{division:?}, {}", isa.name());
        }
    }
}

const WORKERS: [usize; 6] = [1, 2, 3, 5, 8, 16];

fn available_kernels() -> impl Iterator<Item = Isa> {
    Isa::ALL.into_iter().filter(|isa| isa.is_available())
}

fn assert_both_precisions_keep_their_bits(case: &Case) {
    assert_keeps_its_bits::<f32>(case);
    assert_keeps_its_bits::<f64>(case);
}

#[test]
fn slow_small_batches_with_a_smaller_last_one_keep_their_bits() {
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
fn slow_dense_inputs_keep_their_bits() {
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
fn slow_deep_networks_keep_their_bits() {
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
fn slow_networks_without_hidden_units_keep_their_bits() {
    let _limit = time_limit();
    assert_both_precisions_keep_their_bits(&Case {
        hidden: &[],
        ..PLAIN
    });
}

#[test]
fn slow_momentum_and_l2_keep_their_bits() {
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
fn slow_both_splits_give_the_same_bits_with_every_kernel_and_number_of_workers() {
    fn assert_keeps_its_bits<R: Real>(case: &Case) {
        let reference = train::<R>(case, by_units(1), Isa::detect());
        for isa in available_kernels() {
            for workers in WORKERS {
                for division in [by_units(workers), by_rows(workers), auto(workers)] {
                    let trained = train::<R>(case, division, isa);
                    assert_eq!(trained, reference, "{division:?}, {}", isa.name());
                }
            }
        }
    }
    let _limit = time_limit();
    let decaying = OptimizerConfig::Sgd(SgdConfig {
        learning_rate: 0.5,
        momentum: 0.9,
        weight_decay: 1e-2,
        schedule: Schedule::Constant,
    });
    let adam = OptimizerConfig::Adam(AdamConfig {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay: 0.0,
        schedule: Schedule::Constant,
    });
    let lbfgs = OptimizerConfig::Lbfgs(LbfgsConfig {
        memory: 2,
        tolerance: 0.0,
    });
    for (optimizer, batch_size, sparse) in [
        (sgd(0.0), 64, true),
        (sgd(0.0), 64, false),
        (decaying, 64, true),
        (adam, 64, false),
        (lbfgs, TrainConfig::ALL_ROWS, true),
    ] {
        let case = Case {
            optimizer,
            batch_size,
            sparse,
            hidden: &[33, 20],
            epochs: 1,
            ..PLAIN
        };
        assert_keeps_its_bits::<f32>(&case);
        assert_keeps_its_bits::<f64>(&case);
    }
}

#[test]
fn slow_batches_with_fewer_rows_than_workers_keep_their_bits() {
    let _limit = time_limit();
    for batch_size in [1, 6] {
        assert_both_precisions_keep_their_bits(&Case {
            batch_size,
            epochs: 1,
            ..PLAIN
        });
    }
}

#[test]
fn networks_without_biases_keep_their_bits() {
    let _limit = time_limit();
    for hidden in [&[][..], &[40, 33]] {
        assert_both_precisions_keep_their_bits(&Case {
            hidden,
            bias: false,
            batch_size: 64,
            ..PLAIN
        });
    }
}

#[test]
fn slow_numeric_backprop_keeps_its_bits() {
    let _limit = time_limit();
    let numeric = NumericBackpropConfig { increment: None };
    for (output, loss) in [
        (OutputUnits::Sigmoid, Loss::Quadratic),
        (OutputUnits::Softmax, Loss::CrossEntropy),
    ] {
        assert_both_precisions_keep_their_bits(&Case {
            hidden: &[20, 33],
            output,
            loss,
            batch_size: 64,
            gradient: GradientConfig::NumericBackprop(numeric),
            ..PLAIN
        });
    }
}

#[test]
fn slow_adam_keeps_its_bits() {
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
fn slow_lbfgs_keeps_its_bits() {
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
            let (hash, _) = train_on::<f32>(&sparse, &case, by_units(1), Isa::detect());
            for division in [by_units(1), by_rows(2)] {
                let numbers = as_numbers(&sparse);
                let (dense, _) = train_on::<f32>(&numbers, &case, division, Isa::detect());
                assert_eq!(hash, dense, "batch {batch_size}, {:?}", case.optimizer);
            }
        }
    }
}

/// 20 segments of a few steps each, by the divisions that `divisions` gives in turn: what a run does
/// when it finds out by measuring which division pays.
fn descend_in_segments(momentum: f64, hidden: &[usize], divisions: &[Division]) -> (String, f64) {
    let data = images(true);
    let samples = Samples::<f32>::new(&data, &networks::uniform_scaling(100, 255.0));
    let sizes = [&[100], hidden, &[10]].concat();
    let network =
        Network::new(&sizes, true, OutputUnits::Softmax, Loss::CrossEntropy, 1e-4).unwrap();
    let pool = Arc::new(Workers::exactly(5).unwrap());
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
        let Division { split, workers } = divisions[segment % divisions.len()];
        engine.set_split(split.unwrap());
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
fn slow_a_division_that_changes_within_a_run_keeps_the_bits() {
    let _limit = time_limit();
    for momentum in [0.0, 0.9] {
        for hidden in [&[][..], &[40], &[40, 33]] {
            let reference = descend_in_segments(momentum, hidden, &[by_units(1)]);
            for divisions in [
                &[2].map(by_units)[..],
                &[2, 1].map(by_units),
                &[5, 1, 3, 2].map(by_units),
                &[1, 4].map(by_units),
                &[5, 2].map(by_rows),
                &[by_units(2), by_rows(3)],
                &[by_rows(2), by_units(1), by_rows(5), by_units(4)],
            ] {
                assert_eq!(
                    descend_in_segments(momentum, hidden, divisions),
                    reference,
                    "{divisions:?}, hidden {hidden:?}, momentum {momentum}"
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
    let (hash, _) = train::<f32>(&PLAIN, by_units(2), Isa::detect());
    assert_eq!(hash, GOLDEN);
    let (hash, _) = train::<f32>(&PLAIN, by_rows(2), Isa::detect());
    assert_eq!(hash, GOLDEN);
}

const GOLDEN: &str = "5b821563bbe1ed502240735fc3a43ded7f30e4b1bbe8a48b8c7856db68ac7315";
