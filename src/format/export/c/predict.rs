//! The function that answers, in C.

use super::C;
use crate::format::export::contents::OutputRule;
use crate::format::export::literals::decimal;
use crate::format::export::weights::{StoredLayer, StoredWeights};

impl C<'_> {
    /// Writes the functions that the prediction calls.
    pub(super) fn functions(&self) -> String {
        let mut text = String::new();
        let layers = &self.contents.layers;
        if matches!(layers[0].weights, StoredWeights::Halves(_)) {
            text += HALF;
        }
        if !self.contents.has_text() {
            return text;
        }
        text += &CATEGORY_AT.replace("REAL", self.real);
        text += "\n/* Returns the number of the category `name` of a feature, or -1. */\n\
                 int nplus1_category(int feature, const char *name)\n{\n    int i;\n\n    \
                 switch (feature) {\n";
        for (index, feature) in self.contents.features.iter().enumerate() {
            if let Some(categories) = feature.categories {
                text += &format!(
                    "    case {index}:\n        for (i = 0; i < {}; i++) {{\n            \
                     if (strcmp(name, categories_{index}[i]) == 0)\n                \
                     return i;\n        }}\n        break;\n",
                    categories.len()
                );
            }
        }
        text + "    }\n    return -1;\n}\n"
    }

    /// Writes the function that answers.
    pub(super) fn predict(&self) -> String {
        let Self { contents, real, .. } = self;
        let last = contents.layers.len() - 1;
        let mut text = format!(
            "\nint nplus1_predict(const {real} *features, {real} *{})\n{{\n",
            self.contents.outputs.argument()
        );
        if contents.needs_encoding() {
            text += &format!("    double inputs[{}];\n", contents.inputs());
        }
        for (index, layer) in contents.layers.iter().enumerate() {
            text += &format!("    {real} a{index}[{}];\n", layer.fan_out);
        }
        text += "    int i, j;\n";
        if contents.needs_encoding() {
            text += &self.encoding();
        }
        for (index, layer) in contents.layers.iter().enumerate() {
            text += &self.pass(index, layer);
            if index < last {
                text += &format!(
                    "    for (j = 0; j < {}; j++)\n        a{index}[j] = 1.0{suffix} / \
                     (1.0{suffix} + exp{suffix}(-a{index}[j]));\n",
                    layer.fan_out,
                    suffix = self.suffix
                );
            }
        }
        text += &format!("\n    if (a{last}[0] != a{last}[0])\n        return -1;\n");
        text + &self.finish(last) + "}\n"
    }

    /// Turns features into inputs: categories become 1 and 0, missing values are filled in.
    fn encoding(&self) -> String {
        let mut text = match self.contents.has_text() {
            true => "    int category;\n\n".to_owned(),
            false => "\n".to_owned(),
        };
        let mut start = 0;
        for (index, feature) in self.contents.features.iter().enumerate() {
            let missing = format!("features[{index}] != features[{index}]");
            match (feature.categories, feature.fill) {
                (None, None) => text += &format!("    inputs[{start}] = features[{index}];\n"),
                (None, Some(fill)) => {
                    text += &format!(
                        "    inputs[{start}] = {missing} ? {} : features[{index}];\n",
                        decimal(fill, false)
                    );
                }
                (Some(categories), fill) => {
                    let count = categories.len();
                    text += &match fill {
                        Some(fill) => format!("    category = {missing} ? {fill} : "),
                        None => format!("    if ({missing})\n        return -1;\n    category = "),
                    };
                    text += &format!("category_at(features[{index}], {count});\n");
                    if self.contents.refuses_unknown() {
                        text += "    if (category < 0)\n        return -1;\n";
                    }
                    text += &format!(
                        "    for (i = 0; i < {count}; i++)\n        \
                         inputs[{start} + i] = i == category;\n"
                    );
                }
            }
            start += feature.categories.map_or(1, <[String]>::len);
        }
        text
    }

    /// Adds the products of a layer, input by input.
    fn pass(&self, index: usize, layer: &StoredLayer) -> String {
        let Self { real, suffix, .. } = self;
        let (fan_in, fan_out) = (layer.fan_in, layer.fan_out);
        let is_bytes = matches!(layer.weights, StoredWeights::Bytes { .. });
        let start = match layer.biases.is_empty() || is_bytes {
            true => format!("0.0{suffix}"),
            false => format!("bias_{index}[j]"),
        };
        let input = match index {
            0 => self.input(),
            _ => format!("        const {real} x = a{}[i];\n\n", index - 1),
        };
        let weight = match &layer.weights {
            StoredWeights::Halves(_) => format!("half(weight_{index}[i][j])"),
            _ => format!("weight_{index}[i][j]"),
        };
        let mut text = format!(
            "\n    for (j = 0; j < {fan_out}; j++)\n        a{index}[j] = {start};\n    \
             for (i = 0; i < {fan_in}; i++) {{\n{input}        \
             for (j = 0; j < {fan_out}; j++)\n            a{index}[j] += {weight} * x;\n    }}\n",
        );
        if is_bytes {
            let bias = match layer.biases.is_empty() {
                true => String::new(),
                false => format!(" + bias_{index}[j]"),
            };
            text += &format!(
                "    for (j = 0; j < {fan_out}; j++)\n        \
                 a{index}[j] = a{index}[j] * step_{index}[j]{bias};\n"
            );
        }
        text
    }

    /// Declares `x`, the scaled input `i`, computed in double precision and rounded once. Zeros that
    /// stay zeros are left out before they are scaled.
    fn input(&self) -> String {
        let real = self.real;
        let scaling = &self.contents.model.scaling;
        let input = match self.contents.needs_encoding() {
            true => "inputs[i]",
            false => "features[i]",
        };
        let (zero, shifted) = match scaling.keeps_zero() {
            true => (
                format!("        if ({input} == 0)\n            continue;\n"),
                input.to_owned(),
            ),
            false => (String::new(), format!("({input} - offset[i])")),
        };
        let scaled = match scaling.uniform_divisor() {
            Some(1.0) => shifted,
            Some(divisor) => format!("({shifted} / {})", decimal(divisor, false)),
            None => format!("({shifted} / divisor[i])"),
        };
        format!("{zero}        const {real} x = ({real}){scaled};\n\n")
    }

    /// Turns the last layer's numbers into the answer.
    fn finish(&self, last: usize) -> String {
        let outputs = &self.contents.outputs;
        let (count, answer) = (outputs.count(), outputs.argument());
        let (real, suffix) = (self.real, self.suffix);
        if let Some(units) = &outputs.units {
            let each = units.mean.iter().zip(units.scale).enumerate();
            let each = each.map(|(at, (&mean, &scale))| {
                format!(
                    "    targets[{at}] = ({real})(a{last}[{at}] * {} + {});\n",
                    decimal(scale, false),
                    decimal(mean, false)
                )
            });
            return each.collect::<String>() + "    return 0;\n";
        }
        let text = match outputs.rule {
            OutputRule::Logistic => LOGISTIC,
            OutputRule::Softmax => SOFTMAX,
            OutputRule::Shares => SHARES,
            OutputRule::Plain => PLAIN,
        };
        text.replace("REAL", real)
            .replace("SUFFIX", suffix)
            .replace("COUNT", &count.to_string())
            .replace("ANSWER", answer)
            .replace("LAST", &format!("a{last}"))
    }
}

