//! Configs of small networks on iris, called `flowers`, with which commands are tested.

/// Sigmoid outputs with the quadratic loss: 4-5-3, one epoch.
pub const QUADRATIC: &str = r#"
name = "flowers"
seed = 3
[data]
dataset = "iris"
validation = 30
test = 30
normalize = "standard"
[model]
hidden = [5]
output = "sigmoid"
initialization = "scaled"
[loss]
kind = "quadratic"
[optimizer]
learning_rate = 0.2
[train]
epochs = 1
batch_size = 10
"#;

/// Softmax with cross-entropy, and momentum: 4-5-3, four epochs.
pub const SOFTMAX: &str = r#"
name = "flowers"
seed = 3
[data]
dataset = "iris"
validation = 30
test = 30
normalize = "standard"
[model]
hidden = [5]
output = "softmax"
initialization = "scaled"
[loss]
kind = "cross-entropy"
[optimizer]
learning_rate = 0.2
momentum = 0.5
[train]
epochs = 4
batch_size = 10
"#;
