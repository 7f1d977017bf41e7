"""Model files, tables and bundles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wherry.errors.root import UsageRefused, WherryError


class BundleUnreadable(WherryError):
    """A bundle's file is not what it should be."""

    def __init__(self, path: str, reason: str, hint: str = "pack the model again") -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}", hint=hint)


class BundleMissing(UsageRefused):
    """There is no bundle where one should be. found: what is there, "folder" or "file"; empty where nothing is."""

    def __init__(self, path: str, found: str = "") -> None:
        self.path, self.found = path, found
        why = {"folder": "it has no manifest.json", "file": "it is a file, and a bundle is a folder"}
        super().__init__(
            f"no bundle in {path} ({why.get(found, 'there is no such folder')})",
            hint="wherry pack MODEL --data FILE --target COLUMN",
        )


class BundleDamaged(BundleUnreadable):
    """A file's content is not what was packed."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(path, f"its sha-256 is {found}, the manifest says {expected}")


class ModelDiffers(BundleUnreadable):
    """A bundle is sound, and another model than the one that may be loaded here."""

    def __init__(self, path: str, expected: str, found: str) -> None:
        self.expected, self.found = expected, found
        super().__init__(
            path,
            f"the model there has the digest {found}, and only {expected} may be loaded here",
            "deploy the new model, or bring the released one there again: wherry deploy --copy-model",
        )


class FormatUnknown(BundleUnreadable):
    """A bundle was written in a format that this wherry does not read."""

    def __init__(self, path: str, found: object, known: int) -> None:
        self.found, self.known = found, known
        hint = "upgrade wherry" if isinstance(found, int) and found > known else "pack the model again"
        super().__init__(path, f"has format {found!r}; this wherry reads format {known}", hint)


class FolderTaken(UsageRefused):
    """A bundle would have to replace something that is no bundle."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path} is not replaced: {reason}", hint="name another folder with --to")


class BundlesClash(UsageRefused):
    """Several bundles that one service cannot hold."""

    def __init__(self, reason: str, hint: str = "serve them apart") -> None:
        self.reason = reason
        super().__init__(reason, hint=hint)


class ChainRefused(UsageRefused):
    """Models that cannot answer one after the other."""

    def __init__(self, chain: str, reason: str, hint: str) -> None:
        self.chain, self.reason = chain, reason
        super().__init__(f"the chain {chain} cannot be: {reason}", hint=hint)


class BundleUnfit(BundleUnreadable):
    """The bundle is sound, but it was made for other versions than those that are here."""

    def __init__(
        self, package: str, wanted: str, found: str, *, at_least: bool = False, others: Mapping[str, str] = {}
    ) -> None:
        """others: further packages that do not fit, and the versions that are wanted."""
        self.package, self.wanted, self.found = package, wanted, found
        needed = f"{wanted} or newer" if at_least else wanted
        have = f"this environment has {found}" if found else "this environment does not have it"
        if package == "python":
            hint = f"run it with Python {wanted}, or pack the model again with Python {found}"
        else:
            mark = ">=" if at_least else "=="
            all_of_them = " ".join(f"'{name}{mark}{version}'" for name, version in {package: wanted, **others}.items())
            hint = f"pip install {all_of_them}, or pack the model again"
        super().__init__("the bundle", f"needs {package} {needed}; {have}", hint)


class GoldenDiffers(BundleUnreadable):
    """The model answers its golden rows otherwise than at pack."""

    def __init__(self, row: int, expected: Any, found: Any, *, differing: int, total: int) -> None:
        self.row, self.expected, self.found, self.differing, self.total = row, expected, found, differing, total
        super().__init__(
            "the model",
            f"answers {differing} of {total} golden rows otherwise than when it was packed: "
            f"row {row} was {expected!r}, is {found!r}",
        )


class ModelUnreadable(WherryError):
    """A model that cannot be read, or cannot be kept."""


class NotVouched(UsageRefused):
    """A file that can run code when it is loaded, and nobody vouched for it (or for another file's digest).

    verdict: what its names say; estimator: the class that it would make, empty when the file does not tell.
    """

    def __init__(self, path: str, digest: str, verdict: str, estimator: str, *, given: str = "") -> None:
        self.path, self.digest, self.verdict, self.estimator, self.given = path, digest, verdict, estimator, given
        holds = f"it holds {estimator} and " if estimator else "it "
        if given:
            sentence = f"{path} has sha256:{digest}, and {given} is what was vouched for: it is not loaded"
        else:
            sentence = f"{path} is not loaded, as nobody vouched for it: {holds}{verdict}"
        super().__init__(sentence, hint=f"if you know who made it: --trust=sha256:{digest}")


