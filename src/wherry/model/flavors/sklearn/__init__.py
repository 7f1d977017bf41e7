"""scikit-learn, skops, skl2onnx and joblib: imported in this package and nowhere else."""

from wherry.model.flavors.sklearn.load import load

__all__ = ["load"]
