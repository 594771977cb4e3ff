//! Wrong requests and their responses. None needs an event, so the bus does not matter.

mod cors;
mod framing;
mod heads;
mod requests;

use crate::support::http::Response;
use crate::support::{Broker, BrokerOptions};

async fn broker() -> Broker {
    Broker::start(BrokerOptions::embedded()).await
}

/// An error is a whole problem document (RFC 9457), whatever it is about.
fn check_problem(response: &Response, status: u16, kind: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(response.header("cache-control"), "no-store");
    let problem = response.json();
    assert_eq!(problem["type"], format!("urn:tidings:problem:{kind}"));
    assert_eq!(problem["status"], status);
    assert_eq!(problem["title"], response.status.canonical_reason().unwrap());
    assert!(problem["detail"].as_str().unwrap().len() > 10, "{problem}");
}
