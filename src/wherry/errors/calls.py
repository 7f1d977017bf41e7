"""Services that wherry calls, and load that it is asked to make."""

from __future__ import annotations

from wherry.errors.root import UsageRefused, WherryError


class CallFailed(WherryError):
    """A service that wherry called did not answer as it should."""


class ServiceUnreachable(CallFailed):
    """Nobody answers at the address, or not in time."""

    def __init__(self, url: str, reason: str, hint: str = "") -> None:
        self.url, self.reason = url, reason
        super().__init__(f"{url} did not answer: {reason}", hint=hint)


class StoreUnreachable(CallFailed):
    """The database with the predictions cannot be used. `shown` is what may be shown of its url."""

    def __init__(self, shown: str, reason: str, hint: str = "") -> None:
        self.shown, self.reason = shown, reason
        super().__init__(f"{shown}: {reason}", hint=hint)


class CallRefused(CallFailed):
    """The service answered, and the answer is an error. `problem` is its body, where that was JSON."""

    def __init__(self, url: str, status: int, sentence: str, hint: str = "", problem: object = None) -> None:
        self.url, self.status, self.problem = url, status, problem
        super().__init__(f"{status}: {sentence}", hint=hint)


class DownloadFailed(CallFailed):
    """A file that lies elsewhere cannot be had."""

    def __init__(self, url: str, path: str, reason: str) -> None:
        self.url, self.path, self.reason = url, path, reason
        hint = f"where there is a network: curl -L -o {path} {url}; then put it here as {path} and run this again"
        super().__init__(f"{url} cannot be downloaded: {reason}", hint=hint)


class DownloadWrong(CallFailed):
    """What was sent is not what was expected; it is not kept."""

    def __init__(self, url: str, expected: str, found: str) -> None:
        self.url, self.expected, self.found = url, expected, found
        hint = "look at what is there now, and take its digest only if it is what you want"
        super().__init__(f"{url} sent something else: sha-256 {found}, expected {expected}", hint=hint)


class GateBlind(CallFailed):
    """The model that serves cannot be asked the held-out rows, so nothing can be compared with it."""

    def __init__(self, url: str, reason: str) -> None:
        self.url, self.reason = url, reason
        hint = "wherry gate --no-live compares with the baseline alone"
        super().__init__(f"the model at {url} does not take the held-out rows: {reason}", hint=hint)


class LoadRefused(UsageRefused):
    """A load beyond what this tool will ever put on a service, or none at all."""

    def __init__(self, unit: str, asked: float, most: float) -> None:
        self.unit, self.asked, self.most = unit, asked, most
        if asked:
            super().__init__(f"{asked:,.0f} {unit} are asked; the most is {most:,.0f}", hint=f"stay under {most:,.0f}")
        else:
            super().__init__("this load holds no request", hint="raise --rate or --duration")
