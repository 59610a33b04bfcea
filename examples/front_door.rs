//! The library in one page: `cargo run --release --example front_door`.

use ndarray::{Array2, array};
use nplus1::{Dataset, Model, Result, Trainer, check_gradient, finite_difference};

fn main() -> Result<()> {
    // Points of the square [-1, 1]², inside and outside of a circle.
    let x = Array2::from_shape_fn((900, 2), |(i, j)| [i % 30, i / 30][j] as f64 / 14.5 - 1.0);
    let inside = |x: f64, y: f64| if x.hypot(y) < 0.8 { "in" } else { "out" };
    let labels: Vec<_> = x.outer_iter().map(|x| inside(x[0], x[1])).collect();
    let data = Dataset::from_arrays(x.view(), &labels)?;
    let trained = Trainer::new().hidden([12]).epochs(200).fit(&data)?;
    println!("accuracy {:.3}", trained.evaluate(&data)?.accuracy);

    let path = std::env::temp_dir().join("circle.safetensors");
    trained.save(&path)?;
    let (model, points) = (Model::load(&path)?, array![[0.0, 0.1], [0.9, -0.9]]);
    println!("{:?}", model.predict(points.view())?);
    println!("{:.3}", model.predict_proba(points.view())?);

    let f = |t: &[f64]| (1.0 - t[0]).powi(2) + 100.0 * (t[1] - t[0].powi(2)).powi(2);
    println!("{:?}", finite_difference::forward(f, &[-1.2, 1.0])?);
    println!("{}", check_gradient(f, &[-215.6, -88.0], &[-1.2, 1.0])?);
    println!("{}", check_gradient(f, &[-215.6, -44.0], &[-1.2, 1.0])?);
    Ok(())
}
