"""CDS Hooks 2.0: from stored results and what the EHR knows to cards."""
