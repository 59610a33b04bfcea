//! Backprop: one forward and one backward pass, data-parallel over the mini-batch.
//!
//! Cost: 1 evaluation and one backward pass, whatever N is. [`Backprop::numeric`] is the same with
//! difference quotients for the derivatives that are not of a sum or a product, σ′(z) of each hidden
//! unit and ∂L/∂z of each output:
//!
//! ```text
//! σ′(z) ≈ (σ(z + h) − σ(z))/h      ∂L/∂z_k ≈ (L(z + h·e_k) − L(z))/h
//! ```
//!
//! The chain rule, and with it the cost, is backprop's; the error is a difference's: h·max|σ″|/2 ≤ .05·h
//! and about 2u/h relative to each slope. The engine keeps θ in panels of its
//! own ([`PackedParameters`]); the passes are in `passes.rs`. Work is cut by units and each sum is one chain
//! in a fixed order, so the bits do not depend on the number of workers.

pub mod packed;
mod worker;

use std::sync::Arc;

use crossbeam_utils::CachePadded;

use self::packed::{PackedParameters, Strides, owned_layers};
use self::worker::{BackpropScratch, BackpropWorker, LastLayer, OwnedLayer, StepTask};
use super::finite_difference::{Arithmetic, DifferenceConfig};
use super::operation_counts::backprop::{of_gradient, of_numeric_gradient};
use super::{Control, Descent, GradientEngine, GradientEvaluation, Stopped};
use crate::data::{Batch, Samples};
use crate::kernels::Isa;
use crate::kernels::panels::{APART, Aligned, count, width};
use crate::kernels::sparse::Workspace;
use crate::kernels::update::Rule;
use crate::model::{Network, Parameters};
use crate::numeric::Real;
use crate::numeric::tally::Tally;
use crate::parallel::{PhasedSlice, Supersteps, Workers};

/// `method = "numeric-backprop"`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NumericBackpropConfig {
    /// h of every pre-activation; `None`: the power of two nearest to √u.
    pub increment: Option<f64>,
}

impl NumericBackpropConfig {
    /// The difference that σ and the loss take.
    pub fn difference(&self) -> DifferenceConfig {
        DifferenceConfig::forward(Arithmetic::Plain, self.increment)
    }

    /// h.
    pub fn increment<R: Real>(&self) -> R {
        let DifferenceConfig {
            scheme,
            arithmetic,
            increment,
            ..
        } = self.difference();
        increment.of_unit(scheme, arithmetic, 0.0, f64::NAN)
    }
}

/// The backprop engine.
pub struct Backprop<R> {
    network: Network,
    team: Arc<Workers>,
    isa: Isa,
    /// Workers of a gradient; `None`: as many as find something to do.
    seats: Option<usize>,
    capacity: usize,
    /// Rows of a panel's values, and so many more that two workers' are apart.
    panel_rows: usize,
    /// h, where quotients stand in for derivatives.
    increment: Option<R>,
    weights: PackedParameters<R>,
    velocity: Option<PackedParameters<R>>,
    gradient: Option<PackedParameters<R>>,
    activations: Vec<Aligned<R>>,
    slopes: Vec<Aligned<R>>,
    errors: Vec<Aligned<R>>,
    sums: Vec<Aligned<R>>,
    shares: [Aligned<R>; 2],
    /// In lines of their own: what neighbors write every step would travel between their caches.
    scratch: Vec<CachePadded<BackpropScratch<R>>>,
}

