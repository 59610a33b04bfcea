//! One file of C99: constant arrays and a function, no allocation, nothing but the standard library.
//!
//! Weights are stored by input, `(fan_in, fan_out)`, so that the inner loop runs over neighboring
//! numbers and an input of 0 is left out at once.

mod predict;

use super::contents::Contents;
use super::literals::{c_text, comment, decimal, lines};
use super::self_test::SelfTest;
use super::weights::{StoredLayer, StoredWeights};
use crate::error::InputError;

/// The longest string that C99 promises to accept, in bytes (5.2.4.1).
const LONGEST_TEXT: usize = 4095;

/// Returns the source text.
///
/// # Errors
/// A name that is too long for a string of C99.
pub(super) fn source(contents: &Contents, test: &SelfTest) -> Result<String, InputError> {
    check_names(contents)?;
    let c = C {
        contents,
        real: if contents.is_single {
            "float"
        } else {
            "double"
        },
        suffix: if contents.is_single { "f" } else { "" },
    };
    Ok([
        c.introduction(),
        c.declarations(),
        c.names(),
        c.scaling(),
        c.layers(),
        c.functions(),
        c.predict(),
        c.self_test(test),
    ]
    .concat())
}

fn check_names(contents: &Contents) -> Result<(), InputError> {
    let features = contents.features.iter();
    let categories = features
        .clone()
        .flat_map(|feature| feature.categories.unwrap_or_default());
    let names = features.filter_map(|feature| feature.name);
    let mut all = names
        .chain(categories.map(String::as_str))
        .chain(contents.outputs.names.iter().copied());
    match all.find(|name| name.len() > LONGEST_TEXT) {
        None => Ok(()),
        Some(name) => Err(InputError::Conflict(format!(
            "a name of {} bytes, but a string of C99 has at most {LONGEST_TEXT}: `{}…`",
            name.len(),
            comment(&name.chars().take(40).collect::<String>())
        ))),
    }
}

/// The writer of one file.
struct C<'a> {
    contents: &'a Contents<'a>,
    /// The type in which the file computes.
    real: &'static str,
    /// The suffix of its numbers and functions.
    suffix: &'static str,
}

