"""The requests of documents: which document each request belongs to, and the sizes of the documents."""

from collections.abc import Sequence
from dataclasses import dataclass

from hf_core_bpb.types import Request, Scored


@dataclass(frozen=True, slots=True)
class DocumentRequests:
    """Requests over documents; `owners` has the index of each request's document.

    num_bytes, num_characters: the size of each document's scored text; 0 characters if a document is tokenized.
    """

    requests: list[Request]
    owners: list[int]
    num_bytes: list[int]
    num_characters: list[int]

    def documents_of(self, request_indices: Sequence[int]) -> list[int]:
        """Return the sorted indices of the documents that requests belong to."""
        return sorted({self.owners[index] for index in request_indices})

    def sums_by_document(self, scored: Sequence[Scored]) -> list[Scored]:
        """Return the sums of every document, given the sums of every request."""
        sizes = zip(self.num_bytes, self.num_characters, strict=True)
        sums = [Scored(num_bytes=num_bytes, num_characters=num_characters) for num_bytes, num_characters in sizes]
        for owner, request_sums in zip(self.owners, scored, strict=True):
            sums[owner] += request_sums
        return sums
