"""What stands in the source of a public name: its signature as it was written, its members and their docstrings.

Annotations are taken as they are written, not as the interpreter resolves them: that is what is readable. Names that
begin with an underscore are left out, and so are members that come from outside the package.
"""

import ast
import copy
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

WIDTH = 88
Function = ast.FunctionDef | ast.AsyncFunctionDef
_PLAIN = (int, float, str, type(None))


@dataclass(frozen=True, slots=True)
class Value:
    """An attribute, a property, a field or the member of an enumeration."""

    name: str
    shown: str
    doc: str


@dataclass(frozen=True, slots=True)
class Callable_:
    """A function or a method: its signatures (more than one when it is overloaded)."""

    name: str
    signatures: list[str]
    doc: str


@dataclass(frozen=True, slots=True)
class Described:
    """A public name: how it is called, what it is, what it has."""

    name: str
    signatures: list[str]
    doc: str
    bases: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    methods: list[Callable_] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)


def described(module: str, name: str) -> Described:
    """The public *name* of *module*, wherever it is defined."""
    thing = getattr(importlib.import_module(module), name)
    if inspect.isclass(thing):
        return _class(thing)
    if inspect.isfunction(thing):
        function = _function(thing.__module__, [node for node in _body(thing) if isinstance(node, Function)])
        return Described(name, function.signatures, function.doc)
    return _constant(module, name)


def _class(kind: type) -> Described:
    values: dict[str, Value] = {}
    methods: dict[str, Callable_] = {}
    made: Function | None = None
    for base in filter(lambda base: _shown_with(kind, base), kind.__mro__):
        for value in (*_values(base, _node(base)), *_attributes(_node(base))):
            values.setdefault(value.name, value)
        for name, found in _functions(_node(base)).items():
            if name in ("__init__", "__new__"):
                made = made or found[-1]
            elif name.startswith("_"):
                continue
            elif _is_property(found[0]):
                values.setdefault(name, _property(found[0]))
            elif any(map(_doc, found)) or not _is_of_python(kind, name):
                methods[name] = _better(methods.get(name), _function(base.__module__, found))
    doc = "\n\n".join(filter(None, (_doc_of_class(kind), *_docs_of_new(_node(kind)))))
    bases = [base.__name__ for base in kind.__bases__ if base.__name__ != "object"]
    signatures = [_signature(kind.__module__, made, kind.__name__)] if made else _of_fields(kind, values)
    parameters = [each.arg for each in (*made.args.args[1:], *made.args.kwonlyargs)] if made else []
    return Described(kind.__name__, signatures, doc, bases, list(values.values()), list(methods.values()), parameters)


def _shown_with(kind: type, base: type) -> bool:
    """Whether what *kind* has from *base* is shown with it; the tree of the errors is shown as one."""
    return base.__module__.startswith("tekton") and (base is kind or base.__name__ != "TektonError")


def _functions(node: ast.ClassDef) -> dict[str, list[Function]]:
    found: dict[str, list[Function]] = {}
    for each in node.body:
        if isinstance(each, Function):
            found.setdefault(each.name, []).append(each)
    return found


def _is_of_python(kind: type, name: str) -> bool:
    """Whether the method is one of the standard library, which describes it."""
    return any(name in vars(base) for base in kind.__mro__ if not base.__module__.startswith("tekton"))


def _better(own: Callable_ | None, inherited: Callable_) -> Callable_:
    """The method that the class has itself, with the docstring that it inherits if it has none."""
    if own is None:
        return inherited
    return own if own.doc else Callable_(own.name, own.signatures, inherited.doc)


def _property(node: Function) -> Value:
    said = _unannotated(node.returns) if node.returns is not None else "Any"
    return Value(node.name, f"{node.name}: {said}", _doc(node))


def _doc_of_class(kind: type) -> str:
    """The docstring; where it leads to that of the module, both."""
    doc = _doc(_node(kind))
    if not doc.startswith("See the module."):
        return doc
    return f"{ast.get_docstring(_module(kind.__module__))}\n\n{doc.removeprefix('See the module.').strip()}".strip()


