"""What is told about scoring while it runs, for a terminal or nobody."""

from typing import Protocol


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


class SilentProgress:
    """Hears of progress and shows nothing."""

    def note(self, message: str) -> None:
        """Show nothing."""

    def begin(self, total_tokens: int) -> None:
        """Show nothing."""

    def stage(self, name: str, total_tokens: int) -> None:
        """Show nothing."""

    def advance(self, tokens: int) -> None:
        """Show nothing."""
