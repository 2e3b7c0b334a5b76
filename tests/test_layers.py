"""Nothing imports upward: each module of the package may import only those listed before it."""

import ast

ORDER = [
    "errors", "numbers", "columns", "centering", "interfaces", "types", "sampling", "intervals", "conversions",
    "install", "signature", "sandbox.work", "sandbox.functions", "sandbox.grammar", "sandbox.environment", "templates",
    "examples", "registry", "accuracies", "jsonl", "data", "archive", "bundle", "documents", "tokens", "vocabulary",
    "spans", "nanochat", "dclm", "protocols", "text", "metrics", "scoring.trie", "scoring.plan", "scoring.layout",
    "scoring.masks", "scoring.head", "scoring.float64", "scoring.forward", "scoring.probe", "scoring.budget",
    "scoring.engine", "scaling.parameters", "scaling.laws", "scaling.plan", "scaling.runs", "scaling.minimum",
    "scaling.fit", "scaling.curves", "scaling.forecast", "scaling.flops", "scaling.table", "scaling.plots",
    "scaling.command", "distributed", "quiet", "journal", "batches", "store", "model", "loading", "kept", "scorer", "stages",
    "runner", "inspection", "demo.text", "sources", "training.tokens", "training.alerts", "training.validation",
    "training.meter", "training.evaluation", "training.wrapping", "callback", "api", "compressors", "trained", "report.run",
    "report.results", "bpb.bpb", "core.core", "space.bits", "space.planner", "space.dashboard", "space.figures",
    "space.app", "comparing.saved", "comparing.paired", "comparing.runs", "comparing.plot", "comparing.command",
    "publishing", "report.relations", "report.charts", "report.pictures", "report.surprises", "report.html",
    "report.table", "report.trackers", "report.progress", "catalog", "facts", "command", "arguments", "subcommands",
    "cli", "__main__",
]  # fmt: skip
OWNERS = {
    "accelerate": {"distributed", "facts", "report.trackers"},
    "datasets": {"data", "quiet", "facts", "catalog", "install", "bpb.bpb", "core.core"},
    "evaluate": {"install", "bpb.bpb", "core.core"},
    "gradio": {"space.app"},
    "jinja2": {
        "report.html",
        "sandbox.environment",
        "sandbox.functions",
        "sandbox.grammar",
        "sandbox.work",
        "templates",
        "nanochat",
    },
}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            for alias in node.names:
                yield f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def modules(package):
    for path in package.rglob("*.py"):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        if not name.endswith("__init__"):
            yield name, path


def test_every_module_has_its_place(package):
    assert sorted(name for name, _ in modules(package)) == sorted(ORDER)


def test_imports_point_one_way(package):
    for name, path in modules(package):
        below = set(ORDER[: ORDER.index(name)])
        for module in imported(path):
            inner = module.removeprefix("hf_core_bpb.")
            if module != inner and inner in ORDER:
                assert inner in below, f"{name} imports {inner}"


def test_libraries_are_used_where_they_belong(package):
    for name, path in modules(package):
        for module in imported(path):
            owners = OWNERS.get(module.split(".")[0])
            assert owners is None or name in owners, f"{name} imports {module}"
