//! Computes the gradient of a user-defined function in parallel by finite differences:
//! `cargo run --release --example objective`.
//!
//! First Rosenbrock's function, whose gradient is known, with several difference schemes; then a
//! slow black box, which only returns its value, on 1, 4 and 16 threads.

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
    let workers = Workers::new(None)?;
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
        let estimate = method.gradient(&Function::new(2, rosenbrock), &theta, &workers)?;
        let error = (estimate.gradient[0] - exact[0]).hypot(estimate.gradient[1] - exact[1]);
        println!(
            "  {name:30} {:2} evaluations, error {error:.1e}",
            estimate.evaluations
        );
    }

    // Stands for a slow simulation that waits for something other than the processor.
    let simulation = Function::new(15, |x: &[f64]| {
        std::thread::sleep(Duration::from_millis(20));
        x.iter()
            .enumerate()
            .map(|(i, x)| (x * i as f64).cos())
            .sum()
    });
    println!("A black box of 15 parameters, 20 ms per evaluation");
    for threads in [1, 4, 16] {
        let control = Control::default();
        let workers = Workers::exactly(threads)?;
        let start = Instant::now();
        // Another thread with a clone of `control` can show the progress or stop the computation.
        forward.gradient_with_control(&simulation, &[0.5; 15], &workers, &control)?;
        let (evaluations, time) = (control.evaluations(), start.elapsed().as_millis());
        println!("  {threads:2} threads: {evaluations} evaluations in {time} ms");
    }
    Ok(())
}
