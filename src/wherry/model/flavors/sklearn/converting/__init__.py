"""Forms that need no scikit-learn, made of estimators: folded sums and ONNX graphs. At pack only."""
