"""The errors that reach a person as one line.

InputError (exit code 2): something the user gave does not fit.
RunError (exit code 1): the input fits, but the run cannot be finished.
"""

from collections.abc import Sequence

_NAMED = 5
_MAX_REASON = 500


class InputError(ValueError):
    """Something the user gave does not fit; the message says what was expected, what came and where."""


class RunError(RuntimeError):
    """The run cannot be finished; the message says what happened and where."""


class NonFiniteError(RunError):
    """Losses that are not finite, of requests by their numbers in a stage of so many."""

    def __init__(self, stage: str, numbers: tuple[int, ...], count: int) -> None:
        """Say which requests, by the number that scoring knows them by."""
        super().__init__(stage, numbers, count)
        self.stage = stage
        self.numbers = numbers
        self.count = count

    def __str__(self) -> str:
        """Say it where nobody knows what the requests are of."""
        return self.said("requests", self.numbers)

    def said(self, kind: str, numbers: Sequence[int]) -> str:
        """Say it of items or documents by their numbers."""
        named = ", ".join(map(str, numbers[:_NAMED])) + (", ..." if len(numbers) > _NAMED else "")
        stage = f"{self.stage}, " if self.stage else ""
        return (
            f"model: expected finite logits, got a loss of nan or infinity for {len(self.numbers):,} of the "
            f"{self.count:,} requests of a forward ({stage}{kind} {named}); try --dtype float32 or bfloat16"
        )


def reason(error: BaseException) -> str:
    """Return what a library's error says, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines[:2]) if lines else type(error).__name__
    return said if len(said) <= _MAX_REASON else f"{said[:_MAX_REASON]}..."
