"""wherry carries a trained model from a notebook to a prediction service on Kubernetes."""

__version__ = "0.1.0"