impl<R: Real> Backprop<R> {
    /// An engine for mini-batches of at most `capacity` rows.
    pub fn new(network: &Network, team: &Arc<Workers>, isa: Isa, capacity: usize) -> Self {
        let layout = &network.layout;
        let (sizes, p) = (layout.sizes(), width::<R>());
        let owned = owned_layers(layout);
        let panels = |units: usize| count::<R>(units);
        let outputs = panels(sizes[layout.layers()]);
        let shares = if layout.layers() > 1 {
            panels(sizes[owned])
        } else {
            1
        };
        let panel_rows = capacity + APART;
        let rows = |units: usize| Aligned::zeros(panels(units) * panel_rows * p);
        let hidden = layout.layers() - 1;
        let widest = sizes[1..].iter().copied().max().unwrap_or(0);
        let scratch = |_| BackpropScratch {
            inputs: Aligned::zeros(panels(sizes[0]) * panel_rows * p),
            outputs: Aligned::zeros(outputs * panel_rows * p),
            losses: Vec::with_capacity(capacity),
            changes: Aligned::zeros(0),
            transposed: Aligned::zeros(panels(widest) * p * p),
            tile: Aligned::zeros(outputs.max(2) * p * p),
            labels: Vec::with_capacity(capacity),
            sparse: Workspace::new(sizes[0]),
            loss: 0.0,
        };
        Self {
            network: network.clone(),
            team: Arc::clone(team),
            isa,
            seats: None,
            capacity,
            panel_rows,
            increment: None,
            weights: PackedParameters::zeros(layout, team.threads()),
            velocity: None,
            gradient: None,
            activations: (0..hidden).map(|h| rows(sizes[h + 1])).collect(),
            slopes: (0..hidden).map(|h| rows(sizes[h + 1])).collect(),
            errors: (0..hidden).map(|h| rows(sizes[h + 1])).collect(),
            sums: (0..owned)
                .map(|h| {
                    Aligned::zeros(if h == 0 {
                        0
                    } else {
                        panels(sizes[h + 1]) * sizes[h] * p
                    })
                })
                .collect(),
            shares: [(); 2].map(|()| Aligned::zeros(shares * outputs * panel_rows * p)),
            scratch: (0..team.threads())
                .map(scratch)
                .map(CachePadded::new)
                .collect(),
        }
    }

    /// An engine that knows σ and the loss, and not their derivatives.
    pub fn numeric(
        network: &Network,
        config: NumericBackpropConfig,
        team: &Arc<Workers>,
        isa: Isa,
        capacity: usize,
    ) -> Self {
        let mut engine = Self::new(network, team, isa, capacity);
        engine.increment = Some(config.increment());
        for scratch in &mut engine.scratch {
            scratch.changes = Aligned::zeros(scratch.outputs.len());
        }
        engine
    }

