"""scikit-learn, skops, skl2onnx and joblib: imported in this package and nowhere else.

What serving a bundle takes lies here; what only packing takes, in `describing`, `converting`, `restore`, `reference`.
"""

from wherry.model.flavors.sklearn.load import load

__all__ = ["load"]
