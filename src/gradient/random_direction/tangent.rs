//! Jacobian-vector products: the exact derivative of each row's loss along a direction of θ or of
//! the pre-activations, by a forward pass of dual numbers.
//!
//! The values are the same for every direction and are computed once ([`PrimalValues`]). Each
//! direction needs the rates of change (marked by a dot), computed layer by layer
//! ([`TangentBuffers`]); the last step uses δ = ∂L/∂z of the outputs:
//!
//! ```text
//! z_l = W_l a_{l−1} + b_l,  a_l = σ(z_l)
//! ż_l = m_l + W_l ȧ_{l−1},  ȧ_l = σ′(z_l)·ż_l
//! m_l = V_l a_{l−1} + c_l      for the direction (V, c) of θ
//! L̇ = Σ δ·ż_L
//! ```

use std::ops::Range;

use crate::gradient::finite_difference::forward_pass::PassRows;
use crate::gradient::finite_difference::unit_panels::{UnitPanels, panel_height};
use crate::kernels::matmul::{LeftOperand, Product, Start};
use crate::kernels::output_loss::OutputErrors;
use crate::kernels::panels::{Aligned, count, width};
use crate::kernels::tangent::ActivationRates;
use crate::kernels::update::Activate;
use crate::model::Network;
use crate::numeric::Real;

/// Values of one forward pass, in panels of `(capacity, P)`.
pub(in crate::gradient) struct PrimalValues<R> {
    stride: usize,
    /// Activations a of the hidden layers.
    activations: Vec<Aligned<R>>,
    /// Slopes σ′(z) of the hidden layers.
    slopes: Vec<Aligned<R>>,
    /// Errors δ of the outputs, the factor 1/rows included.
    errors: Aligned<R>,
}

impl<R: Real> PrimalValues<R> {
    pub(in crate::gradient) fn new(network: &Network, capacity: usize) -> Self {
        let sizes = network.layout.sizes();
        let room = |&units: &usize| Aligned::zeros(count::<R>(units) * capacity * width::<R>());
        let (hidden, outputs) = sizes[1..].split_at(sizes.len() - 2);
        Self {
            stride: capacity * width::<R>(),
            activations: hidden.iter().map(room).collect(),
            slopes: hidden.iter().map(room).collect(),
            errors: room(&outputs[0]),
        }
    }

    /// Runs the pass at θ = `weights`: one evaluation. Returns the sum of the rows' losses. If the
    /// control is interrupted, the pass ends after a panel of units, and all results are unspecified.
    pub(in crate::gradient) fn run(
        &mut self,
        rows: &PassRows<'_, R>,
        weights: &UnitPanels<R>,
    ) -> f64 {
        let (p, stride) = (width::<R>(), self.stride);
        let sizes = rows.network.layout.sizes();
        let (layers, batch) = (rows.network.layout.layers(), rows.targets.rows());
        for (layer, &fan_in) in sizes[..layers].iter().enumerate() {
            let panels = weights.layer(layer).chunks_exact(panel_height(fan_in) * p);
            for (panel, weights) in panels.enumerate() {
                if rows.control.is_interrupted() {
                    return f64::NAN;
                }
                let range = panel * stride..panel * stride + batch * p;
                let (below, from_layer) = self.activations.split_at_mut(layer);
                let out = match from_layer.first_mut() {
                    Some(activations) => &mut activations[range.clone()],
                    None => &mut self.errors[range.clone()],
                };
                let below = below
                    .last()
                    .map(|below| LeftOperand::rows_of(below, stride));
                rows.products(weights, below, out);
                if layer + 1 < layers {
                    rows.isa.run(Activate {
                        activations: out,
                        slopes: &mut self.slopes[layer][range],
                    });
                }
            }
        }
        rows.control.count(1);
        rows.isa.run(OutputErrors {
            output_loss: rows.network.output_loss(),
            columns: sizes[layers],
            targets: rows.targets,
            scale: R::from_f64(1.0 / batch as f64),
            values: &mut self.errors,
            stride,
            terms: None,
        })
    }

    /// Returns the activations that layer `layer` reads, and the distance of their panels in
    /// numbers; `None` for the first layer, which reads the inputs.
    pub(super) fn below(&self, layer: usize) -> Option<(&[R], usize)> {
        let below = layer.checked_sub(1)?;
        Some((&self.activations[below], self.stride))
    }
}

/// Scratch memory for the rates of change of two layers.
pub(super) struct TangentBuffers<R> {
    stride: usize,
    rates: Aligned<R>,
    below: Aligned<R>,
    /// W·ȧ of one panel.
    propagated: Aligned<R>,
}

impl<R: Real> TangentBuffers<R> {
    pub(super) fn new(network: &Network, capacity: usize) -> Self {
        let sizes = network.layout.sizes();
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        let room = || Aligned::zeros(count::<R>(widest) * capacity * width::<R>());
        Self {
            stride: capacity * width::<R>(),
            rates: room(),
            below: room(),
            propagated: Aligned::zeros(capacity * width::<R>()),
        }
    }

