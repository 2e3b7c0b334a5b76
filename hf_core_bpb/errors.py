"""The errors that reach a person as one line.

InputError (exit code 2): an input does not fit. RunError (exit code 1): the input fits, but the run cannot finish.
Messages name options in backticks, as in `max_length`; the command line prints them as its own, --max-length.
"""

from collections.abc import Sequence

_LISTED = 5
_LONGEST_REASON = 500


class InputError(ValueError):
    """An input does not fit; the message names the problem, where it is and the remedy."""


class RunError(RuntimeError):
    """The run cannot finish; the message says what happened and where."""


class NonFiniteError(RunError):
    """Losses of NaN or infinity, by the index of each request among the `count` requests of a forward pass."""

    def __init__(self, name: str, indices: tuple[int, ...], count: int) -> None:
        """Take the name of the task or text, and the indices of its requests."""
        super().__init__(name, indices, count)
        self.name = name
        self.indices = indices
        self.count = count

    def __str__(self) -> str:
        """Name the requests, for callers that do not know the items or documents behind them."""
        return self.describe("requests", self.indices)

    def describe(self, kind: str, indices: Sequence[int]) -> str:
        """Return the message with the indices of items or documents."""
        listed = ", ".join(map(str, indices[:_LISTED])) + (", ..." if len(indices) > _LISTED else "")
        where = f"{self.name}, " if self.name else ""
        return (
            f"the model's logits are not finite: loss of NaN or infinity for {len(self.indices):,} of the "
            f"{self.count:,} requests of a forward pass ({where}{kind} {listed}); try `dtype` float32 or bfloat16"
        )


def reason(error: BaseException) -> str:
    """Return an error's message on one line; a library's without backticks, which mark options of this package."""
    text = str(error) if isinstance(error, InputError | RunError) else str(error).replace("`", "'")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    message = " ".join(lines[:2]) if lines else type(error).__name__
    return message if len(message) <= _LONGEST_REASON else f"{message[:_LONGEST_REASON]}..."
