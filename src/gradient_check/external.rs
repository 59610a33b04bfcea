//! Compares the gradient of another program: what is wrong, tensor by tensor, and how small an
//! error would have been seen.

use super::comparison::GradientComparison;
use super::diagnosis::{Diagnosis, Mistake};
use super::number_format::NumberFormat;
use super::tolerances::Tolerances;
use super::{CheckSubject, ReferencePoint};
use crate::gradient::{Control, Stopped};
use crate::model::{Layout, Parameters};
use crate::numeric::Precision;

/// The comparison with the gradient of another program.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternalComparison {
    /// The errors and the verdict.
    pub comparison: GradientComparison,
    /// The smallest errors that would have been seen.
    pub power: Power,
    /// Each tensor with elements beyond their bounds, in the order of the layers.
    pub tensors: Vec<WrongTensor>,
    /// One mistake that explains all errors.
    pub mistake: Option<Mistake>,
}

/// The smallest errors that a comparison would have seen, relative to the elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// The error of one element, relative to it: half of the elements show a smaller one.
    pub element: f64,
    /// The same for the element that shows the least.
    pub weakest_element: f64,
    /// The error ε of a gradient whose elements all have the factor 1 + ε.
    pub whole: f64,
}

/// A tensor with elements beyond their bounds.
#[derive(Clone, Debug, PartialEq)]
pub struct WrongTensor {
    /// Its name, such as `layers.0.weight`.
    pub name: String,
    /// Elements beyond their bounds.
    pub wrong: usize,
    /// All elements.
    pub elements: usize,
    /// ‖ĝ − g‖₂/‖g‖₂ over the tensor.
    pub relative_error: f64,
    /// The mistake that explains its errors.
    pub mistake: Option<Mistake>,
}

/// A tensor of the network: its name, and its place in θ.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub name: String,
    pub range: std::ops::Range<usize>,
    /// fan_in of weights; none for biases.
    pub fan_in: Option<usize>,
}

/// Lists the tensors of a network.
pub(super) fn tensors(layout: &Layout) -> Vec<Tensor> {
    let tensors = layout.tensors().into_iter();
    let named = tensors.map(|tensor| Tensor {
        name: tensor.name(),
        fan_in: tensor.shape.get(1).copied(),
        range: tensor.range,
    });
    named.collect()
}

impl CheckSubject<'_> {
    /// Compares a gradient that another program computed in `precision` with the reference.
    pub fn compare_external(
        &self,
        gradient: &Parameters<f64>,
        precision: Precision,
    ) -> GradientComparison {
        let (point, tolerances) = self.external_tolerances(precision);
        GradientComparison::new(&point.gradient, gradient, &tolerances)
    }

    /// Compares a gradient that another program computed in `precision` with the reference, and
    /// looks for the mistake if it is wrong. `training_rows` are rows that may have been used in
    /// place of those of the check.
    ///
    /// Cost: where the gradient is wrong and no simpler mistake explains it, a gradient over
    /// `training_rows`.
    ///
    /// # Errors
    /// Returns [`Stopped::Interrupted`] if `control` requested a stop.
    pub fn examine_external(
        &self,
        gradient: &Parameters<f64>,
        precision: Precision,
        training_rows: &[u32],
        control: &Control,
    ) -> Result<ExternalComparison, Stopped> {
        let (point, tolerances) = self.external_tolerances(precision);
        let exact = &point.gradient;
        let diagnosis = Diagnosis {
            exact: exact.flat(),
            found: gradient.flat(),
            theta: &point.theta,
            l2: self.network.l2,
            rows: self.rows.len(),
            tolerances: &tolerances,
        };
        let tensors = diagnosis.wrong_tensors();
        let mut mistake = None;
        if !tensors.is_empty() {
            mistake = diagnosis.of_all_elements();
            let is_unexplained = |tensor: &WrongTensor| tensor.mistake.is_none();
            if mistake.is_none() && tensors.iter().any(is_unexplained) {
                mistake = self.other_rows(point, gradient, training_rows, control)?;
            }
        }
        Ok(ExternalComparison {
            comparison: GradientComparison::new(exact, gradient, &tolerances),
            power: Power::new(exact.flat(), gradient.flat(), &tolerances),
            tensors,
            mistake,
        })
    }

    fn external_tolerances(&self, precision: Precision) -> (&ReferencePoint<'_>, Tolerances) {
        let point: &ReferencePoint<'_> = match precision {
            Precision::F32 => &self.rounded,
            Precision::F64 => &self.exact,
        };
        let mut tolerances = self.foreign_tolerances(point, NumberFormat::of(precision));
        tolerances.add_certain(&point.reference_error);
        (point, tolerances)
    }
}

impl Power {
    /// An error of element i that is larger than its bound plus the error that is there already is
    /// seen whatever its sign.
    fn new(exact: &[f64], found: &[f64], tolerances: &Tolerances) -> Self {
        let elements = exact.iter().zip(found).enumerate();
        let mut least: Vec<f64> = elements
            .filter(|(_, (g, found))| **g != 0.0 && found.is_finite())
            .map(|(index, (g, found))| {
                let bound = tolerances.bound(index);
                // The error of a wrong element says nothing about those that would be seen.
                let error = Some((found - g).abs()).filter(|error| *error <= bound);
                (bound + error.unwrap_or(0.0)) / g.abs()
            })
            .collect();
        least.sort_by(f64::total_cmp);
        let at = |index: usize| least.get(index).copied().unwrap_or(f64::INFINITY);
        Self {
            element: at(least.len() / 2),
            weakest_element: at(least.len().saturating_sub(1)),
            whole: at(0),
        }
    }
}
