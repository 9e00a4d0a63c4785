"""The evaluation as one stand-alone HTML page: no script, no file beside it, nothing fetched."""

from trabecula.evaluation.page.render import to_html

__all__ = ["to_html"]
