"""DICOM results of a screening: Segmentation, Comprehensive 3D SR, encapsulated PDF, Secondary Capture picture."""
