"""The tables that end a run."""

import io

import pytest
from rich.console import Console

from hf_core_bpb.data.task_files import list_tasks
from hf_core_bpb.metrics.intervals import core_ci95, least_difference
from hf_core_bpb.metrics.results import CoreResult, ItemResult, Sample, TaskResult
from hf_core_bpb.report.console import core_table, describe_sample


@pytest.fixture(scope="module")
def core():
    """Three of four items of piqa correct, one of them truncated."""
    piqa = next(task for task in list_tasks() if task.name == "piqa")
    items = tuple(ItemResult(i, 0, 0, i < 3, (), i == 0) for i in range(4))
    tasks = {"piqa": TaskResult(piqa, 10, "", items)}
    return CoreResult("custom", "nanochat", "hub", "v1", tasks, "", Sample(0.1, 0.05, 8, 1234))


@pytest.fixture(scope="module")
def printed(core):
    console = Console(file=io.StringIO(), width=120)
    console.print(core_table(core))
    return console.file.getvalue()


def test_core_table_has_a_row_for_each_task(printed):
    assert "│ piqa   │    10 │ 4 │   0.7500 │" in printed
    assert "│   0.5000 │  +0.5000 │" in printed


def test_caption_states_the_least_significant_difference(core, printed):
    least = least_difference(core_ci95(core, "v1"))
    assert f"Differences of custom below {least:.3f} are not significant at 95%;" in printed


def test_caption_counts_truncated_items(printed):
    assert "Truncated on the left to fit the context: piqa 1 of 4." in printed


def test_sample_is_described_with_its_precision(core):
    assert (
        describe_sample(core, core.sample)
        == "Scored: 4 of 8 items (50.0%). custom of all items: +0.5000 ± 0.0500 (95%)."
    )
