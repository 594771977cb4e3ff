//! Disconnects and bans from the console.

use bytes::Bytes;
use http::StatusCode;
use warp::reply::Response;

use super::Console;
use super::reply;
use crate::http::Problem;
use crate::http::request::peer::Peer;
use tidings_auth::control::ControlCommand;
use tidings_bus::PublishError;

impl Console {
    /// Publishes a command on the control channel, so that all nodes apply it. The body is the
    /// message of that channel.
    pub(super) async fn disconnect(&self, peer: &Peer, body: Bytes) -> Result<Response, Problem> {
        ControlCommand::parse(&body).map_err(|error| reply::bad_request(error.to_string()))?;
        let retry = self.parts.streams.retry;
        let sent = body.clone();
        match self.parts.bus.send_control(body).await {
            Ok(()) => {
                let client = peer.client.address;
                tracing::info!(%client, command = &*String::from_utf8_lossy(&sent), "the console sent a disconnect");
                Ok(reply::empty(StatusCode::ACCEPTED))
            }
            Err(error @ (PublishError::Unavailable(_) | PublishError::Busy(_))) => {
                Err(Problem::unavailable(format!("the command was not sent: {error}"), retry))
            }
            Err(PublishError::Refused(reason)) => Err(Problem::new(
                StatusCode::BAD_GATEWAY,
                "refused-by-bus",
                format!("the bus refused the command: {reason}"),
            )),
        }
    }
}
