//! RMSprop makes the steps of PyTorch's published rule, computed here number by number; its weights
//! have the same bits on any number of threads and over checkpoints; configs name it.

use std::path::Path;
use std::sync::Arc;

use crate::support::breast_cancer::BreastCancer;
use crate::support::interruptions::train_with_interruptions;
use nplus1::config::{Config, Overrides};
use nplus1::gradient::{Control, GradientConfig};
use nplus1::kernels::Isa;
use nplus1::model::{Initialization, Layout, Parameters};
use nplus1::numeric::Real;
use nplus1::optimizer::rmsprop::{RmspropConfig, STATE};
use nplus1::optimizer::{Optimizer, OptimizerConfig, OptimizerState, Schedule};
use nplus1::parallel::Workers;
use nplus1::train::{Ending, NoObserver, Observer, TrainConfig, Training, TrainingState};

const RMSPROP: RmspropConfig = RmspropConfig {
    learning_rate: 1e-2,
    rho: 0.9,
    epsilon: 1e-8,
    weight_decay: 1e-3,
    schedule: Schedule::Constant,
};

/// Returns θ and v after a step from both, by the algorithm in the documentation of
/// `torch.optim.RMSprop` with momentum = 0 and centered = False (its lr is γ, its alpha α).
fn published_step(theta: f64, v: f64, gradient: f64, config: &RmspropConfig) -> (f64, f64) {
    let (gamma, alpha, lambda) = (config.learning_rate, config.rho, config.weight_decay);
    let g = gradient + lambda * theta;
    let v = alpha * v + (1.0 - alpha) * g.powi(2);
    (theta - gamma * g / (v.sqrt() + config.epsilon), v)
}

/// Returns the gradient of Σ cos(k + 1)θ_k + θ_k⁴/4 at θ.
fn slopes(theta: &[f64]) -> Vec<f64> {
    let slope = |(k, x): (usize, &f64)| ((k + 1) as f64).cos() + x.powi(3);
    theta.iter().enumerate().map(slope).collect()
}

#[test]
fn each_step_is_that_of_the_published_rule() {
    let layout = Arc::new(Layout::new(&[4, 3, 2], true));
    let start: Vec<f64> = (0..layout.len()).map(|k| 0.1 * k as f64 - 1.0).collect();
    for config in [
        RMSPROP,
        RmspropConfig {
            rho: 0.99,
            epsilon: 1e-3,
            weight_decay: 0.0,
            ..RMSPROP
        },
        RmspropConfig {
            rho: 0.0,
            ..RMSPROP
        },
    ] {
        let mut theta = Parameters::from_flat(Arc::clone(&layout), start.clone());
        let mut state = OptimizerState::zeros(&STATE, &layout);
        let mut expected: Vec<(f64, f64)> = start.iter().map(|&x| (x, 0.0)).collect();
        for _ in 0..50 {
            let gradient = Parameters::from_flat(Arc::clone(&layout), slopes(theta.flat()));
            config.step(1.0, &mut theta, &gradient, &mut state);
            let before: Vec<f64> = expected.iter().map(|(x, _)| *x).collect();
            for ((x, v), gradient) in expected.iter_mut().zip(slopes(&before)) {
                (*x, *v) = published_step(*x, *v, gradient, &config);
            }
        }
        let squares = state.vector("square_mean").unwrap();
        for (index, (x, v)) in expected.iter().enumerate() {
            // 50 steps of few roundings each; the slopes do not amplify errors.
            let (found, square) = (theta.flat()[index], squares.flat()[index]);
            assert!((found - x).abs() <= 1e-13, "{index}: {found} for {x}");
            assert!((square - v).abs() <= 1e-13 * v, "{index}: {square} for {v}");
            assert_ne!(found, start[index]);
        }
    }
}

#[test]
fn a_first_step_without_decay_has_a_known_size() {
    // v = 0.1g², so a first step is rate · g/(√0.1·|g| + ε).
    let layout = Arc::new(Layout::new(&[1, 1], true));
    let config = RmspropConfig {
        weight_decay: 0.0,
        ..RMSPROP
    };
    let mut theta = Parameters::from_flat(Arc::clone(&layout), vec![1.0, 2.0]);
    let gradient = Parameters::from_flat(Arc::clone(&layout), vec![-3.0, 0.0]);
    let mut state = OptimizerState::zeros(&STATE, &layout);
    config.step(0.5, &mut theta, &gradient, &mut state);
    assert!((theta.flat()[0] - (1.0 + 5e-3 / 0.1f64.sqrt())).abs() < 1e-9);
    assert_eq!(theta.flat()[1], 2.0);
}

