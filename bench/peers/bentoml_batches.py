"""BentoML with its batching, one worker, no access log and no metrics. MODEL and COLUMNS as in fastapi_numpy.py.

Column names must be Python's, as its input is a pydantic model that is built from them.
"""

import json
import os
from pathlib import Path

import bentoml
import joblib
import numpy as np
from pydantic import create_model

columns = [name.replace(" ", "_") for name in json.loads(Path(os.environ["COLUMNS"]).read_text())]
Row = create_model("Row", **dict.fromkeys(columns, (float, ...)))


@bentoml.service(workers=1, traffic={"timeout": 30}, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Service:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=1000)
    async def predict(self, rows: list[Row]) -> list:
        return self.model.predict(np.array([list(row.__dict__.values()) for row in rows])).tolist()
