"""How good the anatomy models are, against reference labels: measured, pictured, published.

Nothing in a running service needs this package. Each figure is explained in ``docs/evaluation.md``.
"""
