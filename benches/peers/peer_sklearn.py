"""scikit-learn as its users call it: `MLPClassifier`, one `partial_fit` per epoch.

Its outputs are a softmax with the log-loss, the only choice it offers: the matrix products are the
same as those of the other peers, but δ of the outputs is p − y instead of (a − y)·a(1 − a). Without
σ′, which is at most 1/4, the gradient is larger, so the learning rate is a tenth of the case's.
scikit-learn shuffles the rows by itself.
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
        # partial_fit warns that it has not converged after its single epoch.
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
            random_state=np.random.RandomState(1),  # an int would give every epoch the same order
        )
        # Creates the arrays, which then get the initial parameters that all peers share.
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
