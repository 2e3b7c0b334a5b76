"""Documents as requests: which request scores a part of which document, and what each document holds."""

from collections.abc import Sequence
from dataclasses import dataclass

from hf_core_bpb.types import Request, Scored


@dataclass(frozen=True, slots=True)
class DocumentRequests:
    """Requests over documents; `owners` has the index of the document that each request belongs to.

    num_bytes, num_characters: of each document's scored text; characters are 0 where only token ids are known.
    """

    requests: list[Request]
    owners: list[int]
    num_bytes: list[int]
    num_characters: list[int]

    def documents_of(self, request_numbers: Sequence[int]) -> list[int]:
        """Return the documents that requests belong to."""
        return sorted({self.owners[number] for number in request_numbers})

    def sums_by_document(self, scored: Sequence[Scored]) -> list[Scored]:
        """Return the sums of every document, given those of its requests."""
        sizes = zip(self.num_bytes, self.num_characters, strict=True)
        sums = [Scored(num_bytes=num_bytes, num_characters=num_characters) for num_bytes, num_characters in sizes]
        for owner, one in zip(self.owners, scored, strict=True):
            sums[owner] += one
        return sums
