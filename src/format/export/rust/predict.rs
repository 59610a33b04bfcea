//! The function that answers, in Rust.

use super::Rust;
use crate::format::export::contents::OutputRule;
use crate::format::export::literals::{comment, decimal};
use crate::format::export::weights::{StoredLayer, StoredWeights};

impl Rust<'_> {
    /// Writes the documentation of the function.
    fn documentation(&self) -> String {
        let contents = self.contents;
        let mut text = format!(
            "/// Answers a row of features, as they are measured: {} receives {}.\n",
            match self.contents.outputs.argument() {
                "targets" => "`targets`",
                "outputs" => "`outputs`",
                _ => "`probabilities`",
            },
            contents.outputs.meaning()
        );
        text += match contents.outputs.units {
            Some(_) => "/// Returns 0",
            None => "/// Returns the index of the most likely class",
        };
        text += ", or `None` if a feature is NaN";
        if !contents.needs_encoding() {
            return text + ".\n";
        }
        text += " and cannot be filled in, or\n/// is no category.\n///\n/// Features:\n";
        for (index, feature) in contents.features.iter().enumerate() {
            text += &format!(
                "/// - `{}`",
                comment(&contents.feature_name(index)).replace('`', "'")
            );
            if feature.categories.is_some() {
                text += &format!(": the index of its category in `CATEGORIES[{index}]`");
            }
            if feature.fill.is_some() {
                text += "; NaN if it is missing";
            }
            text.push('\n');
        }
        text
    }

    /// Writes the function.
    pub(super) fn predict(&self) -> String {
        let Self { contents, real, .. } = self;
        let last = contents.layers.len() - 1;
        let mut text = self.documentation();
        text += &format!(
            "pub fn nplus1_predict(\n    features: &[{real}; FEATURES],\n    {}: &mut [{real}; \
             OUTPUTS],\n) -> Option<usize> {{\n",
            self.contents.outputs.argument()
        );
        if contents.needs_encoding() {
            text += &self.encoding();
        }
        for (index, layer) in contents.layers.iter().enumerate() {
            text += &self.pass(index, layer);
            if index < last {
                text += &format!(
                    "    for z in &mut a{index} {{\n        *z = 1.0 / (1.0 + \
                     exponential(-*z));\n    }}\n"
                );
            }
        }
        text += &format!("    if a{last}[0].is_nan() {{\n        return None;\n    }}\n");
        text + &self.finish(last) + "}\n"
    }

    /// Turns features into inputs: categories become 1 and 0, missing values are filled in.
    fn encoding(&self) -> String {
        let inputs = self.contents.inputs();
        let mut text = format!("    let mut inputs = [0.0f64; {inputs}];\n");
        let wide = |index: usize| match self.contents.is_single {
            true => format!("f64::from(features[{index}])"),
            false => format!("features[{index}]"),
        };
        let mut start = 0;
        for (index, feature) in self.contents.features.iter().enumerate() {
            let missing = format!("features[{index}].is_nan()");
            match (feature.categories, feature.fill) {
                (None, None) => text += &format!("    inputs[{start}] = {};\n", wide(index)),
                (None, Some(fill)) => {
                    text += &format!(
                        "    inputs[{start}] = if {missing} {{ {} }} else {{ {} }};\n",
                        decimal(fill, false),
                        wide(index)
                    );
                }
                (Some(categories), fill) => {
                    text += &match fill {
                        Some(fill) => format!(
                            "    let category = if {missing} {{ {fill:?} }} else {{ \
                             features[{index}] }};\n"
                        ),
                        None => format!(
                            "    let category = features[{index}];\n    if category.is_nan() {{\n        \
                             return None;\n    }}\n"
                        ),
                    };
                    let refused = match self.contents.refuses_unknown() {
                        true => " else {\n        return None;\n    }\n",
                        false => "\n",
                    };
                    let place = match start {
                        0 => String::new(),
                        _ => format!("{start} + "),
                    };
                    text += &format!(
                        "    if (0.0..{}.0).contains(&category) {{\n        \
                         inputs[{place}category as usize] = 1.0;\n    }}{refused}",
                        categories.len()
                    );
                }
            }
            start += feature.categories.map_or(1, <[String]>::len);
        }
        text
    }

    /// Adds the products of a layer, input by input.
    fn pass(&self, index: usize, layer: &StoredLayer) -> String {
        let (real, fan_out) = (self.real, layer.fan_out);
        let is_bytes = matches!(layer.weights, StoredWeights::Bytes { .. });
        let start = match layer.biases.is_empty() || is_bytes {
            true => format!("[0.0{real}; {fan_out}]"),
            false => format!("BIAS_{index}"),
        };
        let (pairs, input) = match index {
            0 => self.input(),
            _ => (
                format!(
                    "for (&x, weights) in a{}.iter().zip(&WEIGHT_{index})",
                    index - 1
                ),
                String::new(),
            ),
        };
        let weight = match &layer.weights {
            StoredWeights::Full(_) => "weight",
            StoredWeights::Halves(_) => "half(weight)",
            StoredWeights::Bytes { .. } => "f32::from(weight)",
        };
        let mut text = format!(
            "    let mut a{index} = {start};\n    {pairs} {{\n{input}        \
             for (z, &weight) in a{index}.iter_mut().zip(weights) {{\n            \
             *z += {weight} * x;\n        }}\n    }}\n"
        );
        if is_bytes {
            text += &match layer.biases.is_empty() {
                true => format!(
                    "    for (z, step) in a{index}.iter_mut().zip(&STEP_{index}) {{\n        \
                     *z *= step;\n    }}\n"
                ),
                false => format!(
                    "    for ((z, step), bias) in a{index}.iter_mut().zip(&STEP_{index})\
                     .zip(&BIAS_{index}) {{\n        *z = *z * step + bias;\n    }}\n"
                ),
            };
        }
        text
    }

    /// Spells the loop over the inputs and the declaration of `x`, the scaled input, computed in
    /// double precision and rounded once. Zeros that stay zeros are left out before they are scaled.
    fn input(&self) -> (String, String) {
        let scaling = &self.contents.model.scaling;
        let is_single = self.contents.is_single;
        let source = match self.contents.needs_encoding() {
            true => "inputs",
            false => "features",
        };
        // The inputs are in double precision already.
        let feature = match is_single && source == "features" {
            true => "f64::from(feature)",
            false => "feature",
        };
        let (keeps_zero, uniform) = (scaling.keeps_zero(), scaling.uniform_divisor());
        let difference = format!("{feature} - OFFSET[input]");
        let scaled = match (keeps_zero, uniform) {
            (true, Some(1.0)) => feature.to_owned(),
            (true, Some(divisor)) => format!("{feature} / {}", decimal(divisor, false)),
            (true, None) => format!("{feature} / DIVISOR[input]"),
            (false, Some(1.0)) => difference,
            (false, Some(divisor)) => format!("({difference}) / {}", decimal(divisor, false)),
            (false, None) => format!("({difference}) / DIVISOR[input]"),
        };
        let x = match scaled.as_str() {
            "f64::from(feature)" => "feature".to_owned(),
            "feature" if is_single => "feature as f32".to_owned(),
            _ if is_single => format!("({scaled}) as f32"),
            _ => scaled,
        };
        let zero = match keeps_zero {
            true => "        if feature == 0.0 {\n            continue;\n        }\n",
            false => "",
        };
        let pairs = match keeps_zero && uniform.is_some() {
            true => format!("for (&feature, weights) in {source}.iter().zip(&WEIGHT_0)"),
            false => format!(
                "for (input, (&feature, weights)) in {source}.iter().zip(&WEIGHT_0).enumerate()"
            ),
        };
        (pairs, format!("{zero}        let x = {x};\n"))
    }

    /// Turns the last layer's numbers into the answer.
    fn finish(&self, last: usize) -> String {
        let outputs = &self.contents.outputs;
        if let Some(units) = &outputs.units {
            let each = units.mean.iter().zip(units.scale).enumerate();
            let each = each.map(|(at, (&mean, &scale))| {
                let (scale, mean) = (decimal(scale, false), decimal(mean, false));
                match self.contents.is_single {
                    true => format!(
                        "    targets[{at}] = (f64::from(a{last}[{at}]) * {scale} + {mean}) as f32;\n"
                    ),
                    false => format!("    targets[{at}] = a{last}[{at}] * {scale} + {mean};\n"),
                }
            });
            return each.collect::<String>() + "    Some(0)\n";
        }
        let text = match outputs.rule {
            OutputRule::Logistic => LOGISTIC,
            OutputRule::Softmax => SOFTMAX,
            OutputRule::Shares => SHARES,
            OutputRule::Plain => PLAIN,
        };
        text.replace("LAST", &format!("a{last}"))
    }

    /// Writes the functions that the prediction calls.
    pub(super) fn functions(&self) -> String {
        let mut text = String::new();
        if matches!(self.contents.layers[0].weights, StoredWeights::Halves(_)) {
            text += HALF;
        }
        let last_is_plain = matches!(self.contents.outputs.rule, OutputRule::Plain);
        if last_is_plain && self.contents.layers.len() == 1 {
            return text;
        }
        text + &EXPONENTIAL.replace("REAL", self.real)
    }
}

