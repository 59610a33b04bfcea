//! One file of Rust: static arrays and a function, no allocation, nothing of `std` but `exp`.
//!
//! It passes clippy as a module and as a crate of its own. Weights are stored by input, as in C.

mod predict;

use super::contents::Contents;
use super::literals::{comment, decimal, lines};
use super::self_test::SelfTest;
use super::weights::StoredLayer;

/// Returns the source text.
pub(super) fn source(contents: &Contents, test: &SelfTest) -> String {
    let rust = Rust {
        contents,
        real: if contents.is_single { "f32" } else { "f64" },
    };
    [
        rust.introduction(),
        rust.names(),
        rust.scaling(),
        rust.layers(),
        rust.predict(),
        rust.functions(),
        rust.self_test(test),
    ]
    .concat()
}

/// The writer of one file.
struct Rust<'a> {
    contents: &'a Contents<'a>,
    /// The type in which the file computes.
    real: &'static str,
}

impl Rust<'_> {
    fn number(&self, number: f64) -> String {
        decimal(number, self.contents.is_single)
    }

    /// Spells a static array.
    fn array(head: &str, items: impl Iterator<Item = String>) -> String {
        format!(
            "#[allow(clippy::approx_constant)]\nstatic {head} = [\n{}\n];\n",
            lines(items, "    ")
        )
    }

    /// Spells a static array of rows.
    fn rows(head: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
        let row = |row: Vec<String>| {
            let row = lines(row, "     ");
            format!("    [{}],\n", row.trim_start().trim_end_matches(','))
        };
        format!(
            "#[allow(clippy::approx_constant)]\nstatic {head} = [\n{}];\n",
            rows.map(row).collect::<String>()
        )
    }

    fn introduction(&self) -> String {
        format!(
            "// {}: a network of {} units, trained by nplus1 {}.\n\
             //\n\
             // One file that allocates nothing. Take it as a module (`mod iris;`) and call\n\
             // `nplus1_predict`. Without `std`, let `exponential` at the end call `libm::exp{}`.\n\
             // Its test: `rustc --test FILE.rs -o self-test && ./self-test`, or `cargo test`.\n\n",
            comment(&self.contents.model.name),
            self.contents.sizes(),
            env!("CARGO_PKG_VERSION"),
            if self.contents.is_single { "f" } else { "" },
        )
    }

    /// Writes the names of features, classes or targets, and categories.
    fn names(&self) -> String {
        let contents = self.contents;
        let (features, outputs) = (contents.features.len(), contents.outputs.count());
        let names = (0..features).map(|at| format!("{:?}", contents.feature_name(at)));
        let answers = contents
            .outputs
            .names
            .iter()
            .map(|name| format!("{name:?}"));
        let (kind, each) = match contents.outputs.units {
            Some(_) => ("TARGET", "target"),
            None => ("CLASS", "class"),
        };
        let known = match contents
            .features
            .iter()
            .any(|feature| feature.name.is_some())
        {
            true => "",
            false => " The model knows no names: these are their numbers.",
        };
        let mut text = format!(
            "/// The number of features.\npub const FEATURES: usize = {features};\n\n\
             /// The number of answers, one per {each}.\npub const OUTPUTS: usize = {outputs};\n\n\
             /// The name of each feature.{known}\n#[allow(dead_code)]\n\
             pub static FEATURE_NAMES: [&str; FEATURES] = [\n{}\n];\n\n\
             /// The name of each {each}.\n#[allow(dead_code)]\n\
             pub static {kind}_NAMES: [&str; OUTPUTS] = [\n{}\n];\n\n",
            lines(names, "    "),
            lines(answers, "    ")
        );
        if !self.contents.has_text() {
            return text;
        }
        text += "/// The categories of each feature; none of a number.\n#[allow(dead_code)]\n\
                 pub static CATEGORIES: [&[&str]; FEATURES] = [\n";
        for feature in &contents.features {
            let names = feature.categories.unwrap_or_default().iter();
            let names = lines(names.map(|name| format!("{name:?}")), "      ");
            text += &format!("    &[{}],\n", names.trim_start().trim_end_matches(','));
        }
        text + "];\n\n"
    }

    /// Writes offsets and divisors of the inputs, unless one number is enough.
    fn scaling(&self) -> String {
        let scaling = &self.contents.model.scaling;
        let inputs = self.contents.inputs();
        let mut text = String::new();
        let mut array = |name: &str, numbers: &[f64]| {
            let numbers = numbers.iter().map(|&number| decimal(number, false));
            text += &(Self::array(&format!("{name}: [f64; {inputs}]"), numbers) + "\n");
        };
        if !scaling.keeps_zero() {
            array("OFFSET", &scaling.offset);
        }
        if scaling.uniform_divisor().is_none() {
            array("DIVISOR", &scaling.divisor);
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
        let kind = layer.weight_type([real, "u16", "i8"]);
        let spelled = layer.spelled(|number| self.number(number));
        let head = format!("WEIGHT_{index}: [[{kind}; {fan_out}]; {fan_in}]");
        let mut text = Self::rows(&head, spelled.rows.into_iter()) + "\n";
        if !spelled.steps.is_empty() {
            let head = format!("STEP_{index}: [f32; {fan_out}]");
            text += &(Self::array(&head, spelled.steps.into_iter()) + "\n");
        }
        if !spelled.biases.is_empty() {
            let head = format!("BIAS_{index}: [{real}; {fan_out}]");
            text += &(Self::array(&head, spelled.biases.into_iter()) + "\n");
        }
        text
    }

    fn self_test(&self, test: &SelfTest) -> String {
        let (real, count) = (self.real, test.rows.len());
        let row = |numbers: &[f64]| -> Vec<String> {
            numbers
                .iter()
                .map(|&number| match number.is_nan() {
                    true => format!("{real}::NAN"),
                    false => self.number(number),
                })
                .collect()
        };
        let features = Self::rows(
            &format!("TEST_FEATURES: [[{real}; super::FEATURES]; {count}]"),
            test.rows.iter().map(|each| row(&each.features)),
        );
        let answers = Self::rows(
            &format!("TEST_ANSWERS: [[{real}; super::OUTPUTS]; {count}]"),
            test.rows.iter().map(|each| row(&each.answer)),
        );
        let classes = Self::array(
            &format!("TEST_CLASSES: [Option<usize>; {count}]"),
            test.rows.iter().map(|each| format!("{:?}", each.class)),
        );
        SELF_TEST
            .replace("ARRAYS", &format!("{features}\n{answers}\n    // None: there is no class, or the two best are too close to tell.\n{classes}"))
            .replace("REAL", real)
            .replace("ALLOWED", &format!("{:.1e}", test.allowed * 1.05))
    }
}

const SELF_TEST: &str = "
#[cfg(test)]
mod nplus1_self_test {
ARRAYS
    #[test]
    fn the_answers_are_those_of_nplus1() {
        for (row, features) in TEST_FEATURES.iter().enumerate() {
            let mut answer = [0.0; super::OUTPUTS];
            let class = super::nplus1_predict(features, &mut answer);
            assert!(class.is_some(), \"row {row} is refused\");
            if TEST_CLASSES[row].is_some() {
                assert_eq!(class, TEST_CLASSES[row], \"class of row {row}\");
            }
            for (number, expected) in answer.iter().zip(&TEST_ANSWERS[row]) {
                let difference = (number - expected).abs();
                assert!(difference <= ALLOWED, \"row {row}: {number}, not {expected}\");
            }
        }
    }
}
";
