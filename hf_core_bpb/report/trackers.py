"""A run's numbers in experiment trackers, through Accelerate's trackers."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS

from hf_core_bpb.errors import InputError, RunError, reason

TRACKERS = ("tensorboard", "wandb", "trackio")
_PROJECT = "hf_core_bpb"


def check_trackers(names: Sequence[str]) -> None:
    """Raise InputError for unknown trackers and for trackers that are not installed."""
    for name in names:
        if name not in TRACKERS:
            raise InputError(f"`report_to`: expected names of {', '.join(TRACKERS)}, got {name!r}")
        spec = find_spec(name)
        # A folder with the tracker's name in the working directory has a spec without origin.
        if spec is None or spec.origin is None:
            raise InputError(f"`report_to`: {name} is not installed: pip install {name}")


def track(names: Sequence[str], folder: Path, run_name: str, results: Mapping[str, Any]) -> None:
    """Log a run's numbers and recipe, on the main process only; TensorBoard writes below the folder.

    Raises RunError if a tracker fails.
    """
    for name in names:
        kind: Any = LOGGER_TYPE_TO_CLASS[name]
        try:
            if name == "tensorboard":
                tracker = kind(run_name=name, logging_dir=folder)
            else:
                tracker = kind(run_name=_PROJECT, name=run_name)
            tracker.start()
            tracker.store_init_configuration(_recipe(results))
            tracker.log(numbers(results), step=0)
            tracker.finish()
        except Exception as error:
            raise RunError(f"`report_to`: {name} failed: {reason(error)}. The results are in {folder}.") from error


def numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of results.json under the names that CoreBpbCallback logs."""
    values: dict[str, float] = {}
    if (core := results.get("core")) is not None:
        values["eval_core"] = core["core"]
        values |= {f"eval_core/{name}": task["accuracy"] for name, task in core["tasks"].items()}
    return values | {f"eval_bpb/{name}": text["bpb"] for name, text in results.get("bpb", {}).items()}


def _recipe(results: Mapping[str, Any]) -> dict[str, str | int]:
    model = results["model"]
    return {
        "signature": results["signature"],
        "model": model["id"],
        "revision": model["revision"],
        "dtype": model["dtype"],
        **{f"parameters_{name}": count for name, count in model["parameters"].items()},
    }
