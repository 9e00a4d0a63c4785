"""The HTTP service: FHIR R4, CDS Hooks, pages, health; one Starlette application made of route groups."""
