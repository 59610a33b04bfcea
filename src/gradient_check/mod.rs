//! Every way to a gradient held against backprop in double precision, at the same θ and mini-batch.
//!
//! A method passes if each of its N partial derivatives is within the bound that truncation and
//! round-off have for it (`tolerance.rs` derives them): so one wrong element is found among
//! thousands, and round-off raises no alarm. Where N passes are too many, K random directions tell
//! whether the losses change as backprop says ([`directions`]). An estimator is held to the derivatives
//! that it is made of (`estimate.rs`).
//!
//! What differences can check is that the gradient is the derivative of *this* loss; that the loss is
//! the one meant, nothing here can tell.

mod bounds;
mod comparison;
mod complex_step;
mod curvature;
mod directional_taylor;
pub mod directions;
mod error_curve;
mod estimator_check;
mod evaluation_points;
mod jet;
mod methods;
mod number_format;
pub mod sample_pass;

pub use comparison::{GradientComparison, Group};
pub use error_curve::{Derivatives, Minimum};
pub use methods::{CheckedMethod, Outcome, methods, refined};

use std::sync::{Arc, OnceLock};

use self::bounds::{DifferenceSpec, ErrorBounds, PerturbedPart};
use self::evaluation_points::looks;
use self::number_format::NumberFormat;
use crate::data::{Batch, Dataset, Samples, Scaling};
use crate::gradient::finite_difference::{Increment, NoiseIncrement};
use crate::gradient::{Backprop, Control, GradientConfig, GradientEngine, Stopped};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;

/// What is checked: a network at one θ, and one mini-batch.
pub struct CheckSubject<'a> {
    network: &'a Network,
    team: &'a Arc<Workers>,
    isa: Isa,
    rows: &'a [u32],
    single: Samples<f32>,
    double: Samples<f64>,
    /// Non-zero inputs, and inputs of different values, a row.
    inputs: [f64; 2],
    /// At θ itself.
    exact: Arc<ReferencePoint<'a>>,
    /// At θ rounded to single precision, if that is another one.
    rounded: Arc<ReferencePoint<'a>>,
}

/// The gradient at one θ, by backprop in double precision, and the bounds there.
struct ReferencePoint<'a> {
    theta: Parameters<f64>,
    gradient: Parameters<f64>,
    loss: f64,
    tolerance: ErrorBounds<'a>,
    /// Bounds of the gradient's own errors.
    own: Vec<f64>,
    /// What predictions need, once one is asked for.
    ground: OnceLock<error_curve::CurveContext>,
}

impl<'a> ReferencePoint<'a> {
    fn new(
        network: &'a Network,
        theta: &Parameters<f64>,
        samples: &Samples<f64>,
        rows: &[u32],
        team: &Arc<Workers>,
        isa: Isa,
        control: &Control,
    ) -> Result<Self, Stopped> {
        let mut engine = Backprop::<f64>::new(network, team, isa, rows.len());
        let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
        let found = engine.gradient(theta, Batch { samples, rows }, &mut gradient, control)?;
        let tolerance = ErrorBounds::new(network, theta, samples, rows, team);
        Ok(Self {
            theta: theta.clone(),
            own: tolerance.backprop(NumberFormat::of(Precision::F64)),
            gradient,
            loss: found.loss,
            tolerance,
            ground: OnceLock::new(),
        })
    }
}

