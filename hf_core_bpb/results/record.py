"""The record of a finished run: model, results, and what they cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hf_core_bpb.metrics.results import BpbResult, CoreResult
from hf_core_bpb.results.training_history import Trained
from hf_core_bpb.scaling.parameters import ParameterCounts
from hf_core_bpb.types import Work


@dataclass(frozen=True, slots=True)
class ModelRecord:
    """The model that was scored."""

    name: str
    revision: str
    tokenizer: str
    dtype: str
    parameters: ParameterCounts
    trained: Trained | None


@dataclass(frozen=True, slots=True)
class RunStatistics:
    """What the run cost, and the environment that it ran in."""

    work: Work
    backend: str
    seconds: float
    processes: int
    peak_memory_bytes: int
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A finished run.

    compressors: bits per byte of the same texts, by text and compressor. packed: bytes of every document compressed by
    itself, by text; empty if not measured.
    """

    model: ModelRecord
    core: CoreResult | None
    bpb: Mapping[str, BpbResult]
    compressors: Mapping[str, Mapping[str, float]]
    packed: Mapping[str, Sequence[Mapping[str, int]]]
    statistics: RunStatistics

    @property
    def signatures(self) -> list[str]:
        """A line for each result that names everything it depends on, except the model."""
        cores = [self.core.signature] if self.core is not None else []
        return cores + [result.signature for result in self.bpb.values()]
