"""KServe's Python server with a model that does what its scikit-learn server does. PORT, and MODEL by joblib."""

import os
from typing import Any

import joblib
import numpy as np
from kserve import Model, ModelServer


class Loaded(Model):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.model = joblib.load(os.environ["MODEL"])
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        return {"predictions": self.model.predict(np.array(payload["instances"])).tolist()}


ModelServer(http_port=int(os.environ["PORT"]), enable_grpc=False, workers=1, access_log_format=None).start(
    [Loaded("model")]
)
