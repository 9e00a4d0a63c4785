"""The root of the tree, and what any part of the program may raise."""

from __future__ import annotations

from typing import ClassVar


class TrabeculaError(Exception):
    """Base of every error raised on purpose. The class docstring is the default message."""

    code: ClassVar[str] = "internal"
    remedy: ClassVar[str] = "Report this to the operators with the screening id."

    def __init__(self, detail: str = "", **fields: object) -> None:
        super().__init__(detail)
        self.detail = detail
        """For operators' logs; must not hold patient data either."""
        self.fields = fields
        """Facts in bounded form (counts, tags, limits), free of patient data."""

    @property
    def client_message(self) -> str:
        """What went wrong and how to mend it, free of patient data and internals."""
        facts = ", ".join(f"{name}={value}" for name, value in sorted(self.fields.items()))
        summary = (type(self).__doc__ or self.code).strip().splitlines()[0]
        return f"{summary}{f' ({facts})' if facts else ''} {self.remedy}"

    def __str__(self) -> str:
        return self.detail or self.client_message


class InputError(TrabeculaError):
    """The input cannot be used."""

    code = "invalid-input"
    remedy = "Send the DICOM instances of one CT study."


class ExtraMissing(TrabeculaError):
    """An optional part of the program is not installed."""

    code = "extra-missing"
    remedy = "Install the extra named here."


class NotFound(TrabeculaError):
    """There is no such screening."""

    code = "not-found"
    remedy = "Check the id; results are kept for the configured time only."


class Unforeseen(TrabeculaError):
    """The program met a fault that it did not foresee."""

    code = "unforeseen"


class ConfigurationError(TrabeculaError):
    """A setting cannot be used."""

    code = "configuration"
    remedy = "Mend the setting named here; docs/configuration.md lists all of them."


class OutboundRefused(TrabeculaError):
    """The address may not be called from here."""

    code = "outbound-refused"
    remedy = "The operator lists the hosts that may be called; docs/configuration.md."


class NotConfigured(TrabeculaError):
    """This installation was not set up for that."""

    code = "not-configured"
    remedy = "The operator sets it up; docs/configuration.md."
