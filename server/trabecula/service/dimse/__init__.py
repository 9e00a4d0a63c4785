"""Studies by DICOM message: C-STORE, storage commitment and C-ECHO as a provider (PS3.4 B, J; PS3.7 9.1.5)."""