    fn walk(
        &mut self,
        samples: &Samples<R>,
        order: &[u32],
        batch_size: usize,
        rule: Rule<R>,
        workers: usize,
        mut velocity: Option<&mut PackedParameters<R>>,
    ) -> f64 {
        assert!(
            (1..=self.capacity).contains(&batch_size)
                && (1..=self.team.threads()).contains(&workers)
        );
        self.weights.spread();
        if let Some(velocity) = &mut velocity {
            velocity.spread();
        }
        let layout = Arc::clone(&self.network.layout);
        let circle = Supersteps::new(workers);
        let task = StepTask {
            samples,
            order,
            batch_size,
            rule,
            isa: self.isa,
            sizes: layout.sizes(),
            bias: layout.has_bias(),
            head: self.network.head(),
            panel_rows: self.panel_rows,
            increment: self.increment,
        };
        let team = Arc::clone(&self.team);
        let seats = self.seats(&circle, velocity);
        team.run(circle, seats, async |seat: BackpropWorker<'_, R>, step| {
            seat.train(&task, step).await;
        });
        let loss = self.scratch[0].loss;
        for scratch in &mut self.scratch {
            scratch.loss = 0.0;
        }
        loss
    }

    /// One seat a worker: its panels of everything.
    fn seats<'b>(
        &'b mut self,
        circle: &Supersteps,
        velocity: Option<&'b mut PackedParameters<R>>,
    ) -> Vec<BackpropWorker<'b, R>> {
        let workers = circle.workers();
        let layout = Arc::clone(&self.network.layout);
        let (sizes, p, panel_rows) = (layout.sizes(), width::<R>(), self.panel_rows);
        let hidden = layout.layers() - 1;
        let outputs = sizes[layout.layers()];
        let output_panels = count::<R>(outputs);
        let strides = Strides::new::<R>(outputs);
        let cut = |panels: usize| {
            (0..workers).map(move |w| panels * w / workers..panels * (w + 1) / workers)
        };
        let parts = |panels: usize, size: usize| {
            cut(panels).map(move |own| own.start * size..own.end * size)
        };
        let parity = |l: usize, shared: bool| shared.then_some(l % 2);
        let mut velocity = velocity.map(|packed| VelocityBuffers::new(packed));

        let mut layers: Vec<Vec<OwnedLayer<'b, R>>> = (0..workers).map(|_| Vec::new()).collect();
        let mut activations = self.activations.iter_mut();
        let mut slopes = self.slopes.iter_mut();
        let mut errors = self.errors.iter_mut();
        let weights = self
            .weights
            .hidden
            .iter_mut()
            .zip(&mut self.weights.biases)
            .zip(&mut self.sums);
        for (h, ((weights, biases), sums)) in weights.enumerate() {
            let l = h + 1;
            let panels = count::<R>(sizes[l]);
            let size = sizes[h] * p;
            let rows = |values: Option<&'b mut Aligned<R>>, written: Option<usize>| match values {
                Some(values) => {
                    circle.share(&mut values[..], written, parts(panels, panel_rows * p))
                }
                None => circle.share(&mut [][..], written, parts(panels, 0)),
            };
            let own_weights = circle.share(weights, parity(l, h > 0), parts(panels, size));
            let own_biases = circle.share(biases, None, parts(panels, p));
            let own_activations = rows(activations.next(), parity(h, l < hidden));
            let own_slopes = rows(slopes.next(), None);
            let own_errors = rows(errors.next(), parity(l, h > 0));
            let own_sums = circle.share(sums, None, parts(panels, if h == 0 { 0 } else { size }));
            let (own_velocity, own_bias_velocity) = match &mut velocity {
                Some(velocity) => {
                    let (weights, biases) = velocity.next();
                    (
                        optional(circle.share(weights, None, parts(panels, size))),
                        optional(circle.share(biases, None, parts(panels, p))),
                    )
                }
                None => (nothing(workers), nothing(workers)),
            };
            let mut own_weights = own_weights.into_iter();
            let mut own_biases = own_biases.into_iter();
            let mut own_activations = own_activations.into_iter();
            let mut own_slopes = own_slopes.into_iter();
            let mut own_errors = own_errors.into_iter();
            let mut own_sums = own_sums.into_iter();
            let mut own_velocity = own_velocity.into_iter();
            let mut own_bias_velocity = own_bias_velocity.into_iter();
            for (panels, layers) in cut(panels).zip(&mut layers) {
                layers.push(OwnedLayer {
                    panels,
                    weights: take(&mut own_weights),
                    velocity: take(&mut own_velocity),
                    biases: take(&mut own_biases),
                    bias_velocity: take(&mut own_bias_velocity),
                    activations: take(&mut own_activations),
                    slopes: take(&mut own_slopes),
                    errors: take(&mut own_errors),
                    sums: take(&mut own_sums),
                });
            }
        }

        let panels = if hidden > 0 {
            count::<R>(sizes[hidden])
        } else {
            0
        };
        let copies = |size: usize| (0..workers).map(move |w| w * size..(w + 1) * size);
        let mut forward = circle
            .share(&mut self.weights.last, None, parts(panels, strides.blocks))
            .into_iter();
        let mut transposed = circle
            .share(
                &mut self.weights.last_transposed,
                None,
                parts(panels, strides.transposed),
            )
            .into_iter();
        let mut bias = circle
            .share(&mut self.weights.last_bias, None, copies(strides.biases))
            .into_iter();
        let (mut forward_velocity, mut transposed_velocity, mut bias_velocity) = match velocity {
            Some(VelocityBuffers {
                last,
                last_transposed,
                last_bias,
                ..
            }) => (
                optional(circle.share(last, None, parts(panels, strides.blocks))).into_iter(),
                optional(circle.share(last_transposed, None, parts(panels, strides.transposed)))
                    .into_iter(),
                optional(circle.share(last_bias, None, copies(strides.biases))).into_iter(),
            ),
            None => (
                nothing(workers).into_iter(),
                nothing(workers).into_iter(),
                nothing(workers).into_iter(),
            ),
        };
        let [even, odd] = &mut self.shares;
        let (share_panels, share_size) = if hidden > 0 {
            (panels, output_panels * panel_rows * p)
        } else {
            (output_panels, panel_rows * p)
        };
        let mut even = circle
            .share(even, 0, parts(share_panels, share_size))
            .into_iter();
        let mut odd = circle
            .share(odd, 1, parts(share_panels, share_size))
            .into_iter();
        layers
            .into_iter()
            .zip(&mut self.scratch)
            .map(|(layers, scratch)| BackpropWorker {
                layers,
                last: LastLayer {
                    weights: take(&mut forward),
                    velocity: take(&mut forward_velocity),
                    transposed: take(&mut transposed),
                    transposed_velocity: take(&mut transposed_velocity),
                    bias: take(&mut bias),
                    bias_velocity: take(&mut bias_velocity),
                },
                shares: [take(&mut even), take(&mut odd)],
                scratch,
            })
            .collect()
    }
}

