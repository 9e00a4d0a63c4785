"""Documents that travel with a result: the report's pages, and the cards of the models."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

BASE64_LIMIT: Final = 1_000_000
"""Characters of base64; R4 bounds a string to 1 MB and servers hold base64 to the same."""


@dataclass(frozen=True)
class Form:
    """A document, inside when it is small enough, else by its address, else not at all."""

    content_type: str
    title: str
    data: bytes | None = None
    url: str | None = None

    def attachment(self) -> Json | None:
        """The FHIR Attachment; None when the document is too large to go inside and has no address."""
        known: Json = {"contentType": self.content_type, "language": "en", "title": self.title}
        if self.data is None:
            return None if self.url is None else {**known, "url": self.url}
        # SHA-1 is what R4 asks for in Attachment.hash; it guards against damage, not against forgery
        digest = base64.b64encode(hashlib.sha1(self.data, usedforsecurity=False).digest()).decode("ascii")
        described = {**known, "size": len(self.data), "hash": digest}
        text = base64.b64encode(self.data).decode("ascii")
        if len(text) <= BASE64_LIMIT:
            return {**described, "data": text}
        return None if self.url is None else {**described, "url": self.url}


@dataclass(frozen=True)
class ModelCard:
    """The card of one installed model."""

    name: str
    version: str
    model_sha256: str
    """Of the model that it describes; tells whether that model had a part in a result."""
    markdown: bytes
    url: str | None = None
    """Where it can be fetched, used when it is too large to travel inside."""
