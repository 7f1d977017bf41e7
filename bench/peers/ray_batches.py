"""Ray Serve with its batching: 256 requests or one millisecond, one replica. PORT, MODEL and COLUMNS as environ."""

import json
import os
import time
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import ray
from ray import serve


@serve.deployment(num_replicas=1, max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0.5})
class Served:
    def __init__(self) -> None:
        self.model = joblib.load(os.environ["MODEL"])
        self.columns = json.loads(Path(os.environ["COLUMNS"]).read_text())

    @serve.batch(max_batch_size=256, batch_wait_timeout_s=0.001)
    async def many(self, rows: list[Any]) -> Any:
        return self.model.predict(np.array([[row[name] for name in self.columns] for row in rows])).tolist()

    async def __call__(self, request: Any) -> Any:
        return {"prediction": await self.many(await request.json())}


ray.init(num_cpus=2, include_dashboard=False, logging_level="error", object_store_memory=200_000_000)
serve.start(
    http_options={"host": "127.0.0.1", "port": int(os.environ["PORT"])},
    logging_config={"enable_access_log": False, "log_level": "ERROR"},
)
serve.run(Served.bind(), route_prefix="/predict")
while True:
    time.sleep(60)