impl C<'_> {
    fn number(&self, number: f64) -> String {
        decimal(number, self.contents.is_single) + self.suffix
    }

    /// Spells an array.
    fn vector(head: &str, items: impl Iterator<Item = String>) -> String {
        format!("{head} = {{\n{}\n}};\n", lines(items, "    "))
    }

    /// Spells an array of rows.
    fn rows(head: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
        let row = |row: Vec<String>| {
            let row = lines(row, "     ");
            format!("    {{{}}},\n", row.trim_start().trim_end_matches(','))
        };
        format!("{head} = {{\n{}}};\n", rows.map(row).collect::<String>())
    }

    /// Writes the comment at the top.
    fn introduction(&self) -> String {
        let Self { contents, real, .. } = self;
        let outputs = &contents.outputs;
        let mut text = format!(
            "/* {}: a network of {} units, trained by nplus1 {}.\n *\n",
            comment(&contents.model.name),
            contents.sizes(),
            env!("CARGO_PKG_VERSION"),
        );
        text += &format!(
            " *     int nplus1_predict(const {real} *features, {real} *{});\n *\n",
            outputs.argument()
        );
        text += &format!(
            " * features[{}], as they are measured",
            contents.features.len()
        );
        text += &self.described_features();
        text += &format!(
            " * {}[{}] receives {}:\n",
            outputs.argument(),
            outputs.count(),
            outputs.meaning()
        );
        for (index, name) in outputs.names.iter().enumerate() {
            text += &format!(" *     {index}  {}\n", comment(name));
        }
        text += match outputs.units {
            Some(_) => " * The function returns 0",
            None => " * The function returns the index of the most likely class",
        };
        text += if contents.needs_encoding() {
            ",\n * or -1 if a feature is no category, or NaN without a value to fill in.\n"
        } else {
            ", or -1 if a feature is NaN.\n"
        };
        text + " *\n * Compile this file with your program and declare the function there, or #include it; link\n \
             * with -lm. It needs C99 and IEEE 754 numbers, allocates nothing and keeps no state.\n \
             * Its test:\n \
             *     cc -std=c99 -O2 -DNPLUS1_SELF_TEST FILE.c -o self-test -lm && ./self-test\n \
             */\n"
    }

    fn described_features(&self) -> String {
        let contents = self.contents;
        if contents
            .features
            .iter()
            .all(|feature| feature.name.is_none())
        {
            let image = contents.model.schema.image;
            let image = image.map(|(height, width)| {
                format!(": the pixels of an image of {height} rows and {width} columns")
            });
            return format!(
                "{}; the model knows no names.\n",
                image.unwrap_or_else(|| ", numbered from 0".to_owned())
            );
        }
        let mut text = ":\n".to_owned();
        for (index, feature) in contents.features.iter().enumerate() {
            text += &format!(" *     {index}  {}", comment(&contents.feature_name(index)));
            if let Some(categories) = feature.categories {
                let shown = categories.iter().enumerate();
                let shown = shown.map(|(code, name)| format!("{code} {}", comment(name)));
                text += &format!(": {}", shown.collect::<Vec<_>>().join(", "));
            }
            if feature.fill.is_some() {
                text += "; NaN: missing";
            }
            text.push('\n');
        }
        if contents.features.iter().any(|f| f.categories.is_some()) {
            text += if contents.refuses_unknown() {
                " * nplus1_category(feature, name) returns the number of a category, or -1.\n"
            } else {
                " * nplus1_category(feature, name) returns the number of a category, or -1, which is \
                 allowed.\n"
            };
        }
        text
    }

    fn declarations(&self) -> String {
        let contents = self.contents;
        let has_text = self.contents.has_text();
        let has_halves = contents
            .layers
            .iter()
            .any(|layer| matches!(layer.weights, StoredWeights::Halves(_)));
        let mut text = String::from("\n#include <math.h>\n");
        if has_halves {
            text += "#include <stdint.h>\n";
        }
        if has_halves || has_text {
            text += "#include <string.h>\n";
        }
        text += "#ifdef NPLUS1_SELF_TEST\n#include <stdio.h>\n#endif\n\n";
        text += &format!(
            "#define NPLUS1_FEATURES {}\n#define NPLUS1_OUTPUTS {}\n\n",
            contents.features.len(),
            contents.outputs.count()
        );
        text += &format!(
            "int nplus1_predict(const {0} *features, {0} *{1});\n",
            self.real,
            contents.outputs.argument()
        );
        if has_text {
            text += "int nplus1_category(int feature, const char *name);\n";
        }
        text
    }

    /// Writes the names of features, classes or targets, and categories.
    fn names(&self) -> String {
        let contents = self.contents;
        let head =
            |kind: &str, count: &str| format!("\nconst char *const nplus1_{kind}_names[{count}]");
        let features = (0..contents.features.len()).map(|at| c_text(&contents.feature_name(at)));
        let mut text = Self::vector(&head("feature", "NPLUS1_FEATURES"), features);
        let kind = match contents.outputs.units {
            Some(_) => "target",
            None => "class",
        };
        let outputs = contents.outputs.names.iter().map(|name| c_text(name));
        text += &Self::vector(&head(kind, "NPLUS1_OUTPUTS"), outputs);
        for (index, feature) in contents.features.iter().enumerate() {
            if let Some(categories) = feature.categories {
                text += &Self::vector(
                    &format!(
                        "\nstatic const char *const categories_{index}[{}]",
                        categories.len()
                    ),
                    categories.iter().map(|name| c_text(name)),
                );
            }
        }
        text
    }

    /// Writes offsets and divisors of the inputs, unless one number is enough.
    fn scaling(&self) -> String {
        let scaling = &self.contents.model.scaling;
        let inputs = self.contents.inputs();
        let mut text = String::new();
        let double = |numbers: &[f64]| -> Vec<String> {
            numbers
                .iter()
                .map(|&number| decimal(number, false))
                .collect()
        };
        if !scaling.keeps_zero() {
            text += &Self::vector(
                &format!("\nstatic const double offset[{inputs}]"),
                double(&scaling.offset).into_iter(),
            );
        }
        if scaling.uniform_divisor().is_none() {
            text += &Self::vector(
                &format!("\nstatic const double divisor[{inputs}]"),
                double(&scaling.divisor).into_iter(),
            );
        }
        text
    }

    fn layers(&self) -> String {
        let layers = self.contents.layers.iter().enumerate();
        layers
            .map(|(index, layer)| self.layer(index, layer))
            .collect()
    }

    /// Writes the arrays of a layer.
    fn layer(&self, index: usize, layer: &StoredLayer) -> String {
        let (fan_in, fan_out, real) = (layer.fan_in, layer.fan_out, self.real);
        let kind = layer.weight_type([real, "uint16_t", "signed char"]);
        let spelled = layer.spelled(|number| self.number(number));
        let mut text = Self::rows(
            &format!("\nstatic const {kind} weight_{index}[{fan_in}][{fan_out}]"),
            spelled.rows.into_iter(),
        );
        if !spelled.steps.is_empty() {
            let head = format!("\nstatic const float step_{index}[{fan_out}]");
            text += &Self::vector(&head, spelled.steps.into_iter());
        }
        if !spelled.biases.is_empty() {
            let head = format!("\nstatic const {real} bias_{index}[{fan_out}]");
            text += &Self::vector(&head, spelled.biases.into_iter());
        }
        text
    }

    fn self_test(&self, test: &SelfTest) -> String {
        let row = |row: &[f64]| row.iter().map(|&number| self.number(number)).collect();
        let count = test.rows.len();
        let features = test.rows.iter().map(|each| row(&each.features));
        let answers = test.rows.iter().map(|each| row(&each.answer));
        let classes = test.rows.iter().map(|row| match row.class {
            Some(class) => class.to_string(),
            None => "-1".to_owned(),
        });
        let real = self.real;
        let text = [
            "\n#ifdef NPLUS1_SELF_TEST\n".to_owned(),
            Self::rows(
                &format!("static const {real} test_features[{count}][NPLUS1_FEATURES]"),
                features,
            ),
            Self::rows(
                &format!("\nstatic const {real} test_answers[{count}][NPLUS1_OUTPUTS]"),
                answers,
            ),
            Self::vector(
                &format!(
                    "\n/* -1: there is no class, or the two best are too close to tell. */\n\
                     static const int test_classes[{count}]"
                ),
                classes,
            ),
            SELF_TEST
                .replace("REAL", real)
                .replace("ROWS", &count.to_string())
                .replace("ALLOWED", &format!("{:.1e}", test.allowed * 1.05)),
            "#endif\n".to_owned(),
        ];
        text.concat()
    }
}

const SELF_TEST: &str = "
int main(void)
{
    double largest = 0.0;
    int row, j, wrong = 0;

    for (row = 0; row < ROWS; row++) {
        REAL answer[NPLUS1_OUTPUTS];
        const int found = nplus1_predict(test_features[row], answer);
        int is_right = found >= 0 && (test_classes[row] < 0 || found == test_classes[row]);

        for (j = 0; found >= 0 && j < NPLUS1_OUTPUTS; j++) {
            const double difference = fabs((double)answer[j] - (double)test_answers[row][j]);

            if (!(difference <= ALLOWED))
                is_right = 0;
            if (!(difference <= largest))
                largest = difference;
        }
        if (!is_right) {
            printf(\"row %d: wrong\\n\", row);
            wrong++;
        }
    }
    printf(\"%d of ROWS rows as expected; largest difference %.1e, allowed ALLOWED\\n\",
           ROWS - wrong, largest);
    return wrong != 0;
}
";