class ModelUnknown(ModelUnreadable):
    """A file or an object that is no model wherry can pack."""

    def __init__(self, path: str, what: str, reason: str, hint: str = "") -> None:
        self.path, self.what, self.reason = path, what, reason
        subject = f"{path}: {what}" if path else what
        super().__init__(
            f"{subject} {reason}",
            hint=hint
            or "wherry packs models of scikit-learn, XGBoost, LightGBM, PyTorch and Keras, ONNX, and Python code",
        )


class ModelUnsafe(ModelUnreadable):
    """A model file that breaks while it is loaded, or that is larger than it may be."""

    def __init__(self, path: str, reason: str, hint: str = "save the model again with joblib.dump") -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}", hint=hint)


class CodeFailed(ModelUnreadable):
    """A callable's own code raised: `file` without its folder, the line and the function in it, and what it said."""

    def __init__(self, file: str, line: int, function: str, said: str, hint: str = "") -> None:
        self.file, self.line, self.function, self.said = file, line, function, said
        place = (f", line {line}" if line else "") + (f", in {function}" if function else "")
        super().__init__(f"{file}{place}: {said}", hint=hint or "mend it there, and pack it again")


class ModelNotFitted(ModelUnreadable):
    """An estimator that was never fitted has no answers."""

    def __init__(self, estimator: str) -> None:
        self.estimator = estimator
        super().__init__(
            f"this {estimator} is not fitted: it has no answers", hint="call fit(X, y), and save or pack it then"
        )


class DataUnreadable(WherryError):
    """A table that is not what it should be."""

    def __init__(
        self, path: str, reason: str, hint: str = "give a CSV, Parquet or JSON-lines file with a header"
    ) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}", hint=hint)


class EncodingWrong(DataUnreadable):
    """A byte that the encoding does not have. fits: encodings in which the whole file can be read."""

    def __init__(self, path: str, encoding: str, offset: int, line: int, byte: int, fits: tuple[str, ...]) -> None:
        self.encoding, self.offset, self.line, self.byte, self.fits = encoding, offset, line, byte, fits
        hint = f"--encoding {fits[0]}" + (f" (or {', '.join(fits[1:])})" if len(fits) > 1 else "") if fits else ""
        super().__init__(
            path,
            f"byte {offset} (line {line}), 0x{byte:02x}, is not {encoding}",
            hint or "name the file's encoding with --encoding",
        )


class TableEmpty(DataUnreadable):
    """No rows to learn anything from, or to send."""

    def __init__(self, path: str, reason: str, hint: str = "give the rows that the model was trained on") -> None:
        super().__init__(path, reason, hint)


class TargetMissing(DataUnreadable):
    """The column of right answers is not there."""

    def __init__(self, path: str, target: str, columns: tuple[str, ...], near: str = "") -> None:
        self.target, self.columns, self.near = target, columns, near
        shown = ", ".join(columns[:12]) + (", ..." if len(columns) > 12 else "")
        super().__init__(
            path,
            f"has no column {target!r}; its columns are {shown}",
            f"did you mean --target {near}?" if near else "name one of these columns with --target",
        )


class SampleUnfit(DataUnreadable):
    """The rows are not what the model was fitted on."""


class VersionDrift(ModelUnreadable):
    """A model file was written by another version of a library than the one that is here."""

    def __init__(self, package: str, wanted: str, found: str, estimator: str = "") -> None:
        self.package, self.wanted, self.found, self.estimator = package, wanted, found, estimator
        what = f"{estimator} was saved" if estimator else "the model was saved"
        super().__init__(
            f"{what} with {package} {wanted}; this environment has {found}",
            hint=f"pip install '{package}=={wanted}', or train it again here",
        )


class NotStorable(ModelUnreadable):
    """No form that cannot run code holds this model. `types` are those that wherry does not know to be safe."""

    def __init__(self, types: tuple[str, ...], refused: dict[str, str]) -> None:
        self.types, self.refused = types, refused
        if types:
            reason = f"it is made of types that wherry does not know to be safe: {', '.join(types)}"
        else:
            reason = "; ".join(f"{form}: {why}" for form, why in refused.items())
        hint = "--allow-pickle keeps pickle in the bundle (recorded in its manifest): loading it can run code"
        if any(name.startswith("__main__.") for name in types):  # which pickle would not find again
            hint = "what lives in a script or notebook is not found again: put it in a module that can be imported"
        super().__init__(f"the model cannot be stored without pickle: {reason}", hint=hint)
