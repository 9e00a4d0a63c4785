"""A PACS: results to it by C-STORE or STOW-RS, studies from it by QIDO-RS and WADO-RS."""

from trabecula.delivery.pacs.cstore import DimseSender
from trabecula.delivery.pacs.pull import DicomwebArchive
from trabecula.delivery.pacs.stow import StowSender

__all__ = ["DicomwebArchive", "DimseSender", "StowSender"]
