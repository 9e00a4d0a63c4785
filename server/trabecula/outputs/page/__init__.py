"""The report as one stand-alone HTML page: no script, no file beside it, nothing fetched."""

from trabecula.outputs.page.render import to_html

__all__ = ["to_html"]
