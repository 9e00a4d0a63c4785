"""What the hospital's record may know of the results: FHIR resources with their versions, kept and searched."""
