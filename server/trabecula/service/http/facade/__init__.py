"""FHIR R4 over HTTP: read, search and two operations on what the record holds."""