impl<'a> CheckSubject<'a> {
    /// The network at `theta`, and the given rows of `dataset`, scaled. Two gradients by backprop.
    ///
    /// # Errors
    /// [`Stopped::Interrupted`] if `control` asked for it.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        network: &'a Network,
        theta: &Parameters<f64>,
        dataset: &Arc<Dataset>,
        scaling: &Scaling,
        rows: &'a [u32],
        team: &'a Arc<Workers>,
        isa: Isa,
        control: &Control,
    ) -> Result<Self, Stopped> {
        let double = Samples::<f64>::new(dataset, scaling);
        let point = |theta| {
            let point = ReferencePoint::new(network, theta, &double, rows, team, isa, control)?;
            Ok::<_, Stopped>(Arc::new(point))
        };
        let exact = point(theta)?;
        let nearest = converted::<f64, f32>(theta);
        let nearest = converted::<f32, f64>(&nearest);
        let rounded = if &nearest == theta {
            Arc::clone(&exact)
        } else {
            point(&nearest)?
        };
        Ok(Self {
            network,
            team,
            isa,
            rows,
            single: Samples::new(dataset, scaling),
            inputs: methods::inputs(&double, rows),
            double,
            exact,
            rounded,
        })
    }

    /// The gradient by backprop in double precision, l2 included.
    pub fn gradient(&self) -> &Parameters<f64> {
        &self.exact.gradient
    }

    /// The mean loss of the rows, l2 left out.
    pub fn loss(&self) -> f64 {
        self.exact.loss
    }

    /// Runs `method`, and compares.
    ///
    /// # Errors
    /// [`Stopped::Interrupted`] if `control` asked for it. An increment that is lost is an outcome.
    pub fn run(&self, method: &CheckedMethod, control: &Control) -> Result<Outcome, Stopped> {
        match method.precision {
            Precision::F32 => self.run_in(method, &self.single, &self.rounded, control),
            Precision::F64 => self.run_in(method, &self.double, &self.exact, control),
        }
    }

    fn run_in<R: Real>(
        &self,
        method: &CheckedMethod,
        samples: &Samples<R>,
        point: &ReferencePoint<'_>,
        control: &Control,
    ) -> Result<Outcome, Stopped> {
        let theta = converted::<f64, R>(&point.theta);
        let rows = self.rows;
        let nan = vec![R::from_f64(f64::NAN); theta.flat().len()];
        let mut gradient = Parameters::from_flat(Arc::clone(&self.network.layout), nan);
        let mut engine =
            method
                .gradient
                .engine(self.network, self.team, self.isa, samples, rows.len());
        let found = engine.gradient(&theta, Batch { samples, rows }, &mut gradient, control);
        match found {
            Ok(_) => {}
            Err(Stopped::Interrupted) => return Err(Stopped::Interrupted),
            Err(lost) => return Ok(Outcome::Lost(lost)),
        }
        let format = NumberFormat::of(R::PRECISION);
        let bounds = match &method.gradient {
            GradientConfig::Backprop => point.tolerance.backprop(format),
            GradientConfig::NumericBackprop(config) => {
                let h = config.increment::<R>().to_f64();
                point.tolerance.numeric_backprop(format, h)
            }
            GradientConfig::ForwardMode(_) => point.tolerance.tangent(format),
            GradientConfig::Difference(_) | GradientConfig::NodePerturbation(_) => {
                let config = method.gradient.perturbation().expect("both take one");
                let measured =
                    match config.increment {
                        // What the engine measured, once more.
                        Increment::Noise => {
                            NoiseIncrement::new(self.network, &config, self.isa, rows.len())
                                .measure(&theta, Batch { samples, rows }, &control.uncounted())?
                        }
                        _ => f64::NAN,
                    };
                let perturbed = match method.gradient {
                    GradientConfig::NodePerturbation(_) => PerturbedPart::PreActivations,
                    _ => PerturbedPart::Parameters,
                };
                let taken = DifferenceSpec {
                    config: &config,
                    perturbed,
                    looks: &looks(&config, &theta, measured),
                };
                point.tolerance.difference(&taken, format, self.team)
            }
            // An estimate is right on average only: no single one can be wrong.
            GradientConfig::Spsa(_) | GradientConfig::ForwardGradient(_) => {
                vec![f64::INFINITY; theta.flat().len()]
            }
        };
        let found = converted::<R, f64>(&gradient);
        Ok(Outcome::Compared(self.compare(point, &found, bounds)))
    }

    /// Compares the gradient by the complex step, N passes in double precision, with backprop's.
    ///
    /// It has the bounds of forward mode: a complex number is a value and a rate of change, and no
    /// operation on the two rounds more often.
    ///
    /// # Errors
    /// [`Stopped::Interrupted`] if `control` asked for it.
    pub fn complex_step(&self, control: &Control) -> Result<GradientComparison, Stopped> {
        let point = &self.exact;
        let (theta, traces) = (&point.theta, point.tolerance.traces());
        let found = complex_step::gradient(self.network, theta, traces, self.team, control)?;
        let bounds = point.tolerance.tangent(NumberFormat::of(Precision::F64));
        Ok(self.compare(point, &found, bounds))
    }

    /// Compares with a gradient made elsewhere, by a program that computed in `precision`.
    pub fn against(&self, gradient: &Parameters<f64>, precision: Precision) -> GradientComparison {
        let point = match precision {
            Precision::F32 => &self.rounded,
            Precision::F64 => &self.exact,
        };
        let bounds = point
            .tolerance
            .backprop(NumberFormat::of(precision).foreign());
        self.compare(point, gradient, bounds)
    }

    fn compare(
        &self,
        point: &ReferencePoint<'_>,
        found: &Parameters<f64>,
        mut bounds: Vec<f64>,
    ) -> GradientComparison {
        for (bound, own) in bounds.iter_mut().zip(&point.own) {
            *bound += own;
        }
        GradientComparison::new(&point.gradient, found, &bounds)
    }
}

/// The same numbers in another precision, each rounded once.
fn converted<From: Real, To: Real>(parameters: &Parameters<From>) -> Parameters<To> {
    let numbers = parameters.flat().iter();
    Parameters::from_flat(
        Arc::clone(parameters.layout()),
        numbers.map(|x| To::from_f64(x.to_f64())).collect(),
    )
}
