"""FastAPI and uvicorn with NumPy, as one would write it by hand.

The environment names its files: MODEL, by joblib, and COLUMNS, a JSON list.
"""

import json
import os
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from fastapi import FastAPI
from pydantic import create_model

model = joblib.load(os.environ["MODEL"])
Row = create_model("Row", **dict.fromkeys(json.loads(Path(os.environ["COLUMNS"]).read_text()), (float, ...)))
Answer = create_model("Answer", prediction=(int | str, ...))
app = FastAPI()


@app.post("/predict", response_model=Answer)
async def predict(row: Row) -> Any:
    return {"prediction": model.predict(np.array([list(row.__dict__.values())])).tolist()[0]}