const HALF: &str = "
/* Returns the number whose half precision (IEEE 754 binary16) is `bits`. */
static float half(uint16_t bits)
{
    const uint32_t moved = ((uint32_t)(bits & 0x8000u) << 16) | ((uint32_t)(bits & 0x7fffu) << 13);
    float number;

    memcpy(&number, &moved, sizeof number);
    return number * 5.192296858534828e+33f; /* 2^112: from binary32's bias to binary16's */
}
";

const CATEGORY_AT: &str = "
/* Returns the number of a category, or -1 if there is none at `number`. */
static int category_at(REAL number, int count)
{
    return number >= 0 && number < (REAL)count ? (int)number : -1;
}
";

const SOFTMAX: &str = "    i = 0;
    for (j = 1; j < COUNT; j++) {
        if (LAST[j] > LAST[i])
            i = j;
    }
    {
        REAL sum = 0.0SUFFIX;

        for (j = 0; j < COUNT; j++) {
            ANSWER[j] = expSUFFIX(LAST[j] - LAST[i]);
            sum += ANSWER[j];
        }
        for (j = 0; j < COUNT; j++)
            ANSWER[j] /= sum;
    }
    return i;
";

const SHARES: &str = "    i = 0;
    for (j = 1; j < COUNT; j++) {
        if (LAST[j] > LAST[i])
            i = j;
    }
    {
        /* Each sigmoid over their sum; both times exp(-top), so that no sum is 0. */
        const REAL top = LAST[i] < 0.0SUFFIX ? LAST[i] : 0.0SUFFIX;
        REAL sum = 0.0SUFFIX;

        for (j = 0; j < COUNT; j++) {
            const REAL z = LAST[j];

            ANSWER[j] = expSUFFIX((z < 0.0SUFFIX ? z : 0.0SUFFIX) - top)
                        / (1.0SUFFIX + expSUFFIX(-fabsSUFFIX(z)));
            sum += ANSWER[j];
        }
        for (j = 0; j < COUNT; j++)
            ANSWER[j] /= sum;
    }
    return i;
";

const LOGISTIC: &str = "    {
        const REAL t = expSUFFIX(-fabsSUFFIX(LAST[0]));

        j = LAST[0] > 0.0SUFFIX;
        ANSWER[j] = 1.0SUFFIX / (1.0SUFFIX + t);
        ANSWER[1 - j] = t / (1.0SUFFIX + t);
    }
    return j;
";

const PLAIN: &str = "    i = 0;
    for (j = 0; j < COUNT; j++) {
        ANSWER[j] = LAST[j];
        if (LAST[j] > LAST[i])
            i = j;
    }
    return i;
";
