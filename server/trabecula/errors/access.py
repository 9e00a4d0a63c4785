"""Faults of who may do what."""

from __future__ import annotations

from trabecula.errors.base import TrabeculaError


class TooManyAttempts(TrabeculaError):
    """Too many attempts failed."""

    code = "too-many-attempts"
    remedy = "Wait, then try again."


class Unauthenticated(TrabeculaError):
    """The request has no access token that can be accepted."""

    code = "unauthenticated"
    remedy = "Get an access token from the site's authorization server and send it as a Bearer token."


class ClientNotTrusted(Unauthenticated):
    """The call has no token of an EHR that is trusted here."""

    code = "client-not-trusted"
    remedy = "The operator lists each EHR with its issuer and keys; docs/cds-hooks.md says what a token must hold."


class SignInFailed(Unauthenticated):
    """Signing in did not work."""

    code = "sign-in-failed"
    remedy = "Begin again from the sign-in page; if it does not help, ask the site's administrators."


class SignInUnavailable(TrabeculaError):
    """Nobody can sign in through the site's provider now."""

    code = "sign-in-unavailable"
    remedy = "Try again; the operators look at TRABECULA_OIDC_ISSUER and TRABECULA_OUTBOUND_HOSTS."


class Forbidden(TrabeculaError):
    """The access token does not allow this."""

    code = "forbidden"
    remedy = "Ask the site for the scope named here."


class RoleMissing(Forbidden):
    """Your role does not allow this."""

    code = "role-missing"
    remedy = "Ask the site's administrators for the role."


class FormExpired(Forbidden):
    """The form did not come from a page of this session."""

    code = "form-expired"
    remedy = "Load the page again and send the form once more."
