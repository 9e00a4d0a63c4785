"""The segmented anatomy as files: a label volume on the CT's grid and the meaning of its numbers."""

from trabecula.outputs.masks.write import LABELS_FILE, VOLUME_FILE, write_masks

__all__ = ["LABELS_FILE", "VOLUME_FILE", "write_masks"]