/// Trains from `state` on, with a fixed number of workers, until the end or until `observer` stops it.
fn train<R: Real>(
    state: &mut TrainingState<R>,
    workers: usize,
    observer: &mut dyn Observer<R>,
    control: &Control,
) -> Ending {
    let data = BreastCancer::standardized();
    let config = TrainConfig {
        epochs: Some(4),
        max_steps: None,
        max_seconds: None,
        batch_size: 20,
        early_stopping: None,
    };
    let rmsprop = RmspropConfig {
        schedule: Schedule::Cosine,
        ..RMSPROP
    };
    let training = Training {
        network: &data.network(1e-3),
        samples: &data.samples::<R>(),
        rows: &data.rows,
        validation: None,
        classes: 2,
        gradient: &GradientConfig::Backprop,
        optimizer: &OptimizerConfig::Rmsprop(rmsprop),
        config: &config,
        seed: 5,
        pool: &Arc::new(Workers::exactly(workers).unwrap()),
        isa: Isa::detect(),
        workers: Some(workers),
        split: None,
        control,
    };
    training.run(state, observer).unwrap()
}

fn start<R: Real>() -> TrainingState<R> {
    let network = BreastCancer::standardized().network(1e-3);
    TrainingState::new(Initialization::Scaled.draw(&network.layout, 3))
}

/// Removes the times from a state.
fn timeless<R>(mut state: TrainingState<R>) -> TrainingState<R> {
    for record in &mut state.records {
        record.seconds = 0.0;
    }
    state
}

fn assert_keeps_its_bits<R: Real>() {
    let trained = |workers| {
        let mut state = start::<R>();
        let ending = train(&mut state, workers, &mut NoObserver, &Control::default());
        assert_eq!(ending, Ending::Finished);
        timeless(state)
    };
    let one = trained(1);
    let losses: Vec<f64> = one.records.iter().map(|record| record.train_loss).collect();
    assert!(losses[3] < 0.5 * losses[0], "{losses:?}");
    for workers in [2, 8] {
        assert!(trained(workers) == one, "{workers} workers");
    }
}

#[test]
fn any_number_of_workers_trains_the_same_bits() {
    assert_keeps_its_bits::<f32>();
    assert_keeps_its_bits::<f64>();
}

#[test]
fn a_run_resumed_from_its_checkpoint_has_the_bits_of_an_uninterrupted_one() {
    let mut whole = start::<f32>();
    train(&mut whole, 2, &mut NoObserver, &Control::default());
    let (state, interruptions) = train_with_interruptions(start(), |state, stopping, control| {
        train(state, 2, stopping, control)
    });
    assert!(interruptions >= 2, "{interruptions}");
    assert!(timeless(state) == timeless(whole));
}

#[test]
fn a_config_names_it_with_the_defaults_of_the_table() {
    let parse = |lines: &str| {
        let text = format!(
            "data.dataset = 'iris'\nmodel.hidden = [8]\ntrain.epochs = 2\n[optimizer]\nkind = 'rmsprop'\n{lines}"
        );
        Config::parse(&text, Path::new("a.toml"), &Overrides::default())
    };
    let expected = RmspropConfig {
        weight_decay: 0.0,
        ..RMSPROP
    };
    let config = parse("").unwrap();
    assert_eq!(config.optimizer, OptimizerConfig::Rmsprop(expected));
    assert_eq!(config.train.batch_size, 10);
    let given = "learning_rate = 0.5\nrho = 0.5\nepsilon = 1e-4\nweight_decay = 0.25\nschedule = 'cosine'\n";
    let config = parse(given).unwrap();
    let all = RmspropConfig {
        learning_rate: 0.5,
        rho: 0.5,
        epsilon: 1e-4,
        weight_decay: 0.25,
        schedule: Schedule::Cosine,
    };
    assert_eq!(config.optimizer, OptimizerConfig::Rmsprop(all));
    let resolved = config.to_toml();
    let again = Config::parse(&resolved, Path::new("a.toml"), &Overrides::default());
    assert_eq!(again.unwrap(), config, "{resolved}");
    for (line, message) in [
        ("rho = 1", "`rho` is out of range: found 1"),
        ("momentum = 0.9", "`momentum` has no meaning with rmsprop"),
        ("beta1 = 0.9", "set kind = \"adam\", or remove `beta1`"),
    ] {
        let report = parse(line).unwrap_err().to_string();
        assert!(report.contains(message), "{report}");
    }
}
