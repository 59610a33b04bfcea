//! A step that takes long is stopped in the middle: θ, velocity and loss are those of the last whole
//! step, and the steps that are left give the bits of a run that was not stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::networks::{images, uniform_scaling};
use crate::support::watchdog::time_limit;
use nplus1::data::{Batch, Samples};
use nplus1::gradient::finite_difference::{Arithmetic, DifferenceConfig, Reuse};
use nplus1::gradient::{
    Backprop, Control, Descent, GradientConfig, GradientEngine, Stopped, TrainingEngine,
};
use nplus1::kernels::Isa;
use nplus1::kernels::update::Rule;
use nplus1::model::{Initialization, Loss, Network, OutputUnits, Parameters};
use nplus1::parallel::{Split, Workers};

/// Rows of a mini-batch: one step has some 6·10⁸ multiplications.
const ROWS: usize = 2000;
const STEPS: usize = 3;

fn samples(sparse: bool) -> Samples<f32> {
    let data = images((ROWS, 100), 10, sparse, |hash| (hash % 255) as u8 + 1);
    Samples::new(&Arc::new(data), &uniform_scaling(100, 255.0))
}

fn network() -> Network {
    let sizes = [100, 250, 300, 10];
    Network::new(&sizes, true, OutputUnits::Softmax, Loss::CrossEntropy, 1e-4).unwrap()
}

/// What descent keeps between two steps.
#[derive(Clone, Debug, PartialEq)]
struct State {
    theta: Parameters<f32>,
    velocity: Parameters<f32>,
    loss: f64,
}

/// Loads `state`, takes `steps` steps unless `control` stops them, and returns the state after it
/// and the number of whole steps.
fn descend(
    engine: &mut Backprop<f32>,
    samples: &Samples<f32>,
    state: &State,
    steps: usize,
    control: &Control,
) -> (State, usize) {
    let order: Vec<u32> = (0..ROWS as u32).collect::<Vec<_>>().repeat(steps);
    let rule = Rule {
        rate: 0.1,
        l2: 1e-4,
        decay: 0.0,
        momentum: 0.5,
    };
    let mut after = state.clone();
    engine.load(&state.theta);
    engine.load_velocity(&state.velocity);
    let loss = &mut after.loss;
    let done = engine
        .descend(samples, &order, ROWS, rule, 2, loss, control)
        .unwrap();
    assert_eq!(done % ROWS, 0, "a part of a step counts");
    engine.store(&mut after.theta);
    assert!(engine.store_velocity(&mut after.velocity));
    (after, done / ROWS)
}

fn stopped_steps_leave_no_trace(split: Split, sparse: bool) {
    let (samples, network) = (samples(sparse), network());
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut engine = Backprop::new(&network, &pool, Isa::detect(), ROWS);
    engine.set_split(split);
    let first = State {
        theta: Initialization::Scaled.draw::<f32>(&network.layout, 3),
        velocity: Initialization::Normal.draw::<f32>(&network.layout, 4),
        loss: 0.25,
    };
    let start = Instant::now();
    let mut states = vec![first];
    for _ in 0..STEPS {
        let last = states.last().unwrap();
        let (next, done) = descend(&mut engine, &samples, last, 1, &Control::default());
        assert!(done == 1 && next != *last);
        states.push(next);
    }
    let step = start.elapsed() / STEPS as u32;
    let mut stopped = 0;
    // In each step, at several places; the flag may be set before the first, too.
    for place in 0..STEPS * 2 {
        let flag = Arc::new(AtomicBool::new(place == 0));
        let delay = step * place as u32 / 2 + Duration::from_millis(1);
        let (after, done) = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(delay);
                flag.store(true, Ordering::Relaxed);
            });
            descend(
                &mut engine,
                &samples,
                &states[0],
                STEPS,
                &Control::new(&flag),
            )
        });
        assert!(place > 0 || done == 0, "a stopped control begins no step");
        assert!(after == states[done], "{split:?}: {done} steps are done");
        stopped += usize::from(done < STEPS);
        let left = STEPS - done;
        let (end, _) = descend(&mut engine, &samples, &after, left, &Control::default());
        assert!(
            end == states[STEPS],
            "{split:?}: stopped after {done} steps"
        );
    }
    assert!(stopped > 1, "{split:?}: no step was stopped");
}

