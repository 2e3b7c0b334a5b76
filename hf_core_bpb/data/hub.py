"""Read rows from the Hub, or from a folder in its layout, with the datasets library."""

import re
import warnings
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from hf_core_bpb.data.rows import read_examples
from hf_core_bpb.errors import InputError, reason
from hf_core_bpb.types import DatasetSource, Example, Task, TaskData

if TYPE_CHECKING:
    from datasets import DatasetBuilder

_COMMIT = re.compile("[0-9a-f]{40}")


class HubTable:
    """One split of a dataset, prepared by the datasets library, and the revision that was read.

    `root` is a folder with datasets as `<owner>/<name>`, None for the Hub.
    """

    def __init__(self, source: DatasetSource, root: Path | None, where: str) -> None:
        """Load or download the split; raises InputError naming the dataset, config or split that does not exist."""
        import datasets
        from datasets.packaged_modules.cache.cache import Cache
        from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

        self.name = f"{source.path}, config {source.config or 'default'}, split {source.split}"
        path = source.path if root is None else str(root / source.path)
        revision = source.revision if root is None else None
        try:
            builder = datasets.load_dataset_builder(path, source.config, revision=revision)
            if isinstance(builder, Cache) and revision not in (None, builder.hash) and _COMMIT.fullmatch(revision):
                builder = _of_commit(builder, path, revision)
            builder.download_and_prepare()
            self.rows = builder.as_dataset(source.split)
        except (RepositoryNotFoundError, datasets.exceptions.DatasetNotFoundError) as error:
            raise InputError(
                f"{where}: expected a dataset on the Hub, got no {source.path!r} at revision "
                f"{revision or 'main'}: {reason(error)}"
            ) from None
        except (ValueError, HfHubHTTPError, OSError, datasets.exceptions.DatasetsError) as error:
            raise InputError(f"{where}: expected {self.name}, got: {reason(error)}") from None
        self.revision = str(builder.hash) if root is None else "shipped"
        self.columns = list(self.rows.column_names)


def _of_commit(latest: "DatasetBuilder", path: str, commit: str) -> "DatasetBuilder":
    """Return the builder of a commit in the cache; warn and return the latest if the cache lacks it.

    When the Hub cannot be reached, datasets reads the latest version in its cache, whatever the revision.
    """
    *_, config, version, _ = Path(latest.cache_dir).parts
    if not Path(latest.cache_dir).with_name(commit).is_dir():
        warnings.warn(
            f"{path}: the Hub cannot be reached, and the cache has revision {latest.hash}, not {commit}. Run once "
            "online to read the pinned revision.",
            stacklevel=4,
        )
        return latest
    return type(latest)(
        repo_id=path, dataset_name=latest.dataset_name, config_name=config, version=version, hash=commit
    )


def load_hub_task(task: Task, root: Path | None = None) -> TaskData:
    """Return a task's examples and its shots by group, from the Hub or from a folder in its layout.

    Raises:
        InputError: The dataset cannot be read or does not fit; the message names the task file.
    """
    table = HubTable(task.dataset, root, task.origin)
    examples = read_examples(task, table.rows, table.columns, table.name)
    shots: dict[str, list[Example]] | None = None
    if task.fewshot is not None:
        source = DatasetSource(task.dataset.path, task.dataset.config, task.fewshot.split, task.dataset.revision)
        pool = HubTable(source, root, task.origin)
        shots = defaultdict(list)
        for example in read_examples(task, pool.rows, pool.columns, pool.name):
            shots[example.group].append(example)
    return TaskData(examples, shots, table.revision)
