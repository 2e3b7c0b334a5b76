"""Where evaluate.load finds the metrics: by path from anywhere, by bare id after install_metric."""

import os
import tempfile
from pathlib import Path

from hf_core_bpb.errors import InputError, RunError

METRICS = {"bpb": "Bpb", "core": "Core"}
NAMESPACE = "hf_core_bpb"


def metric_path(name: str) -> str:
    """Return what evaluate.load takes for a metric, bpb or core, from any folder. Raises InputError for others."""
    if name not in METRICS:
        raise InputError(f"metric: expected one of {', '.join(METRICS)}, got {name!r}")
    return str(Path(__file__).parents[1] / name)


def install_metric(name: str) -> Path:
    """Put a metric into evaluate's module cache, so that its bare id loads from any folder without a network.

    Returns the folder it was put into. Raises RunError for a version of evaluate that keeps its cache otherwise.
    """
    import evaluate
    from datasets import DownloadMode
    from evaluate import loading

    metric_path(name)
    evaluate.logging.set_verbosity_error()
    # Private, and the only door: a bare id is looked up on the Hub first and then among what was loaded before.
    try:
        scratch = tempfile.TemporaryDirectory()
        # Only the way to the package's own metric, so that an upgrade of the package is one of this too.
        source = Path(scratch.name) / f"{name}.py"
        source.write_text(f"from hf_core_bpb.{name}.{name} import {METRICS[name]}\n", encoding="utf-8")
        folder = Path(loading.init_dynamic_modules())
        _, digest = loading._create_importable_file(
            local_path=str(source),
            local_imports=[],
            additional_files=[],
            dynamic_modules_path=str(folder),
            module_namespace="metrics",
            name=f"{NAMESPACE}/{name}",
            download_mode=DownloadMode.REUSE_DATASET_IF_EXISTS,
        )
        installed: Path = folder / "metrics" / f"{NAMESPACE}--{name}" / digest
        # The newest is loaded; one that was there before keeps its time.
        os.utime(installed / f"{name}.py")
        loading.CachedEvaluationModuleFactory(f"{NAMESPACE}--{name}", module_type="metrics").get_module()
    except OSError as error:
        raise RunError(f"install-metric: expected a cache of modules that can be written, got: {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise RunError(
            f"install-metric: expected evaluate 0.4.6's module cache, got {evaluate.__version__}'s ({error}); "
            "evaluate.load(hf_core_bpb.metric_path(...)) needs none"
        ) from None
    return installed
