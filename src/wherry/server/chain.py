"""A chain of the service's models as a model of its own: rows go through all of its steps in one call of each."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wherry.contract import names
from wherry.contract.chains import DECLARED, chained, joins, steps_of
from wherry.contract.golden import GoldenRows
from wherry.contract.project import Chain
from wherry.contract.wire import Outputs, Row
from wherry.errors import ModelFailed
from wherry.server.loading import Loaded, Proof, sample
from wherry.server.metrics import LATENCIES, Histogram, Metrics, label, shortened
from wherry.server.predictor import Cost, Predictor, measure

if TYPE_CHECKING:
    from wherry.model.loaded import Model


class Steps:
    """Answers with the last step what the first is asked. Raises ModelFailed, which names the step."""

    def __init__(self, chain: Chain, models: Sequence[Model]) -> None:
        self.names = chain.steps
        self.models: Sequence[Predictor] = models
        steps = [model.manifest for model in models]
        self.manifest, self.joins = chained(chain, steps), joins(chain, steps)
        first = models[0].golden
        self.golden = GoldenRows(first.columns, first.rows, ())
        self.seconds: Sequence[Histogram] = ()

    def score(self, rows: Sequence[Row], probabilities: bool = True) -> Outputs:
        last = len(self.models) - 1
        for place, (name, model) in enumerate(zip(self.names, self.models, strict=True)):
            start = time.perf_counter()
            wanted = probabilities if place == last else self.joins[place].shares
            try:
                outputs = model.score(rows, wanted)
            except ModelFailed as error:
                raise ModelFailed(error.reason, error.rows, step=name, reasons=error.reasons) from error
            finally:
                if self.seconds:
                    self.seconds[place].observe((time.perf_counter() - start,))
            if place < last:
                rows, bad = self.joins[place].rows(outputs)
                if bad:
                    raise ModelFailed(f"gave what {self.names[place + 1]} does not take", tuple(bad), step=name)
        return outputs

    def counting(self, metrics: Metrics) -> Steps:
        """The same, with what each step takes counted."""
        each = (f'step="{label(shortened(name))}",{metrics.labels}' for name in self.names)
        self.seconds = [Histogram(metrics.board, names.METRIC_STEP_SECONDS, labels, LATENCIES) for labels in each]
        return self


class LoadedChain(Loaded):
    """A chain of models that are loaded already."""

    def __init__(self, chain: Chain, models: Sequence[Loaded]) -> None:
        places = steps_of(chain, [each.manifest for each in models])
        self.folder, self.seconds, self.others = Path(DECLARED), 0.0, ()
        self.model = self.steps = Steps(chain, [models[place].model for place in places])  # type: ignore[assignment]  # all that is asked of it
        self.manifest = self.steps.manifest

    def predictor(self, metrics: Metrics) -> Predictor:
        return self.steps.counting(metrics)

    def prove(self, cost: Cost | None = None, others: Sequence[Proof] = ()) -> Proof:
        """Have the first step's golden rows go through all steps; nobody has packed what they come to.

        Raises ModelFailed.
        """
        start = time.perf_counter()
        rows, most = sample(self.manifest, self.steps.golden)
        self.steps.score(rows)
        cost = cost or measure(self.steps, rows, most=most)
        return Proof(len(rows), cost, time.perf_counter() - start, steps=len(self.steps.names))
