"""Train a linear regression on the Boston house prices, and pack it with the figures of rows it has not seen."""

import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

import wherry

frame = pd.read_csv("boston_house_prices.csv", skiprows=1).astype(float)
X, y = frame.drop(columns="MEDV"), frame["MEDV"]
X.sample(1, random_state=0).iloc[0].to_json("example.json")
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, random_state=0)
X_test.assign(MEDV=y_test).to_csv("holdout.csv", index=False)  # what `wherry gate` asks
model = LinearRegression().fit(X_train, y_train)
manifest = wherry.pack(model, X_test, y_test, to="bundle", name="house-prices")
for metric in manifest.metrics:
    print(f"{metric.name}: {metric.value:.3g}, always the mean: {metric.baseline:.3g}")
