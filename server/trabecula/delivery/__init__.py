"""Handing results over: the outbox, and its ways to an EHR (FHIR) and a PACS (DICOM)."""
