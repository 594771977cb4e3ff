//! Plain HTTP requests, one connection each.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::wait::DEADLINE;

/// A whole response.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in {:?}", self.body))
    }

    /// A header's text, empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("a header in ASCII"))
    }
}

/// Why there is no response: refused, closed, or not in time.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Makes a request and fails the test when there is no response. `target` is a path and a query.
pub async fn request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Response {
    try_request(address, method, target, headers, body)
        .await
        .unwrap_or_else(|error| panic!("{method} http://{address}{target}: {error}"))
}

/// `GET` without special headers. Fails the test when there is no response.
pub async fn get(address: SocketAddr, target: &str) -> Response {
    request(address, "GET", target, &[], "").await
}

/// Makes a request.
///
/// # Errors
///
/// Any failure before the end of the response.
pub async fn try_request(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Result<Response, Failure> {
    let mut request = http::Request::builder().method(method).uri(target);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("host", address.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into()))?;
    tokio::time::timeout(DEADLINE, exchange(address, request)).await?
}

/// Makes a request like a tool, and returns the status alone: that of a stream, whose body does not
/// end. The connection ends with the call.
pub async fn exchange_head(address: SocketAddr, target: &'static str) -> StatusCode {
    let stream = TcpStream::connect(address).await.expect("connect");
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("a connection");
    let driver = tokio::spawn(connection);
    let request =
        http::Request::get(target).header("host", address.to_string()).body(Full::<Bytes>::default());
    let response = sender.send_request(request.expect("a request")).await.expect("an answer");
    driver.abort();
    response.status()
}

async fn exchange(address: SocketAddr, request: http::Request<Full<Bytes>>) -> Result<Response, Failure> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let exchange = async {
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response { status: head.status, headers: head.headers, body })
    };
    // The connection is driven only for as long as the exchange takes, and closed with it.
    let mut exchange = std::pin::pin!(exchange);
    tokio::select! {
        response = &mut exchange => response,
        ended = connection => {
            ended?;
            exchange.await
        }
    }
}
