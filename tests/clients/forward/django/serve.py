"""An app with Django's users and sessions, in memory, and the route and settings from the documents. Prints the port that
it listens on."""

import runpy

from wsgiref.simple_server import make_server

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="of a test",
    **{name: value for name, value in runpy.run_path("app/settings.py").items() if name.isupper()},
    SESSION_COOKIE_SECURE=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    ROOT_URLCONF=__name__,
)
django.setup()

from django.contrib.auth import login
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import include, path


def sign_in(request, name):
    login(request, User.objects.get(username=name))
    return HttpResponse(status=204)


urlpatterns = [path("login/<str:name>", sign_in), path("", include("app.urls"))]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    for name in ("u1", "u2"):
        User.objects.create_user(name)
    server = make_server("127.0.0.1", 0, get_wsgi_application())
    print(f"port {server.server_port}", flush=True)
    server.serve_forever()
