"""The gRPC service: a transport-free core, a thin servicer, converters, and the wiring of them.

``states`` and ``records`` say what a screening is to the service, ``store`` keeps it, ``upload`` takes it in,
``work`` does it, ``core`` ties these together. ``convert``, ``status``, ``interceptors``, ``servicer`` and
``server`` are all that know gRPC.
"""
