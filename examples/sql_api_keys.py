"""The service with API keys, with its keys in a database: a key that is revoked is refused by the next request.

authguard apikey create root first --prefix acme --environment live --role key-admin --expires 90d \\
    --store sqlite+aiosqlite:///keys.db --create-table
uvicorn examples.sql_api_keys:app
curl -H "X-API-Key: acme_live_..." http://127.0.0.1:8000/keys

AUTHGUARD_STORE=postgresql+asyncpg://orders@localhost/orders is another database, for the command and for the app.
"""

from __future__ import annotations

import os

from authguard import SqlApiKeys
from examples.api_keys import make_app

keys = SqlApiKeys(os.environ.get("AUTHGUARD_STORE", "sqlite+aiosqlite:///keys.db"))
app = make_app(keys, keys)
