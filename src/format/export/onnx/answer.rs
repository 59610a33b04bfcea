//! The end of the graph: the outputs' pre-activations become answers.

use super::{Graph, element, value};
use crate::format::export::contents::OutputRule;

impl Graph<'_> {
    /// Adds the answers.
    pub(super) fn answer(&mut self, z: &str) {
        let outputs = &self.contents.outputs;
        let count = outputs.count();
        if let Some(units) = &outputs.units {
            let (scale, mean) = (units.scale, units.mean);
            let real = self.real;
            let scale = self.constant("target scale", real, scale, &[1, count]);
            let mean = self.constant("target mean", real, mean, &[1, count]);
            let product = self.node("Mul", &[z, &scale], "product", &[]);
            self.node("Add", &[&product, &mean], "targets", &[]);
            self.proto.output.push(value("targets", real, Some(count)));
            return;
        }
        let name = match outputs.rule {
            OutputRule::Plain => "outputs",
            _ => "probabilities",
        };
        let mut judged = z.to_owned();
        match outputs.rule {
            OutputRule::Softmax => {
                self.node("Softmax", &[z], name, &[("axis", 1)]);
            }
            OutputRule::Shares => {
                // The softmax of ln σ(z), so that no sum is 0.
                let negative = self.node("Neg", &[z], "negative", &[]);
                let softplus = self.softplus(&negative);
                let logarithm = self.node("Neg", &[&softplus], "logarithms", &[]);
                self.node("Softmax", &[&logarithm], name, &[("axis", 1)]);
            }
            OutputRule::Logistic => {
                let negative = self.node("Neg", &[z], "negative", &[]);
                judged = self.node("Concat", &[&negative, z], "both", &[("axis", 1)]);
                self.node("Sigmoid", &[&judged], name, &[]);
            }
            OutputRule::Plain => {
                self.node("Identity", &[z], name, &[]);
            }
        }
        let attributes = [("axis", 1), ("keepdims", 0)];
        self.node("ArgMax", &[&judged], "class", &attributes);
        self.proto.output.push(value("class", element::INT64, None));
        self.proto.output.push(value(name, self.real, Some(count)));
    }

    /// Adds ln(1 + e^x) = max(x, 0) + ln(1 + e^−|x|) of basic operators, which also know double
    /// precision.
    fn softplus(&mut self, x: &str) -> String {
        let one = self.constant("one", self.real, &[1.0], &[]);
        let size = self.node("Abs", &[x], "size", &[]);
        let negative = self.node("Neg", &[&size], "minus size", &[]);
        let small = self.node("Exp", &[&negative], "exponential", &[]);
        let sum = self.node("Add", &[&one, &small], "one and exponential", &[]);
        let rest = self.node("Log", &[&sum], "logarithm", &[]);
        let positive = self.node("Relu", &[x], "positive", &[]);
        self.node("Add", &[&positive, &rest], "softplus", &[])
    }
}
