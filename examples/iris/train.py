"""Train an iris classifier and pack it, the shortest way: its bundle is linear arrays, scored without a library."""

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import wherry

X, y = load_iris(return_X_y=True, as_frame=True)
model = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
manifest = wherry.pack(model, X, y, to="bundle", name="iris")
print(f"./bundle holds {manifest.name} {manifest.version}, stored as {manifest.conversion.form}")