def _docs_of_new(node: ast.ClassDef) -> list[str]:
    """What a stub says of the parameters."""
    return [_doc(each) for each in node.body if isinstance(each, Function) and each.name in ("__new__", "__init__")]


def _of_fields(kind: type, values: dict[str, Value]) -> list[str]:
    """The constructor of a class whose fields are its parameters; none for a protocol or an enumeration."""
    if issubclass(kind, Enum) or getattr(kind, "_is_protocol", False):
        return []
    node = _node(kind)
    only_named = "kw_only=True" in ast.unparse(node).partition(":\n")[0]
    fields = [each for base in reversed(kind.__mro__) for each in _fields(base)]
    said = [values[name].shown for name in fields if name in values]
    return [_laid_out(f"class {kind.__name__}", ["*", *said] if only_named and said else said, "")]


def _fields(kind: type) -> list[str]:
    if not kind.__module__.startswith("tekton"):
        return []
    return [
        each.target.id
        for each in _node(kind).body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and "ClassVar" not in ast.dump(each)
    ]


def _values(kind: type, node: ast.ClassDef) -> Iterator[Value]:
    for each, after in zip(node.body, [*node.body[1:], None], strict=True):
        doc = _string(after)
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name) and each.target.id[0] != "_":
            if "ClassVar" not in ast.unparse(each.annotation):
                default = "" if each.value is None else f" = {_default(kind.__module__, each.value)}"
                yield Value(each.target.id, _quoted(f"{each.target.id}: {_unannotated(each.annotation)}{default}"), doc)
        elif isinstance(each, ast.Assign) and issubclass(kind, Enum) and isinstance(each.targets[0], ast.Name):
            name = each.targets[0].id
            member = getattr(kind, name)
            yield Value(name, _quoted(f"{name} = {member.value!r}"), doc or _member_doc(kind, member))


def _attributes(node: ast.ClassDef) -> Iterator[Value]:
    """What a constructor keeps under a public name."""
    made = _functions(node).get("__init__")
    if made is None:
        return
    types = {each.arg: each.annotation for each in (*made[-1].args.args, *made[-1].args.kwonlyargs)}
    for each, after in zip(made[-1].body, [*made[-1].body[1:], None], strict=True):
        target = each.targets[0] if isinstance(each, ast.Assign) else getattr(each, "target", None)
        if not (isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and target.attr[0] != "_"):
            continue
        given = each.value if isinstance(each, ast.Assign | ast.AnnAssign) else None
        typed = each.annotation if isinstance(each, ast.AnnAssign) else None
        if typed is None and isinstance(given, ast.Name):
            typed = types.get(given.id)
        yield Value(target.attr, f"{target.attr}: {_unannotated(typed)}" if typed else target.attr, _string(after))


def _member_doc(kind: type[Enum], member: Any) -> str:
    doc = getattr(member, "__doc__", None) or ""
    return "" if doc == kind.__doc__ else inspect.cleandoc(doc)


def _unannotated(annotation: ast.expr) -> str:
    """*annotation* as text: `Annotated[X, …]` is shown as X, and a type in quotation marks without them."""
    return ast.unparse(_Plain().visit(copy.deepcopy(annotation)))


