"""scikit-learn, skops, skl2onnx and joblib: imported in this package and nowhere else."""
