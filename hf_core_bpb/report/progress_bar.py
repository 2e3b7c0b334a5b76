"""A progress bar for each stage: tokens done, rate, time left."""

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} tokens/s")


class TerminalProgress:
    """Shows how far scoring is in all and in its stage; where there is no terminal, a line as each stage begins."""

    def __init__(self, console: Console) -> None:
        """Show on a console."""
        self.console = console
        self.bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self.all: TaskID | None = None
        self.current: TaskID | None = None

    def __enter__(self) -> "TerminalProgress":
        """Start showing."""
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop showing, and leave the terminal as it was."""
        self.bars.stop()

    def note(self, message: str) -> None:
        """Print a line above the bars."""
        self.console.print(message, highlight=False, markup=False)

    def begin(self, total_tokens: int) -> None:
        """Begin the bar of the whole, in the place of an earlier one."""
        self._drop(self.all, self.current)
        self.current = None
        self.all = self.bars.add_task("all", total=total_tokens)

    def stage(self, name: str, total_tokens: int) -> None:
        """Begin the bar of a stage in the place of the last one's, or print a line where there is no terminal."""
        self._drop(self.current)
        self.current = self.bars.add_task(name, total=total_tokens)
        if not self.console.is_terminal:
            self.note(f"{name}: {total_tokens:,} tokens")

    def advance(self, tokens: int) -> None:
        """Move the bars."""
        for bar in (self.all, self.current):
            if bar is not None:
                self.bars.advance(bar, tokens)

    def _drop(self, *bars: TaskID | None) -> None:
        for bar in bars:
            if bar is not None:
                self.bars.remove_task(bar)
