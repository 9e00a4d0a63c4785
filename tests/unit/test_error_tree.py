"""The tree of errors is one, and whoever imports from its package finds all of it."""

import importlib
import pkgutil

from trabecula import errors


def test_every_error_of_every_module_is_named_by_the_package():
    defined = set()
    for module in pkgutil.iter_modules(errors.__path__, f"{errors.__name__}."):
        for name, thing in vars(importlib.import_module(module.name)).items():
            if isinstance(thing, type) and issubclass(thing, errors.TrabeculaError) and thing.__module__ == module.name:
                defined.add(name)
    assert defined == set(errors.__all__)
    assert all(getattr(errors, name).__name__ == name for name in defined)


def test_no_two_errors_share_a_code_but_parents_and_their_heirs():
    by_code: dict[str, list[type]] = {}
    for name in errors.__all__:
        kind = getattr(errors, name)
        by_code.setdefault(kind.code, []).append(kind)
    for kinds in by_code.values():
        oldest = min(kinds, key=lambda kind: len(kind.__mro__))
        assert all(issubclass(kind, oldest) for kind in kinds)
