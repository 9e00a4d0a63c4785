"""What every profile's class has in common."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from trabecula.errors import ProfileViolation
from trabecula.outputs.r4.profiles.rule import AI_LABEL, IDENTIFIER, IDENTITY, Rule, at
from trabecula.outputs.r4.resources import checked

Json = dict[str, Any]

MADE_BY_AI: Final = (IDENTITY, IDENTIFIER, AI_LABEL)
"""Rules of what the device asserts."""


@dataclass(frozen=True, init=False)
class Profile:
    """A resource that is known to keep R4's shape and the rules of one profile of ours; there is no other object of it.

    It holds its JSON as text, so nothing can change it afterwards. Sub-classes are named as the profile.
    """

    resource_type: ClassVar[str]
    slug: ClassVar[str]
    """Id of the StructureDefinition."""
    rules: ClassVar[tuple[Rule, ...]]

    id: str
    text: str
    """The resource as JSON text."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        """Take a resource, new or read back from a server.

        Raises:
            ProfileViolation: if it does not keep a rule of the profile; names the rules, quotes no content.
            ConversionFault: if it is not R4.
        """
        resource = dict(content)
        if resource.get("resourceType") != self.resource_type:
            raise ProfileViolation(profile=self.slug, rules="resourceType")
        declared = [str(url).split("|")[0] for url in at(resource, "meta.profile")]
        broken = [] if any(url.endswith(f"/StructureDefinition/{self.slug}") for url in declared) else ["meta.profile"]
        broken += [rule.name for rule in self.rules if not rule.holds(resource)]
        if broken:
            raise ProfileViolation(profile=self.slug, rules=" ".join(broken))
        text = json.dumps(checked(resource), ensure_ascii=False, allow_nan=False)
        object.__setattr__(self, "id", str(resource["id"]))
        object.__setattr__(self, "text", text)

    def json(self) -> Json:
        """The resource; a copy of its own each time."""
        content: Json = json.loads(self.text)
        return content

    @property
    def url(self) -> str:
        """``Type/id``."""
        return f"{self.resource_type}/{self.id}"

    def reference(self, version: str | None = None) -> Json:
        """Reference to it, in a bundle and on the server that holds it; to one version of it if given."""
        history = "" if version is None else f"/_history/{version}"
        return {"reference": f"{self.url}{history}", "type": self.resource_type}
