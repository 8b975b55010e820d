"""Django's admin leads to Studio."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("django", reason="run: make test-agents")

SITE = """
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of a test",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
    ROOT_URLCONF="__main__",
    TIDEBASE_STUDIO_URL=%r,
)
django.setup()

from django.contrib import admin
from django.contrib.auth.models import Group, User
from django.template.loader import render_to_string
from django.test import RequestFactory
from django.urls import path

from tidebase_pg.agents.django_admin import StudioLink, studio_url


class Site(StudioLink, admin.AdminSite):
    pass


site = Site()
site.register(Group)
urlpatterns = [path("admin/", site.urls)]
request = RequestFactory().get("/admin/")
request.user = User(is_staff=True, is_superuser=True, is_active=True)
"""
RENDERED = """
print(render_to_string("admin/app_list.html", {"app_list": site.get_app_list(request)}, request))
print(studio_url("01a2275c-ee6b-7bd4-b96e-014ce5d9b707"))
print([app["app_label"] for app in site.get_app_list(request, "auth")])
"""


def execute(code: str, url: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", SITE % url + code], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("url", ["https://tide.example.com/studio/", "/tide/studio"])
def test_the_admin_leads_to_studio_and_studio_to_the_run_of_a_task(url: str) -> None:
    done = execute(RENDERED, url)
    assert done.returncode == 0, done.stderr
    base = url.rstrip("/")
    assert f'<a href="{base}">Studio</a>' in done.stdout
    assert done.stdout.index("Studio") < done.stdout.index("Groups")
    assert f"{base}/runs/01a2275c-ee6b-7bd4-b96e-014ce5d9b707" in done.stdout.splitlines()
    assert done.stdout.splitlines()[-1] == "['auth']"


@pytest.mark.parametrize("url", [None, "", "javascript:alert(1)", "tide.example.com"])
def test_an_address_that_is_none_is_refused_by_name(url: object) -> None:
    done = execute("studio_url()", url)
    assert "ImproperlyConfigured: TIDEBASE_STUDIO_URL is" in done.stderr
