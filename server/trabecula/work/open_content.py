"""The content store of the settings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trabecula.config import Settings
from trabecula.work.content import ContentStore, FolderContent
from trabecula.work.disk import make_private
from trabecula.work.object_content import ObjectContent, read_options

CONTENT_FOLDER = "content"
SCRATCH_FOLDER = "content-scratch"
"""Of an object storage: files on their way in and out."""


@asynccontextmanager
async def open_content(settings: Settings) -> AsyncIterator[ContentStore]:
    """The store for the time of the block; what killed processes of this machine had staged is cleared first.

    Raises:
        ConfigurationError: if the URL or the options cannot be used.
    """
    await asyncio.to_thread(make_private, settings.state_dir)
    content: FolderContent | ObjectContent
    if settings.content_url is None:
        content = FolderContent(settings.state_dir / CONTENT_FOLDER)
    else:
        options = read_options(settings.content_options_file)
        content = ObjectContent(settings.content_url, options, settings.state_dir / SCRATCH_FOLDER)
    await asyncio.to_thread(content.clear_staging)
    try:
        yield content
    finally:
        await asyncio.to_thread(content.area.close)
