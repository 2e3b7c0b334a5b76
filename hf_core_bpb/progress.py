"""What is asked of things that others make: a tokenizer, and whoever watches the work."""

from collections.abc import Sequence
from typing import Any, Protocol


class Tokenizer(Protocol):
    """What is asked of a transformers tokenizer."""

    bos_token_id: int | None
    eos_token_id: int | None
    all_special_ids: list[int]

    def __call__(self, text: Sequence[str], **options: Any) -> Any:
        """Tokenise a batch of texts."""
        ...

    def decode(self, token_ids: Sequence[int]) -> Any:
        """Return the text of ids, for people to read."""
        ...


class Progress(Protocol):
    """Hears of work as it is done, so that a terminal can show it."""

    def note(self, message: str) -> None:
        """Say something that is no count of tokens."""
        ...

    def begin(self, total_tokens: int) -> None:
        """Begin to score stages that have so many tokens to forward in all."""
        ...

    def stage(self, name: str, total_tokens: int) -> None:
        """Begin a stage of so many tokens to forward."""
        ...

    def advance(self, tokens: int) -> None:
        """So many tokens have been forwarded."""
        ...
