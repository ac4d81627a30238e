"""Where a configuration value comes from."""

from dataclasses import dataclass

from tekton.utils.json_document import Document, Node
from tekton.utils.tekton_errors import Mistake


@dataclass(frozen=True, slots=True)
class Origin:
    """`text` is what people read: `default`, `config/tekton.json:4`, `env HERMES_PORT` or `command line`."""

    text: str
    document: Document | None = None
    node: Node | None = None

    def mistake(self, problem: str, suggestion: str | None = None) -> Mistake:
        """A mistake about the value, at its place if it is in a file."""
        if self.document is None or self.node is None:
            return Mistake(self.text, 0, 0, "", problem, suggestion)
        return self.document.mistake(self.node.offset, self.node.pointer, problem, suggestion)


DEFAULT = Origin("default")
COMMAND_LINE = Origin("command line")


def in_file(document: Document, node: Node) -> Origin:
    """The origin of a value of a document."""
    line, _ = document.position(node.key_offset)
    return Origin(f"{document.source}:{line}", document, node)


def in_environment(variable: str) -> Origin:
    """The origin of the value of an environment variable."""
    return Origin(f"env {variable}")
