"""scikit-learn as its users call it: `MLPClassifier`, an epoch a `partial_fit`.

Its outputs are a softmax with the log-loss, which it has no other choice for: the products are those
of the others, δ of the outputs is p − y instead of (a − y)·a(1 − a). Without σ′, which is 1/4 at most,
the gradient is larger, so the rate is a tenth of the case's. The rows' orders are its own.
"""

import warnings

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import worker

RATE = 0.1


class Trainer:
    def __init__(self, case, training, parameters, threads):
        # partial_fit makes one epoch on purpose.
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.images = training.images
        self.labels = training.labels
        self.model = MLPClassifier(
            case.hidden,
            activation="logistic",
            solver="sgd",
            alpha=0,
            batch_size=case.batch,
            learning_rate_init=RATE * case.learning_rate,
            momentum=0,
            nesterovs_momentum=False,
            random_state=np.random.RandomState(1),  # an int would shuffle every epoch alike
        )
        # Makes the arrays; then everyone's first parameters.
        first = slice(case.batch)
        self.model.partial_fit(self.images[first], self.labels[first], classes=np.arange(case.sizes[-1]))
        for (weights, biases), coefs, intercepts in zip(
            parameters, self.model.coefs_, self.model.intercepts_
        ):
            coefs[:] = weights.T
            intercepts[:] = biases

    def epoch(self, order):
        self.model.partial_fit(self.images, self.labels)

    def outputs(self, images):
        return self.model.predict_proba(images)


if __name__ == "__main__":
    worker.main("scikit-learn", Trainer, {"scikit-learn": sklearn.__version__})
