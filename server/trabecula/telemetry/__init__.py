"""What the program tells of itself: frozen events, and those who listen to them (metrics, logs, traces).

Work tells :class:`~trabecula.telemetry.dispatch.Dispatcher` what has happened; nobody counts, logs or traces by
himself. Events have no field that could hold patient data: ids of this service, codes from closed sets, and numbers.
"""
