"""LitServe with its batching: 64 requests or one millisecond, one worker. PORT, MODEL and COLUMNS as environ."""

import json
import os
from pathlib import Path
from typing import Any

import joblib
import litserve
import numpy as np


class Served(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.model = joblib.load(os.environ["MODEL"])
        self.columns = json.loads(Path(os.environ["COLUMNS"]).read_text())

    def decode_request(self, request):  # an annotation would be the type of the body
        return [request[name] for name in self.columns]

    def batch(self, inputs: Any) -> Any:
        return np.array(inputs)

    def predict(self, x: Any) -> Any:
        return self.model.predict(x).tolist()

    def unbatch(self, output: Any) -> Any:
        return output

    def encode_response(self, output: Any) -> Any:
        return {"prediction": output}


if __name__ == "__main__":
    server = litserve.LitServer(
        Served(max_batch_size=64, batch_timeout=0.001), accelerator="cpu", workers_per_device=1, timeout=30
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=1,
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )
