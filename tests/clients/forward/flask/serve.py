"""A Flask app with sessions in cookies and the route from the documents, which serves two hosts and redirects to https.
Prints the port that it listens on."""

from wsgiref.simple_server import make_server

from flask import Flask, redirect, request, session
from werkzeug.middleware.proxy_fix import ProxyFix

from app.tidings import tidings

app = Flask(__name__)
app.config.update(SECRET_KEY="of a test", TRUSTED_HOSTS=["app.example", "127.0.0.1"], SESSION_COOKIE_SECURE=True)
app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=1)


@app.before_request
def to_https():
    if not request.is_secure:
        return redirect(request.url.replace("http://", "https://", 1), 308)


@app.get("/login/<name>")
def login(name):
    session["user_id"] = name
    return "", 204


app.register_blueprint(tidings)

if __name__ == "__main__":
    server = make_server("127.0.0.1", 0, app)
    print(f"port {server.server_port}", flush=True)
    server.serve_forever()
