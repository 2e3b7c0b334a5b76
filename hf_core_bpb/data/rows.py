"""Turn rows into examples with a task's compiled templates, and check each example (pure)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hf_core_bpb.data.templates import compile_text, compile_value
from hf_core_bpb.errors import InputError
from hf_core_bpb.types import Example, Task

Row = Mapping[str, Any]
Texts = Callable[[Row], tuple[str, ...]]


class RowReader:
    """Turns rows with the given columns into examples, using a task's templates."""

    def __init__(self, task: Task, columns: list[str]) -> None:
        """Compile the templates; raises InputError if they do not fit the columns."""
        self.task = task
        prompt = task.prompt
        self.each = compile_value(prompt.each, self._where("each"), columns) if prompt.each is not None else None
        self.columns = columns if prompt.each is None else [*columns, "each"]
        self.contexts = self._texts("contexts", prompt.contexts) or self._text("context", prompt.context)
        self.continuations = self._texts("choices", prompt.choices) or self._text("continuation", prompt.continuation)
        self.gold = self._gold(prompt.gold)
        self.preamble = self._text("preamble", prompt.preamble)
        self.category = self._text("category", prompt.category)
        self.group = task.fewshot.match if task.fewshot is not None else None
        if self.group is not None and self.group not in columns:
            raise InputError(
                f"{task.origin}: fewshot.match: expected a column of the dataset ({', '.join(columns)}), "
                f"got {self.group!r}"
            )

    def _where(self, key: str) -> str:
        return f"{self.task.origin}: prompt.{key}"

    def _text(self, key: str, source: str | None) -> Texts:
        render = compile_text(source or "", self._where(key), self.columns)
        return lambda row: (render(row),)

    def _texts(self, key: str, source: str | None) -> Texts | None:
        if source is None:
            return None
        evaluate = compile_value(source, self._where(key), self.columns)

        def read(row: Row) -> tuple[str, ...]:
            value = evaluate(row)
            if not isinstance(value, list) or len(value) < 2 or not all(isinstance(v, str) for v in value):
                raise InputError(f"{self._where(key)}: expected a list of two or more strings, got {value!r}")
            return tuple(value)

        return read

    def _gold(self, source: str | None) -> Callable[[Row], Any]:
        if source is None:
            return lambda _row: 0
        return compile_value(source, self._where("gold"), self.columns)

    def read(self, row: Row) -> list[Example]:
        """Return a row's examples; raises InputError if `gold` is not the index of an option."""
        if self.each is None:
            return [self._read_one(row)]
        elements = self.each(row)
        if not isinstance(elements, list):
            raise InputError(f"{self._where('each')}: expected a list, got {elements!r}")
        return [self._read_one({**row, "each": element}) for element in elements]

    def _read_one(self, row: Row) -> Example:
        contexts, continuations = self.contexts(row), self.continuations(row)
        gold = self.gold(row)
        options = max(len(contexts), len(continuations))
        if not isinstance(gold, int) or isinstance(gold, bool) or not 0 <= gold < options:
            raise InputError(f"{self._where('gold')}: expected 0 to {options - 1}, got {gold!r}")
        try:
            "".join([*contexts, *continuations]).encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{self.task.origin}: expected text that UTF-8 can encode, got {error.reason}") from None
        return Example(
            contexts=contexts,
            continuations=continuations,
            gold=gold,
            preamble=self.preamble(row)[0],
            group=str(row[self.group]) if self.group is not None else "",
            category=self.category(row)[0],
        )


def read_examples(task: Task, rows: Iterable[Row], columns: list[str], source: str) -> list[Example]:
    """Return the examples of rows; errors name `source` (a dataset and split, or a file) and the row's index."""
    try:
        reader = RowReader(task, columns)
    except InputError as error:
        raise InputError(f"{error} (in {source})") from None
    examples: list[Example] = []
    for index, row in enumerate(rows):
        try:
            examples += reader.read(row)
        except InputError as error:
            raise InputError(f"{error} (in {source}, row {index})") from None
    if not examples:
        raise InputError(f"{source}: expected rows, got none")
    return examples
