"""Train a support vector classifier on the Dry Bean data, and pack it with the figures of its test set."""

import pandas as pd
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

import wherry

df = pd.read_csv("dry_bean.csv.xz")
y = df["Class"]
X = df.drop("Class", axis=1).astype(float)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.3, random_state=17)
svm = SVC(kernel="linear").fit(X_train, y_train)

manifest = wherry.pack(svm, X_test, y_test, to="bundle", name="dry-beans")
accuracy = manifest.metrics[0]
print(f"Prediction accuracy on test data: {accuracy.value:.3f}; the largest class alone: {accuracy.baseline:.3f}")
