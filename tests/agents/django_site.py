"""Settings and tasks of a Django project, for the tests."""

from __future__ import annotations

import os
from typing import Any

import psycopg.conninfo

SECRET_KEY = "of a test"
USE_TZ = True
INSTALLED_APPS: list[str] = []
_given = psycopg.conninfo.conninfo_to_dict(os.environ.get("TIDEBASE_DSN", ""))
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _given.get("dbname", ""),
        "HOST": _given.get("host", ""),
        "PORT": _given.get("port", ""),
        "USER": _given.get("user", ""),
        "PASSWORD": _given.get("password", ""),
    }
}
TASKS: dict[str, Any] = {
    "default": {
        "BACKEND": "tidebase_pg.agents.django.TideBackend",
        "QUEUES": ["default", "mails"],
        "OPTIONS": {"MAX_ATTEMPTS": 1},
    }
}
