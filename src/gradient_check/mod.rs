//! Compares every gradient method with backprop in double precision, at the same θ and mini-batch.
//!
//! A method passes if the error of each of its N partial derivatives is within that derivative's
//! bound on truncation and round-off (derived in `bounds/`). One wrong element among thousands is
//! detected, and round-off raises no alarm. Where N passes are too many, K random directions check
//! that the losses change as backprop predicts ([`directions`]). A gradient estimator is checked
//! through the directional derivatives that it consists of (`estimator_check.rs`).
//!
//! The check establishes that the gradient is the derivative of *this* loss. It cannot detect that
//! the loss itself is not the intended one.

mod bounds;
mod comparison;
mod complex_step;
mod curvature;
mod diagnosis;
mod directional_taylor;
pub mod directions;
mod element_search;
mod error_curve;
mod estimator_check;
mod evaluation_points;
mod external;
pub mod function;
mod jet;
mod line;
mod methods;
mod number_format;
pub mod objective_check;
pub mod sample_pass;
mod taylor_remainder;
mod tolerances;

pub use comparison::{GradientComparison, Group, Judgment};
pub use diagnosis::Mistake;
pub use error_curve::{Derivatives, Minimum};
pub use external::{ExternalComparison, Power, WrongTensor};
pub use function::{Comparison, Verdict, check_gradient};
pub use methods::{CheckedMethod, Outcome, adaptive_methods, methods};
pub use objective_check::{ComparedDirection, DirectionsCheck, ObjectiveCheck};
pub use taylor_remainder::TaylorRemainders;

use std::sync::{Arc, OnceLock};

use self::bounds::ErrorBounds;
use self::number_format::NumberFormat;
use self::tolerances::Tolerances;
use crate::data::{Batch, Dataset, Samples, Scaling};
use crate::gradient::{Backprop, Control, GradientEngine, Stopped};
use crate::kernels::Isa;
use crate::model::{Network, Parameters};
use crate::numeric::{Precision, Real};
use crate::parallel::Workers;

/// A network at one θ and one mini-batch, at which gradient methods are checked.
pub struct CheckSubject<'a> {
    network: &'a Network,
    workers: &'a Arc<Workers>,
    isa: Isa,
    rows: &'a [u32],
    single: Samples<f32>,
    double: Samples<f64>,
    /// Mean number of non-zero inputs, and of distinct input values, per row.
    mean_input_counts: [f64; 2],
    /// The reference at θ itself.
    exact: Arc<ReferencePoint<'a>>,
    /// The reference at θ rounded to single precision; the same as `exact` if rounding changes
    /// nothing.
    rounded: Arc<ReferencePoint<'a>>,
}

/// The gradient by backprop in double precision at one θ, with the error bounds there.
struct ReferencePoint<'a> {
    theta: Parameters<f64>,
    gradient: Parameters<f64>,
    loss: f64,
    bounds: ErrorBounds<'a>,
    /// Error bounds of `gradient` itself, `(N,)`.
    reference_error: Vec<f64>,
    /// Data for the predicted error curves, computed on first use.
    curve_context: OnceLock<error_curve::CurveContext>,
}

impl<'a> ReferencePoint<'a> {
    fn new(
        network: &'a Network,
        theta: &Parameters<f64>,
        samples: &Samples<f64>,
        rows: &[u32],
        workers: &Arc<Workers>,
        isa: Isa,
        control: &Control,
    ) -> Result<Self, Stopped> {
        let mut engine = Backprop::<f64>::new(network, workers, isa, rows.len());
        let mut gradient = Parameters::zeros(Arc::clone(&network.layout));
        let computed = engine.gradient(theta, Batch { samples, rows }, &mut gradient, control)?;
        let bounds = ErrorBounds::new(network, theta, samples, rows, workers);
        Ok(Self {
            theta: theta.clone(),
            reference_error: bounds.backprop(NumberFormat::of(Precision::F64)),
            gradient,
            loss: computed.loss,
            bounds,
            curve_context: OnceLock::new(),
        })
    }
}

