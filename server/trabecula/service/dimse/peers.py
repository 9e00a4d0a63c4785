"""Who may send: AE titles and the networks they may call from."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from trabecula.errors import ConfigurationError

Network = IPv4Network | IPv6Network
AE_LENGTH: Final = 16


@dataclass(frozen=True)
class Peer:
    """One entry of the allow-list."""

    ae_title: str
    network: Network


@dataclass(frozen=True)
class Peers:
    """The allow-list."""

    entries: tuple[Peer, ...]

    @property
    def ae_titles(self) -> list[str]:
        return sorted({peer.ae_title for peer in self.entries})

    def allows(self, ae_title: str, address: str) -> bool:
        """Whether an AE may call from an address."""
        try:
            host = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(host, "ipv4_mapped", None)
        return any(peer.ae_title == ae_title.strip() and (mapped or host) in peer.network for peer in self.entries)


def parse_peers(text: str) -> Peers:
    """``AE_TITLE@address`` or ``AE_TITLE@network/bits``, commas between.

    Raises:
        ConfigurationError: if an entry is malformed, or there is none.
    """
    entries = tuple(_peer(part.strip()) for part in text.split(",") if part.strip())
    if not entries:
        raise ConfigurationError(setting="TRABECULA_DIMSE_PEERS", must_be="given, for nobody else may send")
    return Peers(entries)


def _peer(text: str) -> Peer:
    title, separator, address = text.rpartition("@")
    try:
        if not separator or not 0 < len(title) <= AE_LENGTH or "\\" in title or not title.isprintable():
            raise ValueError
        return Peer(title, ip_network(address, strict=False))
    except ValueError as error:
        raise ConfigurationError(setting="TRABECULA_DIMSE_PEERS", must_be="AE_TITLE@address or network") from error
