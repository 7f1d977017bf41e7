"""Train a classifier on synthetic data, and pack it. Its columns have the names that the service's clients send."""

import pandas as pd
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

import wherry

x, y = make_classification(
    n_samples=100, n_features=3, n_informative=2, n_classes=2, n_redundant=0, n_repeated=0, random_state=0
)
X = pd.DataFrame(x, columns=["feature_1", "feature_2", "feature_3"])
model = LogisticRegression().fit(X, y)
wherry.pack(model, X, y, to="bundle", name="ml-app", version="0.0.1")
print("Training complete!")
