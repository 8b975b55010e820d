"""Studio in Django's admin: an entry that leads there, and addresses of tasks."""

from __future__ import annotations

from typing import Any, Final, cast

from django.conf import settings  # type: ignore[import-untyped]
from django.core.exceptions import ImproperlyConfigured  # type: ignore[import-untyped]

__all__ = ["StudioLink", "studio_url"]

SETTING: Final = "TIDEBASE_STUDIO_URL"
"""Where Studio is, such as https://tide.example.com/studio."""
LABEL: Final = "tidebase"


def studio_url(result_id: str | None = None) -> str:
    """The address of Studio, or of the run of a task's result there.

    >>> format_html('<a href="{}">the run</a>', studio_url(result.id))
    """
    base = str(getattr(settings, SETTING, None) or "").rstrip("/")
    if not base.startswith(("https://", "http://", "/")):
        raise ImproperlyConfigured(
            f"{SETTING} is {base!r}; give the address of Studio, such as "
            "https://tide.example.com/studio"
        )
    return base if result_id is None else f"{base}/runs/{result_id}"


class StudioLink:
    """Put before AdminSite: the admin's list of applications begins with Studio, which asks for a
    login of its own.

    >>> class Site(StudioLink, admin.AdminSite): ...
    """

    def get_app_list(self, request: Any, app_label: str | None = None) -> list[dict[str, Any]]:
        site = cast(Any, super())
        found: list[dict[str, Any]] = site.get_app_list(request, app_label)
        if app_label not in (None, LABEL):
            return found
        permissions = {"add": False, "change": False, "delete": False, "view": True}
        link = {
            "name": "Studio",
            "object_name": "Studio",
            "admin_url": studio_url(),
            "add_url": None,
            "view_only": True,
            "perms": permissions,
        }
        entry = {
            "name": "Tidebase",
            "app_label": LABEL,
            "app_url": studio_url(),
            "has_module_perms": True,
            "models": [link],
        }
        return [entry, *found]
