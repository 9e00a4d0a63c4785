"""FHIRPath as rules use it: compiled once, and refused when it is not whole.

``fhirpathpy`` passes over syntax errors in silence and evaluates what it could read; a rule would then fire on half of
its condition. So every expression is parsed strictly first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fhirpathpy
from antlr4 import CommonTokenStream, InputStream
from antlr4.error.ErrorListener import ErrorListener
from fhirpathpy.models import models
from fhirpathpy.parser.generated.FHIRPathLexer import FHIRPathLexer
from fhirpathpy.parser.generated.FHIRPathParser import FHIRPathParser

Expression = Callable[[dict[str, Any]], list[Any]]
"""From a resource in JSON values to the values found."""


class _Strict(ErrorListener):  # type: ignore[misc]  # the package has no types
    def syntaxError(self, recognizer, offendingSymbol, line, column, msg, e):  # type: ignore[no-untyped-def]  # noqa: ARG002, N802, N803
        raise ValueError(f"FHIRPath, column {column}: {msg}")


def compile_expression(text: str) -> Expression:
    """Compile an expression for R4 resources.

    Raises:
        ValueError: if the text is not one whole FHIRPath expression.
    """
    lexer = FHIRPathLexer(InputStream(text))
    parser = FHIRPathParser(CommonTokenStream(lexer))
    for recognizer in (lexer, parser):
        recognizer.removeErrorListeners()
        recognizer.addErrorListener(_Strict())
    parser.expression()
    rest = parser.getCurrentToken()
    if rest.type != rest.EOF:
        raise ValueError(f"FHIRPath, column {rest.column}: {rest.text!r} is left over")
    compiled: Expression = fhirpathpy.compile(text, models["r4"])
    return compiled
