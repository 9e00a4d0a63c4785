"""The pages for people: results and their sign-off, the recall list, quality figures. No script runs in them."""

from trabecula.service.http.pages.deps import Pages
from trabecula.service.http.pages.routes import routes

__all__ = ["Pages", "routes"]
