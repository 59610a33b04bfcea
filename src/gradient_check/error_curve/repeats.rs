//! Equal numbers in a mini-batch. They round alike, so their errors add up instead of averaging out.

use std::collections::HashMap;
use std::hash::Hash;

use crate::gradient_check::sample_pass::SamplePass;

/// How often the numbers of one sample occur.
pub(super) struct Repeats {
    /// Rows whose activations equal this row's in a layer, this row included: the most of any
    /// layer.
    pub rows: f64,
    /// Units of each hidden layer with the same activation, for every unit.
    units: Vec<Vec<f64>>,
}

impl Repeats {
    /// Counts equal numbers, all rounded to single precision, in every row.
    pub(super) fn of(passes: &[SamplePass]) -> Vec<Self> {
        let single = |pass: &SamplePass, layer: usize| -> Vec<u32> {
            let activations = pass.a[layer].iter();
            activations.map(|&a| (a as f32).to_bits()).collect()
        };
        let layers = passes.first().map_or(0, |pass| pass.a.len());
        let mut rows = vec![1.0; passes.len()];
        for layer in 0..layers {
            let layers = passes
                .iter()
                .map(|pass| single(pass, layer))
                .collect::<Vec<_>>();
            for (most, count) in rows.iter_mut().zip(counts(&layers)) {
                *most = count.max(*most);
            }
        }
        let rows = rows.into_iter().zip(passes);
        rows.map(|(rows, pass)| Self {
            rows,
            units: (1..layers)
                .map(|layer| counts(&single(pass, layer)))
                .collect(),
        })
        .collect()
    }

    /// Returns how many units that layer `layer` reads equal unit `unit`; 1 for inputs and outputs.
    pub(super) fn units(&self, layer: usize, unit: usize) -> f64 {
        match layer
            .checked_sub(1)
            .and_then(|hidden| self.units.get(hidden))
        {
            Some(units) => units[unit],
            None => 1.0,
        }
    }

    /// Returns the largest number of equal units of any layer.
    pub(super) fn most_units(&self) -> f64 {
        self.units.iter().flatten().copied().fold(1.0, f64::max)
    }
}

/// Returns how often each value occurs among `values`.
fn counts<T: Eq + Hash>(values: &[T]) -> Vec<f64> {
    let mut counts: HashMap<&T, f64> = HashMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1.0;
    }
    values.iter().map(|value| counts[value]).collect()
}
