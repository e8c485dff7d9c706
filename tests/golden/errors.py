"""Every error that the source can tell, found in its syntax: docs/ERRORS.md.

A message is what a construction of an error class is given. Names in it are followed
to their literals within the module, those of a helper's parameters to its calls; what
only a run knows stands as `{name}`.
"""

import ast
import builtins
import importlib
from collections.abc import Iterator, Mapping
from itertools import product

from infra.stack import ROOT
from runtime.contract.errors import ConfigError, SyncError

Source = Mapping[str, ast.Module]
Kinds = Mapping[str, type[SyncError]]
Bound = Mapping[str, list[ast.expr]]
Parts = Mapping[str, str]
Function = ast.FunctionDef | None

_ARGUMENTS = ("fact", "subject", "allowed", "remedy")
_NO_NAMES = {*dir(str), *dir(builtins), "self"}
_HEAD = """# Errors

All that a command, the deployed function or a part of the local stack can tell, made
from the source by `make golden`. A line on stderr reads

    subject: fact; got …; allowed: …; what to do

Search for words of the fact; `{name}` stands for what your line has there. A command
ends with 0 (ok), 1 (a problem), 2 (wrong usage or configuration), 130 (interrupted).
"""


def modules() -> dict[str, ast.Module]:
    """Return the product's source by file name."""
    return {
        path.relative_to(ROOT).as_posix(): ast.parse(path.read_text())
        for folder in ("runtime", "infra")
        for path in sorted((ROOT / folder).rglob("*.py"))
    }


def classes(source: Source) -> Iterator[tuple[str, ast.ClassDef]]:
    """Yield every class that is an exception by its bases' names, with its module."""
    for name, tree in source.items():
        for node in ast.walk(tree):
            bases = [ast.unparse(each) for each in getattr(node, "bases", ())]
            if any(each.endswith(("Error", "Exception")) for each in bases):
                assert isinstance(node, ast.ClassDef)
                yield name.removesuffix(".py").replace("/", "."), node


def kinds(source: Source) -> dict[str, type[SyncError]]:
    """Return the classes of the tree of errors by name."""
    defined = [
        getattr(importlib.import_module(module), node.name)
        for module, node in classes(source)
    ]
    return {each.__name__: each for each in defined if issubclass(each, SyncError)}


def messages(source: Source) -> list[tuple[type[SyncError], str, Parts]]:
    """Return class, place and texts of every construction, once for each wording."""
    known = kinds(source)
    found = []
    for name, tree in source.items():
        for function, call in _calls(tree):
            kind = known.get(getattr(call.func, "id", ""))
            if kind is not None and kind.__init__ is SyncError.__init__:
                for bound in _bindings(tree, function):
                    for parts in _worded(call, bound):
                        if (kind, name, parts) not in found:
                            found.append((kind, name, parts))
    return found


def _calls(
    node: ast.AST, function: Function = None
) -> Iterator[tuple[Function, ast.Call]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Call):
            yield function, child
        yield from _calls(
            child, child if isinstance(child, ast.FunctionDef) else function
        )


def _bindings(tree: ast.Module, function: Function) -> Iterator[Bound]:
    """Yield what a function's names stand for, per call of it in the module."""
    if function is None:
        yield {}
        return
    local: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            local.setdefault(node.targets[0].id, []).append(node.value)
    names = [each.arg for each in function.args.args if each.arg != "self"]
    for name, value in zip(reversed(names), reversed(function.args.defaults)):
        local[name] = [value]
    called = False
    for caller, call in _calls(tree):
        if function.name in (getattr(call.func, key, "") for key in ("id", "attr")):
            called = True
            given = dict(zip(names, call.args))
            given |= {each.arg: each.value for each in call.keywords if each.arg}
            outer = next(iter(_bindings(ast.Module([], []), caller)), {})
            known = {n: outer.get(getattr(v, "id", ""), [v]) for n, v in given.items()}
            yield local | known
    if not called:
        yield local


def _worded(call: ast.Call, bound: Bound) -> Iterator[Parts]:
    given = {each.arg: each.value for each in call.keywords if each.arg}
    given |= {"fact": each for each in call.args[:1]}
    names = [name for name in _ARGUMENTS if name in given]
    for texts in product(*(_texts(given[name], bound) for name in names)):
        yield {name: text for name, text in zip(names, texts) if text}


def _texts(node: ast.expr, bound: Bound) -> list[str]:
    """Return the texts that an expression may stand for."""
    match node:
        case ast.Constant(value=str(text)):
            return [text]
        case ast.JoinedStr(values=values):
            return ["".join(e) for e in product(*(_texts(v, bound) for v in values))]
        case ast.FormattedValue(value=value, conversion=conversion):
            texts = _texts(value, bound)
            return [repr(t) if conversion == 114 and t[:1] != "{" else t for t in texts]
        case ast.IfExp(body=one, orelse=other):
            return _texts(one, bound) + _texts(other, bound)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return [a + b for a in _texts(left, bound) for b in _texts(right, bound)]
        case ast.Name(id=name) if name in bound:
            rest = {key: value for key, value in bound.items() if key != name}
            return [text for each in bound[name] for text in _texts(each, rest)]
    names = [
        each.attr if isinstance(each, ast.Attribute) else each.id
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute | ast.Name)
    ]
    plain = [each.strip("_") for each in names if each not in _NO_NAMES]
    return ["{" + (plain[0] if plain else "…") + "}"]


def page(source: Source) -> str:
    """Return the text of docs/ERRORS.md."""
    lines, said = [_HEAD], messages(source)
    for name, kind in sorted(kinds(source).items()):
        tree = [each.__name__ for each in kind.__mro__ if issubclass(each, SyncError)]
        status = 2 if issubclass(kind, ConfigError) else 1
        again = "can be tried again" if kind.retryable else "stays until it is mended"
        lines += [f"## {name}\n", (kind.__doc__ or "").splitlines()[0], ""]
        lines += [f"`{' < '.join(tree)}`, code `{kind.code}`, exit {status}; {again}."]
        rows = {
            f"| {parts['fact']} | {remedy(parts)} | {place} |".replace("<", "&lt;")
            for made, place, parts in said
            if made is kind
        }
        if rows:
            lines += ["", "| Message | What to do | Where |", "|---|---|---|"]
        lines += [*sorted(rows), ""]
    return "\n".join(lines)


def remedy(parts: Parts) -> str:
    """Return what to do; where that goes without saying, what is allowed."""
    allowed = f"allowed: {parts['allowed']}" if "allowed" in parts else ""
    return parts.get("remedy") or allowed or "correct what it is about"
