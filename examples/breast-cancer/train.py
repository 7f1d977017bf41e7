"""Train the breast-cancer classifier; write it, and the table it learned from, into the working directory.

Six measurements of cell nuclei say whether a tumour is malignant (1) or benign (0).
"""

from pathlib import Path

import joblib
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

# scikit-learn's name of each column, and the name that clients of this service use
COLUMNS = {
    "mean concavity": "concavity_mean",
    "mean concave points": "concave_points_mean",
    "perimeter error": "perimeter_se",
    "area error": "area_se",
    "worst texture": "texture_worst",
    "worst area": "area_worst",
}

frame = load_breast_cancer(as_frame=True).frame.rename(columns=COLUMNS)
X = frame[list(COLUMNS.values())]
y = 1 - frame["target"]  # scikit-learn has 0 for malignant; here M = 1, B = 0
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=42, stratify=y)

model = Pipeline(
    [
        ("imputer", SimpleImputer(strategy="mean")),
        ("scaler", MinMaxScaler()),
        (
            "vote",
            VotingClassifier(
                [
                    ("logistic", LogisticRegression(random_state=42)),
                    ("tree", DecisionTreeClassifier(random_state=42)),
                    ("svc", SVC(random_state=42)),
                ],
                voting="hard",
            ),
        ),
    ]
)
model.fit(X_train, y_train)
right, largest = model.score(X_test, y_test), y_test.value_counts(normalize=True).max()
print(f"{right:.1%} of {len(X_test)} rows it has not seen are answered right; always B: {largest:.1%}")

Path("model").mkdir(exist_ok=True)
joblib.dump(model, "model/model_binary.dat.gz", compress=("gzip", 3))
X_train.assign(diagnosis=y_train).to_csv("train.csv", index=False)
print("wrote model/model_binary.dat.gz and train.csv")
