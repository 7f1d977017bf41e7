"""Train a linear regression on the Boston house prices, and pack it with the figures of rows it has not seen."""

import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

import wherry

# as scikit-learn shipped it until 1.1
URL = "https://raw.githubusercontent.com/scikit-learn/scikit-learn/1.1.3/sklearn/datasets/data/boston_house_prices.csv"
SHA256 = "d98212636026544fc9b9c0f372e5f819872e6fa6fa757ab025efdda22180f2d6"

data = wherry.fetch(URL, sha256=SHA256, to="boston_house_prices.csv")  # it is here already: nothing is downloaded
frame = pd.read_csv(data, skiprows=1).astype(float)
X, y = frame.drop(columns="MEDV"), frame["MEDV"]
X.sample(1, random_state=0).iloc[0].to_json("example.json")
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
X_test.assign(MEDV=y_test).to_csv("holdout.csv", index=False)  # what `wherry gate` asks
model = LinearRegression().fit(X_train, y_train)
manifest = wherry.pack(model, X_test, y_test, to="bundle", name="house-prices")
for metric in manifest.metrics:
    print(f"{metric.name}: {metric.value:.3g}, always the mean: {metric.baseline:.3g}")
