"""The report as one stand-alone HTML page: no script, no file beside it, nothing fetched."""

from trabecula.outputs.page.render import ReviewNote, to_html, with_review

__all__ = ["ReviewNote", "to_html", "with_review"]