impl<'a> CheckSubject<'a> {
    /// Prepares the check of `network` at `theta` over the given rows of `dataset`, scaled.
    ///
    /// Cost: at most two gradients by backprop.
    ///
    /// # Errors
    /// Returns [`Stopped::Interrupted`] if `control` requested a stop.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        network: &'a Network,
        theta: &Parameters<f64>,
        dataset: &Arc<Dataset>,
        scaling: &Scaling,
        rows: &'a [u32],
        workers: &'a Arc<Workers>,
        isa: Isa,
        control: &Control,
    ) -> Result<Self, Stopped> {
        let double = Samples::<f64>::new(dataset, scaling);
        let point = |theta| {
            let point = ReferencePoint::new(network, theta, &double, rows, workers, isa, control)?;
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
            workers,
            isa,
            rows,
            single: Samples::new(dataset, scaling),
            mean_input_counts: methods::mean_input_counts(&double, rows),
            double,
            exact,
            rounded,
        })
    }

    /// Returns the gradient by backprop in double precision, l2 included.
    pub fn gradient(&self) -> &Parameters<f64> {
        &self.exact.gradient
    }

    /// Returns the mean loss over the rows, without the l2 term.
    pub fn loss(&self) -> f64 {
        self.exact.loss
    }

    /// Computes the gradient by `method` and compares it with the reference.
    ///
    /// # Errors
    /// Returns [`Stopped::Interrupted`] if `control` requested a stop. An increment that is lost in
    /// θ is an [`Outcome`], not an error.
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
        let unset = vec![R::from_f64(f64::NAN); theta.flat().len()];
        let mut gradient = Parameters::from_flat(Arc::clone(&self.network.layout), unset);
        let mut engine =
            method
                .gradient
                .engine(self.network, self.workers, self.isa, samples, rows.len());
        let computed = engine.gradient(&theta, Batch { samples, rows }, &mut gradient, control);
        match computed {
            Ok(_) => {}
            Err(Stopped::Interrupted) => return Err(Stopped::Interrupted),
            Err(lost) => return Ok(Outcome::Lost(lost)),
        }
        let tolerances = self.tolerances(method, point, &theta, samples, control)?;
        let computed = converted::<R, f64>(&gradient);
        Ok(Outcome::Compared(
            self.compare(point, &computed, tolerances),
        ))
    }

    /// Compares the gradient by the complex step (N passes in double precision) with backprop's.
    ///
    /// The bounds are those of forward mode: a complex number holds a value and a rate of change,
    /// and no operation on the two rounds more often than forward mode does.
    ///
    /// # Errors
    /// Returns [`Stopped::Interrupted`] if `control` requested a stop.
    pub fn complex_step(&self, control: &Control) -> Result<GradientComparison, Stopped> {
        let point = &self.exact;
        let (theta, passes) = (&point.theta, point.bounds.passes());
        let computed = complex_step::gradient(self.network, theta, passes, self.workers, control)?;
        let tolerances =
            Tolerances::worst_case(point.bounds.tangent(NumberFormat::of(Precision::F64)));
        Ok(self.compare(point, &computed, tolerances))
    }

    fn compare(
        &self,
        point: &ReferencePoint<'_>,
        computed: &Parameters<f64>,
        mut tolerances: Tolerances,
    ) -> GradientComparison {
        tolerances.add_certain(&point.reference_error);
        GradientComparison::new(&point.gradient, computed, &tolerances)
    }
}

/// Converts the parameters to another precision, rounding each once.
fn converted<From: Real, To: Real>(parameters: &Parameters<From>) -> Parameters<To> {
    let numbers = parameters.flat().iter();
    Parameters::from_flat(
        Arc::clone(parameters.layout()),
        numbers.map(|x| To::from_f64(x.to_f64())).collect(),
    )
}
