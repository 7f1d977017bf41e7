import numpy as np


class Mean:
    class_names = ["mean", "largest"]

    def predict(self, X, features_names):
        return np.stack([X.mean(axis=1), X.max(axis=1)], axis=1)
