"""What a header says about contrast medium."""

from __future__ import annotations

import re

from trabecula.imaging import tags
from trabecula.imaging.elements import FrameElements
from trabecula.imaging.study import ContrastTag

_NONE_GIVEN = re.compile(
    r"NO|NON|NONE|NEIN|KEIN.*|OHNE.*|WITHOUT.*|W/?O.*|NATIVE?|UNENHANCED|NIL|N/?A|-|0", re.IGNORECASE
)
_BY_MOUTH = re.compile(r"oral|rectal|gastro\w*|per os|\bp\.?o\.?\b|barium|water", re.IGNORECASE)
_INTO_VEIN = re.compile(
    r"\bI\.?V\.?\b|intraven\w*|intravascul\w*|omni\w*|iohexol|iopamid\w*|iomeprol|iodix\w*|iopromid\w*|ioversol"
    r"|ultravist|visipaque|isovue|imeron|optiray|xenetix|iomeron|accupaque|iobitridol",
    re.IGNORECASE,
)
_WITHOUT = re.compile(
    r"\bwithout\b|\bw/?o\b|\bnon\W?(con\w*|enhanced)|\bno (iv )?con\w*|\bunenhanced\b|\bplain\b|\bnativ\w*|\bohne km\b"
    r"|\bsans (inj\w*|contraste|pdc|iv)|\bsin (contraste|civ)\b|\bC-(?![A-Za-z])|(?<=\s)-C\b|\bNCCT\b|平扫",
    re.IGNORECASE,
)
_WITH = re.compile(
    r"\bw(ith)?/? ?(and|&|\+|or|/)? ?w(ithout\b|/?o\b)|\bwith (iv )?con\w*|\bw/? ?(con\w*|iv\b)"
    r"|(?<!un)(?<!non-)(?<!non )\benhanced\b|\barteri\w*|\bven(ous|oes|ös)\w*|\bport(al|o)\w*|\bangio\w*|\bCTP?A\b"
    r"|\bC\+|\+C\b|\bCE(CT)?\b|\bmit km\b|\bKM\b|\bavec (inj|contraste|iv)\w*|\bcon (contraste|civ)\b|增强",
    re.IGNORECASE,
)


def contrast_tag(header: FrameElements, series_text: str, study_text: str) -> ContrastTag:
    """Coded fields first, then the series' own words, then those of the study (a request, so only half a fact).

    An agent that was only swallowed says nothing about the vessels: unknown.
    """
    root = header.root
    administered = header.macro(tags.MACRO_CONTRAST).text(tags.AGENT_ADMINISTERED)
    if administered in ("YES", "NO"):
        return ContrastTag.GIVEN if administered == "YES" else ContrastTag.NOT_GIVEN
    agent = root.text(tags.CONTRAST_AGENT)
    if agent and not _NONE_GIVEN.fullmatch(agent):
        where = f"{agent} {root.text(tags.CONTRAST_ROUTE)}"
        only_by_mouth = _BY_MOUTH.search(where) and not _INTO_VEIN.search(where)
        return ContrastTag.UNKNOWN if only_by_mouth else ContrastTag.GIVEN
    if root.items(tags.CONTRAST_AGENT_SEQUENCE):
        return ContrastTag.GIVEN
    if agent:
        return ContrastTag.NOT_GIVEN
    for text in (series_text, study_text):
        without, given = _WITHOUT.search(text), _WITH.search(text)
        if bool(without) != bool(given):
            return ContrastTag.NOT_GIVEN if without else ContrastTag.GIVEN
        if without and given:
            return ContrastTag.UNKNOWN
    return ContrastTag.UNKNOWN
