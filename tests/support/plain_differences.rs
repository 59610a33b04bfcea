//! Finite differences as a textbook has them: whole passes, and the incremental idea without any
//! short cut of the kernels. Quadratic loss of sigmoid outputs, biases, one increment h for all.

use super::number::{Number, sum};
use super::reference::{Net, Sample, sigmoid};

impl Net {
    /// (L(θ + h·eᵢ) − L(θ))/h, N + 1 passes.
    pub fn forward_differences<N: Number>(&self, theta: &[N], batch: &[Sample], h: f64) -> Vec<N> {
        let base = self.loss(theta, batch);
        let mut theta = theta.to_vec();
        let partial = |index: usize| {
            let at = theta[index];
            theta[index] = at + N::of(h);
            let change = self.loss(&theta, batch) - base;
            theta[index] = at;
            change * N::of(1.0 / h)
        };
        (0..self.parameters()).map(partial).collect()
    }

    /// (L(θ + h·eᵢ) − L(θ − h·eᵢ))/2h, 2N passes.
    pub fn central_differences<N: Number>(&self, theta: &[N], batch: &[Sample], h: f64) -> Vec<N> {
        let mut theta = theta.to_vec();
        let partial = |index: usize| {
            let at = theta[index];
            theta[index] = at + N::of(h);
            let above = self.loss(&theta, batch);
            theta[index] = at - N::of(h);
            let change = above - self.loss(&theta, batch);
            theta[index] = at;
            change * N::of(0.5 / h)
        };
        (0..self.parameters()).map(partial).collect()
    }

    /// The forward differences again, each from what it changes: its unit, a rank-1 update of the
    /// next layer, full passes after it. Squared errors are compared; ½, 1/B and 1/h come last.
    pub fn incremental_differences<N: Number>(
        &self,
        theta: &[N],
        batch: &[Sample],
        h: f64,
    ) -> Vec<N> {
        let mut rows = batch.iter().map(|row| self.changes(theta, row, h));
        let mut sums = rows.next().expect("a batch has a row");
        for row in rows {
            for (total, change) in sums.iter_mut().zip(row) {
                *total = *total + change;
            }
        }
        let scale = N::of(0.5 / batch.len() as f64 / h);
        sums.into_iter().map(|total| total * scale).collect()
    }

    /// The change of one sample's Σ r² by each parameter.
    fn changes<N: Number>(&self, theta: &[N], (inputs, label): &Sample, h: f64) -> Vec<N> {
        let target = |k: usize| N::of(f64::from(k == usize::from(*label)));
        let square = |r: N| r * r;
        let mut a = vec![inputs.iter().map(|&x| N::of(x)).collect::<Vec<N>>()];
        let mut z = vec![Vec::new()];
        for l in 1..=self.layers() {
            z.push(self.pre_activations(l, theta, &a[l - 1]));
            a.push(z[l].iter().map(|&z| sigmoid(z)).collect());
        }
        let outputs = &a[self.layers()];
        let squares: Vec<N> = (0..outputs.len())
            .map(|k| square(outputs[k] - target(k)))
            .collect();
        let base = sum(squares.iter().copied());
        let mut changes = theta.to_vec();
        for l in 1..=self.layers() {
            // Δz = h·a, the same for every unit; a bias moves z by h.
            let mut moves: Vec<N> = a[l - 1].iter().map(|&a| N::of(h) * a).collect();
            moves.push(N::of(h));
            for j in 0..self.sizes[l] {
                for (i, &dz) in moves.iter().enumerate() {
                    let next = sigmoid(z[l][j] + dz);
                    let change = if l == self.layers() {
                        square(next - target(j)) - squares[j]
                    } else {
                        let change = next - a[l][j];
                        let fan_in = self.sizes[l];
                        let weight = |k: usize| theta[self.weights(l + 1).start + k * fan_in + j];
                        let mut y: Vec<N> = (0..self.sizes[l + 1])
                            .map(|k| sigmoid(z[l + 1][k] + weight(k) * change))
                            .collect();
                        for m in l + 2..=self.layers() {
                            let z = self.pre_activations(m, theta, &y);
                            y = z.into_iter().map(sigmoid).collect();
                        }
                        sum((0..y.len()).map(|k| square(y[k] - target(k)))) - base
                    };
                    let index = match i < self.sizes[l - 1] {
                        true => self.weights(l).start + j * self.sizes[l - 1] + i,
                        false => self.biases(l).start + j,
                    };
                    changes[index] = change;
                }
            }
        }
        changes
    }
}