#[test]
fn slow_a_step_by_units_is_stopped_in_the_middle_and_leaves_no_trace() {
    let _limit = time_limit();
    stopped_steps_leave_no_trace(Split::Units, true);
    stopped_steps_leave_no_trace(Split::Units, false);
}

#[test]
fn slow_a_step_by_rows_is_stopped_in_the_middle_and_leaves_no_trace() {
    let _limit = time_limit();
    stopped_steps_leave_no_trace(Split::Rows, true);
    stopped_steps_leave_no_trace(Split::Rows, false);
}

#[test]
fn long_steps_are_followed_by_a_short_one() {
    let _limit = time_limit();
    let (samples, network) = (samples(true), network());
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let mut engine = Backprop::new(&network, &pool, Isa::detect(), ROWS);
    let order: Vec<u32> = (0..ROWS as u32).chain(7..17).collect();
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let rule = Rule::gradient_only(0.0);
    let mut descend = |parts: &[&[u32]]| {
        engine.load(&theta);
        let (mut after, mut loss) = (theta.clone(), 0.0);
        for order in parts {
            let rule = Rule { rate: 0.1, ..rule };
            let control = Control::default();
            let done = engine.descend(&samples, order, ROWS, rule, 2, &mut loss, &control);
            assert_eq!(done, Ok(order.len()));
        }
        engine.store(&mut after);
        (after, loss)
    };
    let at_once = descend(&[&order]);
    let (long, short) = order.split_at(ROWS);
    assert_eq!(at_once, descend(&[long, short]));
}

#[test]
fn a_long_gradient_that_is_interrupted_is_no_gradient_and_a_limit_of_time_lets_it_end() {
    let _limit = time_limit();
    let (samples, network) = (samples(false), network());
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let rows: Vec<u32> = (0..ROWS as u32).collect();
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    let mut engine = Backprop::new(&network, &pool, Isa::detect(), ROWS);
    let interrupted = Control::new(&Arc::new(AtomicBool::new(true)));
    let found = engine.gradient(&theta, batch, &mut gradient, &interrupted);
    assert!(matches!(found, Err(Stopped::Interrupted)));
    // There is nothing to extrapolate from within the only evaluation.
    let control = Control::default();
    let found = control.for_at_most(Duration::from_millis(1), |limited| {
        std::thread::sleep(Duration::from_millis(20));
        engine.gradient(&theta, batch, &mut gradient, limited)
    });
    let whole = found.unwrap();
    let mut again = Parameters::zeros(Arc::clone(&network.layout));
    let computed = engine.gradient(&theta, batch, &mut again, &control);
    assert_eq!(computed.unwrap().loss, whole.loss);
    assert_eq!(gradient, again);
}

#[test]
fn differences_are_whole_or_interrupted() {
    let _limit = time_limit();
    let samples = samples(true);
    let network = Network::new(
        &[100, 10],
        false,
        OutputUnits::Softmax,
        Loss::CrossEntropy,
        0.0,
    );
    let network = network.unwrap();
    let pool = Arc::new(Workers::exactly(2).unwrap());
    let rows: Vec<u32> = (0..200).collect();
    let theta = Initialization::Scaled.draw::<f32>(&network.layout, 3);
    let config = DifferenceConfig {
        reuse: Reuse::Full,
        ..DifferenceConfig::forward(Arithmetic::Plain, None)
    };
    let method = GradientConfig::Difference(config);
    let mut engine: Box<dyn TrainingEngine<f32>> =
        method.engine(&network, &pool, Isa::detect(), &samples, ROWS);
    let batch = Batch {
        samples: &samples,
        rows: &rows,
    };
    let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
    let mut whole = 0;
    for delay in 0..40 {
        let flag = Arc::new(AtomicBool::new(false));
        let control = Control::new(&flag);
        let found = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_micros(delay * delay * 50));
                flag.store(true, Ordering::Relaxed);
            });
            let found = engine.gradient(&theta, batch, &mut gradient, &control);
            (found, control.is_interrupted())
        });
        match found {
            (Ok(_), _) => whole += 1,
            (Err(stopped), true) => assert_eq!(stopped, Stopped::Interrupted),
            (Err(stopped), false) => panic!("{stopped}"),
        }
        if whole > 0 {
            let mut again = Parameters::zeros(Arc::clone(&network.layout));
            let control = Control::default();
            engine
                .gradient(&theta, batch, &mut again, &control)
                .unwrap();
            assert_eq!(gradient, again);
            break;
        }
    }
}
