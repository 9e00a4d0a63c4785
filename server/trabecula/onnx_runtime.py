"""onnxruntime, imported here and nowhere else: its wheels report home unless they are told not to.

The wheel of 1.32 for Linux carries a telemetry client that keeps a device id and a database in the user's cache folder
and uploads to its makers. The library looks at its environment when it is loaded, so the word has to be there before;
what can be called afterwards stops events, not the client.
"""

from __future__ import annotations

import os

os.putenv("ORT_DISABLE_TELEMETRY", "1")  # for the library in this process and its children; our settings are elsewhere

import onnxruntime as ort

if hasattr(ort, "disable_telemetry_events"):
    ort.disable_telemetry_events()

__all__ = ["ort"]
