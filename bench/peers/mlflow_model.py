"""Writes MODEL, by joblib, as an MLflow model folder: its one argument."""

import os
import sys

import joblib
import mlflow.sklearn

mlflow.sklearn.save_model(joblib.load(os.environ["MODEL"]), sys.argv[1], serialization_format="cloudpickle")
