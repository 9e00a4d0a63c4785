"""Who may read what over HTTP: SMART access tokens, scopes, and the record of every access."""
