"""Keeps the capacity figures of docs/operations.md those that stand in docs/performance.md.

python docs/site/capacity_figures.py      write them anew, after `make bench`
"""

import re

from readme_figures import PERFORMANCE, ROOT, in_words, seen

OPERATIONS = ROOT / "docs" / "operations.md"

CAPACITY = {
    "idle": "{installation: The example system: the control plane, idle} resident; "
    "{idle: 100,000: CPU} with 100,000 components",
    "a component": "{scale: A control plane: memory for each beyond its record} beside its record; "
    "100,000 are there again {scale: A control plane: ready again after SIGKILL} after `kill -9`",
    "durable registrations over HTTP": "{register_http: Durable: registrations}",
    "heartbeats, in batches of 1,000": "10,000 a second take "
    "{heartbeats_batch: 10,000: CPU at 10,000 heartbeats per second}",
    "messages to a stream, each acknowledged": "{streams: Durable: Streams}",
    "messages from one socket to another, in batches": "{bus_socket: One WebSocket: batches of 64 KiB}",
    "acknowledged steps of tasks, 64 at once": "{tasks: Durable: steps}",
    "10,000 open tasks": "{tasks: Memory: 10,000 open tasks}; after a crash they are taken up again within "
    "{tasks: 10,000 open tasks: opened and resumed}",
}
"""What is said of each, with figures by their bench, the beginning of their section, and their row."""

_TABLE = re.compile(r"(<!-- capacity -->\n).*?(\n<!-- end -->)", re.DOTALL)
_FIGURE = re.compile(r"\{([^:}]+): ([^:}]+): ([^}]+)\}")


def with_current_capacity(operations: str, performance: str) -> str:
    """*operations*, with the figures of *performance*. Raises KeyError for one that is not there."""

    def figure(named: re.Match[str]) -> str:
        return in_words(seen(named[1], named[2], performance)[named[3]])

    rows = [f"| {says} | {_FIGURE.sub(figure, text)} |" for says, text in CAPACITY.items()]
    table = "\n".join(["| | Seen |", "|---|---|", *rows])
    return _TABLE.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", operations)


if __name__ == "__main__":
    OPERATIONS.write_text(with_current_capacity(OPERATIONS.read_text(), PERFORMANCE.read_text()))
