"""One component by itself, as it stands in components.json, checked by the same rules as there.

Nothing is replaced in its texts: whoever sends it has the values at hand.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tekton.utils.config_checks import Checker
from tekton.utils.config_components import ComponentBuilder, ComponentSpec, merge_dependencies, ports_of, secrets_in
from tekton.utils.config_schema import ComponentsFile
from tekton.utils.json_document import Document, parse
from tekton.utils.redaction import redact
from tekton.utils.tekton_errors import ConfigurationError, Mistake


def read_entry(
    name: str, entry: bytes, *, directory: Path, home: Path, start_timeout: float, ports: Mapping[int, str]
) -> ComponentSpec:
    """The component that the JSON object *entry* describes.

    Paths are relative to *directory*, *ports* tells who has which already. Raises ConfigurationError with everything
    that is wrong; the pointers are into *entry*.
    """
    document = parse(b'{"components":{%s:%s}}' % (json.dumps(name).encode(), entry), name)
    checker = Checker(document, _as_it_is)
    entries = msgspec.convert(checker.check(ComponentsFile), ComponentsFile).components
    mistakes: list[Mistake] = []
    spec = None
    if (found := entries.get(name)) is not None:
        dependencies = merge_dependencies({name: found.dependencies}, checker, {}, Checker(Document(""), _as_it_is))
        builder = ComponentBuilder(checker, directory, home, start_timeout, mistakes)
        spec = builder.build(name, found, found.port, dependencies[name])
        _check_port(checker, spec, ports)
    if spec is None or checker.mistakes or mistakes:
        secrets = [] if spec is None else secrets_in(spec)
        raise ConfigurationError([_placed(mistake, name, secrets) for mistake in (*checker.mistakes, *mistakes)])
    return spec


def _as_it_is(text: str, _pointer: str) -> str:
    return text


def _check_port(checker: Checker, spec: ComponentSpec, ports: Mapping[int, str]) -> None:
    taken = next((port for port in ports_of(spec) if port in ports), None)
    node = checker.document.find(f"/components/{spec.name}/port")
    if taken is not None and node is not None:
        checker.report(node, f"port {taken} of {spec.name} is already that of {ports[taken]}", "choose another port")


def _placed(mistake: Mistake, name: str, secrets: list[str]) -> Mistake:
    """*mistake* with its place in the entry alone."""
    pointer = mistake.pointer.removeprefix("/components").removeprefix(f"/{name}")
    problem = redact(mistake.problem.replace(f"components.{name}.", ""), secrets)
    return dataclasses.replace(mistake, line=0, column=0, pointer=pointer, problem=problem)
