"""Bits per byte of texts: documents to requests, to their sums, to results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from hf_core_bpb.errors import NonFiniteError, RunError
from hf_core_bpb.evaluation.recipe import sign_model
from hf_core_bpb.evaluation.resolve import TextSource
from hf_core_bpb.metrics.results import BpbResult
from hf_core_bpb.models.language_model import LanguageModel
from hf_core_bpb.scoring.scorer import ScoredWorkload, Scorer
from hf_core_bpb.scoring.workload import Workload, build_workload
from hf_core_bpb.signature import sign
from hf_core_bpb.tokenization.documents import DocumentRequests
from hf_core_bpb.tokenization.windows import Windows, document_requests
from hf_core_bpb.types import Request, Scored, Work


@dataclass(frozen=True, slots=True)
class PreparedDocuments:
    """Documents as requests, by the name of their text."""

    documents: Mapping[str, DocumentRequests]
    workload: Workload

    def score(self, scorer: Scorer) -> tuple[dict[str, list[Scored]], ScoredWorkload]:
        """Return the sums of every document, and the scored workload; raises RunError naming documents."""
        try:
            scored = scorer.score(self.workload)
        except NonFiniteError as error:
            broken = self.documents[error.name].documents_of(error.indices)
            raise RunError(error.describe("documents", broken)) from None
        return {
            name: documents.sums_by_document(scored.sums[name]) for name, documents in self.documents.items()
        }, scored


def prepare_documents(builders: Mapping[str, Callable[[], DocumentRequests]]) -> PreparedDocuments:
    """Return the requests of all documents; every process builds the same."""
    documents: dict[str, DocumentRequests] = {}

    def build(name: str) -> list[Request]:
        documents[name] = builders[name]()
        return documents[name].requests

    workload = build_workload({name: partial(build, name) for name in builders})
    return PreparedDocuments(documents, workload)


@dataclass(frozen=True, slots=True)
class PreparedTexts:
    """Texts as requests for one tokenizer and context length; models that share these can be scored one by one."""

    sources: Sequence[TextSource]
    windows: Windows
    documents: PreparedDocuments


def prepare_texts(lm: LanguageModel, sources: Sequence[TextSource], windows: Windows) -> PreparedTexts:
    """Return the documents of all sources as requests."""
    builders = {
        source.name: partial(document_requests, lm.tokenizer, source.documents, windows, source.name)
        for source in sources
    }
    return PreparedTexts(sources, windows, prepare_documents(builders))


def score_texts(lm: LanguageModel, scorer: Scorer, prepared: PreparedTexts) -> tuple[dict[str, BpbResult], Work]:
    """Return the bits per byte of every source by name, and what they cost."""
    sums, scored = prepared.documents.score(scorer)
    results = {}
    for source in prepared.sources:
        recipe = {"text": source.revision, **sign_model(lm, scored.batch_tokens), **prepared.windows.recipe}
        documents = tuple(sums[source.name])
        results[source.name] = BpbResult(sum(documents, Scored()), documents, sign("bpb", recipe))
    return results, scored.work


def run_texts(
    lm: LanguageModel, scorer: Scorer, sources: Sequence[TextSource], windows: Windows
) -> tuple[dict[str, BpbResult], Work]:
    """Return the bits per byte of every source by name, and what they cost."""
    return score_texts(lm, scorer, prepare_texts(lm, sources, windows))
