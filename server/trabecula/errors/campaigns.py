"""Faults of campaigns over many archived studies."""

from __future__ import annotations

from trabecula.errors.base import InputError, TrabeculaError


class ManifestUnusable(InputError):
    """The manifest of studies cannot be used."""

    code = "manifest-unusable"
    remedy = "Mend the line named here; docs/archive.md shows the form."


class ReferenceUnusable(InputError):
    """The manifest names something that is not there, or not below the root."""

    code = "reference-unusable"
    remedy = "Mend the line of the manifest, or --root."


class ZipUnusable(InputError):
    """The zip file is damaged, encrypted or over a limit."""

    code = "zip-unusable"
    remedy = "Unpack it by hand, and name the folder in the manifest."


class CampaignNotFound(InputError):
    """There is no campaign in this folder."""

    code = "campaign-not-found"
    remedy = "Name the folder that `trabecula archive run --out` wrote to."


class CampaignBusy(TrabeculaError):
    """Another process works on this shard."""

    code = "campaign-busy"
    remedy = "Wait for it or stop it, or take another shard."


class CampaignChanged(InputError):
    """The campaign was begun with other models, constants or settings, or cut into another number of shards."""

    code = "campaign-changed"
    remedy = "Go on with what it was begun with, or read all anew into another --out folder."


class CampaignStopped(TrabeculaError):
    """The campaign stopped before its end."""

    code = "campaign-stopped"
    remedy = "Mend what the reason names, and run the same command again: what has ended is not read again."


class WorkerNotStarted(TrabeculaError):
    """No worker process could be started for the study."""

    code = "worker-not-started"
    remedy = "The detail says why; the study keeps its attempts."