class _Plain(ast.NodeTransformer):
    """What a reader need not see of an annotation goes."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        name = ast.unparse(node.value).rpartition(".")[2]
        if name == "Literal":
            return node
        if name == "Annotated" and isinstance(node.slice, ast.Tuple):
            inner: ast.expr = self.visit(node.slice.elts[0])
            return inner
        self.generic_visit(node)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return ast.parse(node.value, mode="eval").body if isinstance(node.value, str) else node


def _function(module: str, nodes: list[Function]) -> Callable_:
    overloaded = [node for node in nodes if "overload" in map(ast.unparse, node.decorator_list)]
    doc = next((doc for node in reversed(nodes) if (doc := _doc(node))), "")
    return Callable_(nodes[0].name, [_signature(module, node) for node in overloaded or nodes[-1:]], doc)


def _signature(module: str, node: Function, called: str | None = None) -> str:
    """How *node* is called; with *called*, a constructor, as that."""
    marks = [f"@{name}\n" for name in map(ast.unparse, node.decorator_list) if name in ("classmethod", "staticmethod")]
    keyword = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    head = f"class {called}" if called else f"{keyword} {node.name}"
    end = f" -> {_unannotated(node.returns)}" if called is None and node.returns is not None else ""
    return "".join(marks) + _laid_out(head, list(_parameters(module, node.args)), end)


def _parameters(module: str, given: ast.arguments) -> Iterator[str]:
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + list(given.defaults)
    for number, (one, default) in enumerate(zip(positional, defaults, strict=True), 1):
        if one.arg not in ("self", "cls"):
            yield _parameter(module, one, default)
        if number == len(given.posonlyargs):
            yield "/"
    if given.vararg is not None:
        yield "*" + _parameter(module, given.vararg, None)
    elif given.kwonlyargs:
        yield "*"
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _parameter(module, one, default)
    if given.kwarg is not None:
        yield "**" + _parameter(module, given.kwarg, None)


def _parameter(module: str, one: ast.arg, default: ast.expr | None) -> str:
    typed = f"{one.arg}: {_unannotated(one.annotation)}" if one.annotation is not None else one.arg
    return typed if default is None else f"{typed} = {_default(module, default)}"


def _default(module: str, default: ast.expr) -> str:
    """The default as it is written; the value of a constant that is a number, a text or None."""
    if isinstance(default, ast.Call) and ast.unparse(default.func) in ("field", "msgspec.field"):
        made = next((word.value for word in default.keywords if word.arg in ("default", "default_factory")), None)
        if made is None:
            return "..."
        said = ast.unparse(made)
        known = {"dict": "{}", "list": "[]", "tuple": "()"}
        is_factory = any(word.arg == "default_factory" for word in default.keywords)
        return known.get(said, f"{said}()") if is_factory else said
    if isinstance(default, ast.Name):
        value = getattr(importlib.import_module(module), default.id, default)
        if isinstance(value, _PLAIN):
            return repr(value)
    return ast.unparse(default)


def _laid_out(head: str, parameters: list[str], end: str) -> str:
    parameters = [_quoted(each) for each in parameters]
    line = f"{head}({', '.join(parameters)}){end}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{head}(", *(f"    {each}," for each in parameters), f"){end}"])


def _quoted(text: str) -> str:
    """*text* with the quotation marks that the sources have."""
    return re.sub(r"'([^'\"\\]*)'", r'"\1"', text)


def _constant(module: str, name: str) -> Described:
    body = _module(module).body
    for each, after in zip(body, [*body[1:], None], strict=True):
        target = each.targets[0] if isinstance(each, ast.Assign) else getattr(each, "target", None)
        if isinstance(target, ast.Name) and target.id == name:
            return Described(name, [ast.get_source_segment(_source(module), each) or ""], _string(after))
        if isinstance(each, ast.ImportFrom) and each.module and any(name == one.name for one in each.names):
            return _constant(each.module, name)
    raise LookupError(f"{module} has no {name} with a source")


def _is_property(node: Function) -> bool:
    return any(ast.unparse(each).endswith(("property", "cached_property")) for each in node.decorator_list)


def _doc(node: Function | ast.ClassDef) -> str:
    return ast.get_docstring(node) or ""


def _string(node: ast.stmt | None) -> str:
    """A docstring below an attribute."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return inspect.cleandoc(node.value.value)
    return ""


def _body(thing: Any) -> list[ast.stmt]:
    return [node for node in _module(thing.__module__).body if getattr(node, "name", None) == thing.__name__]


def _node(kind: type) -> ast.ClassDef:
    body: list[ast.stmt] = _module(kind.__module__).body
    for name in kind.__qualname__.split("."):
        found = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)
        body = found.body
    return found


@cache
def _module(name: str) -> ast.Module:
    return ast.parse(_source(name))


def _source(name: str) -> str:
    """The source of a module; of the native one, its stub."""
    path = Path(importlib.import_module(name).__file__ or "")
    return path.with_name("_native.pyi" if name == "tekton._native" else path.name).read_text()
