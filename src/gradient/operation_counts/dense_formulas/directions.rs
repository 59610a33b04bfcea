//! Plain counts of directional derivatives: forward mode by Jacobian-vector products, forward
//! gradients, SPSA.

use super::NetworkSums;
use crate::gradient::finite_difference::Reuse;
use crate::numeric::tally::Tally;

impl NetworkSums {
    /// Returns the operations of one row's pass at θ from which tangents start: the loss, δ of the
    /// outputs, σ′ = a·(1 − a) of the hidden units.
    pub(super) fn tangent_base(&self) -> Tally {
        self.activations_from(1)
            + self.loss()
            + self.errors()
            + self.factors(1 + self.outputs())
            + Tally::fused(self.hidden())
    }

    /// Returns the operations of one row's tangent from layer `first` on, without what the layers
    /// contribute themselves: W·ȧ, σ′·ż, Σ δ·ż.
    fn tangent(&self, first: usize) -> Tally {
        let n = self.outputs();
        self.products(first + 1)
            + Tally::multiplications(self.units_from(first) - n)
            + Tally::multiplications(n)
            + Tally::additions(n - 1)
    }

    /// Returns the operations of V·a + c of layers `first` … `last`.
    fn own(&self, first: usize, last: usize) -> Tally {
        let layers = || first..=last;
        let products: u64 = layers().map(|l| self.n[l] * self.n[l - 1]).sum();
        let units: u64 = layers().map(|l| self.n[l]).sum();
        let biases = if self.bias { units } else { 0 };
        Tally::multiplications(products) + Tally::additions(products - units + biases)
    }

    /// Returns the operations of adding what layers from 2 on contribute themselves to W·ȧ.
    fn joined(&self) -> Tally {
        Tally::additions(self.units_from(2))
    }

    /// Returns the operations of forward mode: N tangents through all layers, or from the layer of
    /// the parameter on, where only that layer contributes. In the first layer both are the same
    /// passes: the zeros of the direction are multiplied.
    pub(super) fn forward_mode(&self, reuse: Reuse, rows: u64) -> Tally {
        let last = self.layers();
        let whole = self.tangent(1) + self.own(1, last) + self.joined();
        let mut tally = self.tangent_base() * rows;
        for l in 1..=last {
            let row = match reuse {
                Reuse::Full => whole,
                _ if l == 1 => whole,
                _ => self.tangent(l) + self.own(l, l),
            };
            // The sum over the rows, times 1/B.
            let partial = row * rows + Tally::additions(rows - 1) + Tally::multiplications(1);
            tally += partial * self.parameters_of(l);
        }
        (tally.evaluations, tally.jacobian_vector_products) = (1, self.parameters);
        tally
    }

    /// Returns the operations of the average of K estimates of `components` numbers: times v, their
    /// sum.
    fn estimates(&self, directions: u64, components: u64) -> Tally {
        Tally::multiplications(directions * components)
            + Tally::additions((directions - 1) * components)
    }

    /// Returns the operations of a forward gradient along `directions` directions of θ; 1/B and
    /// 1/K are one constant.
    pub(super) fn forward_gradient(&self, directions: u64, rows: u64) -> Tally {
        let tangent = self.tangent(1) + self.own(1, self.layers()) + self.joined();
        let rate = tangent * rows + Tally::additions(rows - 1) + Tally::multiplications(1);
        let mut tally = self.tangent_base() * rows
            + rate * directions
            + self.estimates(directions, self.parameters);
        (tally.evaluations, tally.jacobian_vector_products) = (1, directions);
        tally
    }

    /// Returns the operations of a forward gradient along directions of the pre-activations: δ of
    /// every unit is estimated in each row, and multiplied by the unit's inputs.
    pub(super) fn activity_forward_gradient(&self, directions: u64, rows: u64) -> Tally {
        let rate = self.tangent(1) + self.joined() + Tally::multiplications(1);
        let row = self.tangent_base()
            + rate * directions
            + self.estimates(directions, self.units)
            + Tally::multiplications(self.weights);
        let mut tally = row * rows + self.sums_over(rows);
        (tally.evaluations, tally.jacobian_vector_products) = (1, directions);
        tally
    }

    /// Returns the operations of SPSA: per direction h·v, θ ± h·v, two losses, the quotient, whose
    /// factor 1/2hK is one constant.
    pub(super) fn spsa(&self, directions: u64, rows: u64) -> Tally {
        let n = self.parameters;
        let points = Tally::multiplications(n) + Tally::additions(2 * n);
        let quotient = Tally::additions(1) + Tally::multiplications(1);
        let direction = points + self.evaluation_from(1, rows) * 2 + quotient;
        let mut tally = direction * directions + self.estimates(directions, n);
        tally.evaluations = 2 * directions;
        tally
    }
}
