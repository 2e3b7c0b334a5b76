"""The requests of a run, by task or text, with their tries and digests."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

from hf_core_bpb.distributed import gather_parts
from hf_core_bpb.scoring.trie import Trie, build_trie
from hf_core_bpb.types import Request


@dataclass(frozen=True)
class Workload:
    """The requests of each task or text by name, and their trie."""

    requests: Mapping[str, list[Request]]
    tries: Mapping[str, Trie]

    @cached_property
    def digests(self) -> dict[str, str]:
        """A digest of each name and its requests."""
        return {name: _digest(name, requests) for name, requests in self.requests.items()}

    @property
    def largest_id(self) -> int:
        """The largest token id."""
        return max((int(r.ids.max()) for requests in self.requests.values() for r in requests), default=0)

    @property
    def minimum_tokens(self) -> int:
        """The theoretical minimum of forwarded tokens if tasks and texts share none."""
        return sum(trie.num_tokens for trie in self.tries.values())


def build_workload(builders: Mapping[str, Callable[[], list[Request]]]) -> Workload:
    """Return the requests of all builders, built on every process. If one process fails, all raise its error."""
    requests: dict[str, list[Request]] = {}
    tries: dict[str, Trie] = {}

    def build() -> None:
        for name, build_requests in builders.items():
            requests[name] = build_requests()
            tries[name] = build_trie(requests[name])

    gather_parts(build)
    return Workload(requests, tries)


def _digest(name: str, requests: Sequence[Request]) -> str:
    digest = sha256(repr(name).encode())
    for request in requests:
        span = (request.start, request.end, request.num_bytes, len(request.ids))
        digest.update(repr(span).encode())
        digest.update(request.ids.tobytes())
    return digest.hexdigest()[:32]
