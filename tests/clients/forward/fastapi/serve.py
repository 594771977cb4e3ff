"""A FastAPI app with sessions in cookies and the route from the documents, which serves two hosts and redirects to https.
Prints the port that it listens on."""

import socket

import uvicorn
from fastapi import FastAPI, Request, Response
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from app.routes.tidings import router

app = FastAPI()
app.add_middleware(SessionMiddleware, secret_key="of a test", https_only=True)
app.add_middleware(HTTPSRedirectMiddleware)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=["app.example", "127.0.0.1"])


@app.get("/login/{name}")
def login(name: str, request: Request) -> Response:
    request.session["user_id"] = name
    return Response(status_code=204)


app.include_router(router)

if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"port {listener.getsockname()[1]}", flush=True)
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
