//! Your own function, differentiated in parallel: `cargo run --release --example objective`.
//!
//! First Rosenbrock's function, whose gradient is known, by each method; then a slow black box,
//! of which nothing is known but its value, on 1 thread and on more.

use std::time::{Duration, Instant};

use nplus1::error::Result;
use nplus1::gradient::Control;
use nplus1::gradient::finite_difference::{Differences, Increment};
use nplus1::model::Function;
use nplus1::parallel::Workers;

fn rosenbrock(x: &[f64]) -> f64 {
    (1.0 - x[0]).powi(2) + 100.0 * (x[1] - x[0] * x[0]).powi(2)
}

fn main() -> Result<()> {
    let team = Workers::new(None)?;
    let theta = [-1.2, 1.0];
    let exact = [-215.6, -88.0];
    println!("Rosenbrock's function at {theta:?}: gradient {exact:?}");
    let forward = Differences::FORWARD;
    let central = Differences::CENTRAL;
    for (name, method) in [
        ("forward, N + 1", forward),
        (
            "forward, increment from noise",
            Differences {
                increment: Increment::Noise,
                ..forward
            },
        ),
        ("central, 2N", central),
        (
            "central, extrapolated, 4N",
            Differences {
                levels: 2,
                ..central
            },
        ),
    ] {
        let estimate = method.gradient(&Function::new(2, rosenbrock), &theta, &team)?;
        let error = (estimate.gradient[0] - exact[0]).hypot(estimate.gradient[1] - exact[1]);
        println!(
            "  {name:30} {:2} evaluations, error {error:.1e}",
            estimate.evaluations
        );
    }

    // A simulation that takes a while, and waits for something other than the processor.
    let simulation = Function::new(15, |x: &[f64]| {
        std::thread::sleep(Duration::from_millis(20));
        x.iter()
            .enumerate()
            .map(|(i, x)| (x * i as f64).cos())
            .sum()
    });
    println!("A black box of 15 parameters, 20 ms an evaluation");
    for threads in [1, 4, 16] {
        let control = Control::default();
        let team = Workers::new(Some(threads))?;
        let start = Instant::now();
        // Another thread with a clone of `control` can draw a progress bar, or stop it.
        forward.gradient_with_control(&simulation, &[0.5; 15], &team, &control)?;
        let (made, time) = (control.evaluations(), start.elapsed().as_millis());
        println!("  {threads:2} threads: {made} evaluations in {time} ms");
    }
    Ok(())
}
