"""Where evaluate.load finds the metrics: by path in any folder, by bare id after install_metric."""

import os
import tempfile
from pathlib import Path

from hf_core_bpb.errors import InputError, RunError

METRICS = {"bpb": "Bpb", "core": "Core"}
NAMESPACE = "hf_core_bpb"


def metric_path(name: str) -> str:
    """Return the path by which evaluate.load finds a metric, bpb or core; raises InputError for other names."""
    if name not in METRICS:
        raise InputError(f"metric: expected one of {', '.join(METRICS)}, got {name!r}")
    return str(Path(__file__).parents[1] / name)


def install_metric(name: str) -> Path:
    """Put a metric into evaluate's module cache, so that its bare id loads in any folder, also offline.

    Returns the folder in the cache. Raises RunError for a version of evaluate with another cache.
    """
    import evaluate
    from datasets import DownloadMode
    from evaluate import loading

    metric_path(name)
    evaluate.logging.set_verbosity_error()
    # Private, and the only way: a bare id is looked up on the Hub first, then among the modules in the cache.
    try:
        scratch = tempfile.TemporaryDirectory()
        # It imports the metric of the package, so that it is upgraded with the package.
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
        # The newest is loaded; one in the cache keeps its time.
        os.utime(installed / f"{name}.py")
        loading.CachedEvaluationModuleFactory(f"{NAMESPACE}--{name}", module_type="metrics").get_module()
    except OSError as error:
        raise RunError(f"install-metric: cannot write to evaluate's module cache: {error}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise RunError(
            f"install-metric: made for evaluate 0.4.6, got {evaluate.__version__} ({error}); use "
            "evaluate.load(hf_core_bpb.metric_path(...)) instead"
        ) from None
    return installed