    /// Computes the derivative of each row's term of the mean loss, l2 left out: one
    /// Jacobian-vector product. `direct_rates(layer, panel, out)` writes m of one panel of units,
    /// `(rows, P)`; m is 0 in all layers below `first`. If the control is interrupted, the pass ends
    /// after a panel of units, and the derivatives are unspecified.
    pub(super) fn run(
        &mut self,
        rows: &PassRows<'_, R>,
        weights: &UnitPanels<R>,
        primal: &PrimalValues<R>,
        first: usize,
        mut direct_rates: impl FnMut(usize, usize, &mut [R]),
        derivatives: &mut [R],
    ) {
        let (p, stride) = (width::<R>(), self.stride);
        let sizes = rows.network.layout.sizes();
        let (layers, batch) = (rows.network.layout.layers(), rows.targets.rows());
        for (layer, &fan_in) in sizes[..layers].iter().enumerate().skip(first) {
            let panels = weights.layer(layer).chunks_exact(panel_height(fan_in) * p);
            for (panel, weights) in panels.enumerate() {
                if rows.control.is_interrupted() {
                    return;
                }
                let range = panel * stride..panel * stride + batch * p;
                let rates = &mut self.rates[range.clone()];
                direct_rates(layer, panel, rates);
                let propagated = &mut self.propagated[..batch * p];
                if layer > first {
                    let product = Product {
                        left: LeftOperand::rows_of(&self.below, stride),
                        rows: batch,
                        depth: fan_in,
                        right: weights,
                        right_stride: 0,
                        start: Start::Zero,
                        out: &mut *propagated,
                        out_stride: 0,
                        panels: 1,
                    };
                    product.run_unless_stopped(rows.isa, rows.control.interruption());
                }
                rows.isa.run(ActivationRates {
                    rates,
                    propagated: (layer > first).then_some(&*propagated),
                    slopes: primal.slopes.get(layer).map(|slopes| &slopes[range]),
                });
            }
            std::mem::swap(&mut self.rates, &mut self.below);
        }
        for (row, derivative) in derivatives.iter_mut().enumerate() {
            *derivative = (0..sizes[layers]).fold(R::ZERO, |sum, unit| {
                let at = unit / p * stride + row * p + unit % p;
                sum + primal.errors[at] * self.below[at]
            });
        }
        rows.control.count(1);
    }
}

/// A direction of θ, and scratch memory for the derivative along it.
pub(in crate::gradient) struct ParameterDirection<R> {
    /// The direction.
    pub direction: UnitPanels<R>,
    tangent: TangentBuffers<R>,
    /// Derivative of each row's loss.
    derivatives: Vec<R>,
}

impl<R: Real> ParameterDirection<R> {
    pub(in crate::gradient) fn new(network: &Network, capacity: usize) -> Self {
        Self {
            direction: UnitPanels::zeros(&network.layout),
            tangent: TangentBuffers::new(network, capacity),
            derivatives: vec![R::ZERO; capacity],
        }
    }

    /// Returns the derivative of the mean loss along the direction, l2 left out: the sum over the
    /// rows, in order. The direction is taken to be 0 outside the layers `perturbed`.
    pub(in crate::gradient) fn derivative(
        &mut self,
        rows: &PassRows<'_, R>,
        weights: &UnitPanels<R>,
        primal: &PrimalValues<R>,
        perturbed: Range<usize>,
    ) -> R {
        let sizes = rows.network.layout.sizes();
        let direction = &self.direction;
        let direct_rates = |layer: usize, panel: usize, out: &mut [R]| {
            if !perturbed.contains(&layer) {
                out.fill(R::ZERO);
                return;
            }
            let size = panel_height(sizes[layer]) * width::<R>();
            let below = primal.below(layer);
            let below = below.map(|(below, stride)| LeftOperand::rows_of(below, stride));
            rows.products(&direction.layer(layer)[panel * size..][..size], below, out);
        };
        let derivatives = &mut self.derivatives[..rows.targets.rows()];
        (self.tangent).run(
            rows,
            weights,
            primal,
            perturbed.start,
            direct_rates,
            derivatives,
        );
        derivatives.iter().fold(R::ZERO, |sum, &row| sum + row)
    }

    /// Returns the derivative along the axis of the parameter at `place` of `layer`. The direction
    /// must be 0, and is 0 again afterwards.
    pub(in crate::gradient) fn axis(
        &mut self,
        rows: &PassRows<'_, R>,
        weights: &UnitPanels<R>,
        primal: &PrimalValues<R>,
        (layer, place): (usize, usize),
        perturbed: Range<usize>,
    ) -> R {
        self.direction.layers_mut()[layer][place] = R::ONE;
        let derivative = self.derivative(rows, weights, primal, perturbed);
        self.direction.layers_mut()[layer][place] = R::ZERO;
        derivative
    }
}