/// A velocity's buffers, layer by layer.
struct VelocityBuffers<'b, R> {
    hidden: std::slice::IterMut<'b, Aligned<R>>,
    biases: std::slice::IterMut<'b, Aligned<R>>,
    last: &'b mut Aligned<R>,
    last_transposed: &'b mut Aligned<R>,
    last_bias: &'b mut Aligned<R>,
}

impl<'b, R: Real> VelocityBuffers<'b, R> {
    fn new(packed: &'b mut PackedParameters<R>) -> Self {
        Self {
            hidden: packed.hidden.iter_mut(),
            biases: packed.biases.iter_mut(),
            last: &mut packed.last,
            last_transposed: &mut packed.last_transposed,
            last_bias: &mut packed.last_bias,
        }
    }

    fn next(&mut self) -> (&'b mut [R], &'b mut [R]) {
        (take(&mut self.hidden), take(&mut self.biases))
    }
}

fn optional<'b, R>(parts: Vec<PhasedSlice<'b, R>>) -> Vec<Option<PhasedSlice<'b, R>>> {
    parts.into_iter().map(Some).collect()
}

fn nothing<'b, R>(workers: usize) -> Vec<Option<PhasedSlice<'b, R>>> {
    (0..workers).map(|_| None).collect()
}

fn take<I: Iterator>(parts: &mut I) -> I::Item {
    parts.next().expect("one part a worker, one buffer a layer")
}

impl<R: Real> Descent<R> for Backprop<R> {
    fn load(&mut self, parameters: &Parameters<R>) {
        self.weights.load(parameters);
        self.velocity = None;
    }

    fn store(&mut self, parameters: &mut Parameters<R>) {
        self.weights.store(parameters);
    }

    fn load_velocity(&mut self, velocity: &Parameters<R>) {
        let copies = self.team.threads();
        let layout = &self.network.layout;
        self.velocity
            .get_or_insert_with(|| PackedParameters::zeros(layout, copies))
            .load(velocity);
    }

    fn store_velocity(&mut self, velocity: &mut Parameters<R>) -> bool {
        match &mut self.velocity {
            Some(packed) => {
                packed.store(velocity);
                true
            }
            None => false,
        }
    }

    fn descend(
        &mut self,
        samples: &Samples<R>,
        order: &[u32],
        batch_size: usize,
        rule: Rule<R>,
        workers: usize,
        loss: &mut f64,
        _: &Control,
    ) -> Result<usize, Stopped> {
        if rule.momentum != R::ZERO && self.velocity.is_none() {
            self.velocity = Some(PackedParameters::zeros(
                &self.network.layout,
                self.team.threads(),
            ));
        }
        let mut velocity = self.velocity.take();
        self.scratch[0].loss = *loss;
        *loss = self.walk(samples, order, batch_size, rule, workers, velocity.as_mut());
        self.velocity = velocity;
        Ok(order.len())
    }
}

impl<R: Real> GradientEngine<R> for Backprop<R> {
    fn gradient(
        &mut self,
        parameters: &Parameters<R>,
        batch: Batch<'_, R>,
        gradient: &mut Parameters<R>,
        _: &Control,
    ) -> Result<GradientEvaluation, Stopped> {
        self.weights.load(parameters);
        let mut packed = self
            .gradient
            .take()
            .unwrap_or_else(|| PackedParameters::zeros(&self.network.layout, self.team.threads()));
        packed.clear();
        let rule = Rule::gradient_only(R::from_f64(self.network.l2));
        let rows = batch.rows.len();
        let loss = self.walk(
            batch.samples,
            batch.rows,
            rows,
            rule,
            self.seats.unwrap_or_else(|| self.most_workers()),
            Some(&mut packed),
        );
        packed.store(gradient);
        self.gradient = Some(packed);
        Ok(GradientEvaluation {
            loss: loss / rows as f64,
            tally: self.tally(batch.samples, batch.rows),
        })
    }

    fn tally(&self, samples: &Samples<R>, rows: &[u32]) -> Tally {
        match self.increment {
            None => of_gradient(&self.network, samples, rows),
            Some(_) => of_numeric_gradient(&self.network, samples, rows),
        }
    }

    fn most_workers(&self) -> usize {
        // Panels of the widest layer.
        let sizes = self.network.layout.sizes();
        let owned = owned_layers(&self.network.layout);
        let most = (1..=owned).map(|layer| count::<R>(sizes[layer])).max();
        most.unwrap_or(1).min(self.team.threads())
    }

    fn limit_workers(&mut self, workers: usize) {
        assert!((1..=self.team.threads()).contains(&workers));
        self.seats = Some(workers);
    }
}