const HALF: &str = "
/// Returns the number whose half precision (IEEE 754 binary16) is `bits`.
fn half(bits: u16) -> f32 {
    let moved = u32::from(bits & 0x8000) << 16 | u32::from(bits & 0x7fff) << 13;
    // 2^112: from binary32's bias to binary16's.
    f32::from_bits(moved) * 5.192_297e33
}
";

const EXPONENTIAL: &str = "
fn exponential(x: REAL) -> REAL {
    x.exp()
}
";

const SOFTMAX: &str = "    let mut best = 0;
    for (class, &z) in LAST.iter().enumerate() {
        if z > LAST[best] {
            best = class;
        }
    }
    let mut sum = 0.0;
    for (share, &z) in probabilities.iter_mut().zip(&LAST) {
        *share = exponential(z - LAST[best]);
        sum += *share;
    }
    for share in probabilities {
        *share /= sum;
    }
    Some(best)
";

const SHARES: &str = "    let mut best = 0;
    for (class, &z) in LAST.iter().enumerate() {
        if z > LAST[best] {
            best = class;
        }
    }
    // Each sigmoid over their sum; both times exp(-top), so that no sum is 0.
    let top = LAST[best].min(0.0);
    let mut sum = 0.0;
    for (share, &z) in probabilities.iter_mut().zip(&LAST) {
        *share = exponential(z.min(0.0) - top) / (1.0 + exponential(-z.abs()));
        sum += *share;
    }
    for share in probabilities {
        *share /= sum;
    }
    Some(best)
";

const LOGISTIC: &str = "    let t = exponential(-LAST[0].abs());
    let class = usize::from(LAST[0] > 0.0);
    probabilities[class] = 1.0 / (1.0 + t);
    probabilities[1 - class] = t / (1.0 + t);
    Some(class)
";

const PLAIN: &str = "    let mut best = 0;
    for (class, &z) in LAST.iter().enumerate() {
        if z > LAST[best] {
            best = class;
        }
    }
    *outputs = LAST;
    Some(best)
";
