"""No setting holds a secret: those that need one name the file that holds it."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from trabecula.config import Settings, load_settings
from trabecula.errors import ConfigurationError
from trabecula.work.database import open_database

SECRET_WORDS = re.compile(r"secret|password|passphrase|private|credential|(^|_)key(s)?(_|$)|token")
HARMLESS = {"auth_token_url"}
"""Named after a secret, and none."""


def test_what_sounds_like_a_secret_names_a_file_or_a_folder() -> None:
    hints = get_type_hints(Settings)
    suspects = {each.name for each in dataclasses.fields(Settings) if SECRET_WORDS.search(each.name)} - HARMLESS
    assert suspects >= {"database_password_file", "session_key_file", "oidc_client_secret_file", "client_keys_dir"}
    for name in suspects:
        assert name.endswith(("_file", "_dir")), name
        assert Path in (hints[name], *get_args(hints[name])), name


async def test_an_address_with_a_password_in_it_is_refused() -> None:
    for url in ("postgresql://u:hunter2@db/x", "postgresql://db/x?user=u&password=hunter2"):
        with pytest.raises(ConfigurationError) as caught:
            async with open_database(Settings(database_url=url)):
                pass
        assert "hunter2" not in caught.value.client_message
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"TRABECULA_CONTENT_URL": "s3://key:hunter2@bucket/x"})
    assert "hunter2" not in caught.value.client_message


def test_settings_that_are_shown_show_no_secret() -> None:
    from trabecula.service.auth.oidc import OidcOptions

    options = OidcOptions("https://a.test", "me", "hunter2", None, "openid", "roles", {})
    assert "hunter2" not in repr(options)
