"""A progress bar for each stage, with rate and remaining time."""

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
    """Progress bars of the whole run and of its current stage; without a terminal, a line per stage."""

    def __init__(self, console: Console) -> None:
        """Show progress on a console."""
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
        self.total: TaskID | None = None
        self.current: TaskID | None = None

    def __enter__(self) -> "TerminalProgress":
        """Show the bars."""
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bars and restore the terminal."""
        self.bars.stop()

    def note(self, message: str) -> None:
        """Print a line above the bars, without breaking it: a script that reads it finds it whole."""
        self.console.print(message, highlight=False, markup=False, soft_wrap=True)

    def begin(self, total_tokens: int) -> None:
        """Start the bar of the whole run, replacing earlier bars."""
        self._drop(self.total, self.current)
        self.current = None
        self.total = self.bars.add_task("total", total=total_tokens)

    def stage(self, name: str, total_tokens: int) -> None:
        """Start the bar of a stage, replacing the last stage's; without a terminal, print a line."""
        self._drop(self.current)
        self.current = self.bars.add_task(name, total=total_tokens)
        if not self.console.is_terminal:
            self.note(f"{name}: {total_tokens:,} tokens")

    def advance(self, tokens: int) -> None:
        """Advance the bars."""
        for bar in (self.total, self.current):
            if bar is not None:
                self.bars.advance(bar, tokens)

    def _drop(self, *bars: TaskID | None) -> None:
        for bar in bars:
            if bar is not None:
                self.bars.remove_task(bar)
