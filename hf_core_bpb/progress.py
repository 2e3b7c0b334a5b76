"""The interface through which scoring reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of scoring, for example to show it in a terminal."""

    def note(self, message: str) -> None:
        """Show a message."""
        ...

    def begin(self, total_tokens: int) -> None:
        """Start scoring; `total_tokens` is the number of tokens to forward in all stages."""
        ...

    def stage(self, name: str, total_tokens: int) -> None:
        """Start a stage with `total_tokens` tokens to forward."""
        ...

    def advance(self, tokens: int) -> None:
        """Add forwarded tokens."""
        ...


class SilentProgress:
    """Ignores all progress."""

    def note(self, message: str) -> None:
        """Do nothing."""

    def begin(self, total_tokens: int) -> None:
        """Do nothing."""

    def stage(self, name: str, total_tokens: int) -> None:
        """Do nothing."""

    def advance(self, tokens: int) -> None:
        """Do nothing."""
