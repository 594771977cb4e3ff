//! `tidings tail`: an SSE client that behaves as a browser's EventSource does (WHATWG HTML, section
//! 9.2).

use std::ops::ControlFlow;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt as _;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sse_stream::{Sse, SseStream};

use super::client::{Broker, json_body};
use super::{CommandFailure, GlobalOptions, block_on, output};
use tidings_event::spread;
use tidings_event::workspace::WorkspaceId;

/// A stream without bytes for this time counts as dead. Heartbeats come every 15 seconds by
/// default, and rarely at more than a minute.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// The pause before a reconnect while no stream has said otherwise.
const RETRY_DEFAULT: Duration = Duration::from_secs(2);

/// The longest pause before a reconnect, whatever a stream says.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Arguments of `tidings tail`.
#[derive(Debug, Args)]
pub(super) struct TailArgs {
    /// The workspace, such as `acme`
    workspace: String,
    /// Print every event of the stream, the broker's own too, as one JSON object a line
    #[arg(long)]
    json: bool,
    /// Only events whose payload's `type` is one of these
    #[arg(long, value_name = "A,B")]
    types: Option<String>,
    /// Begin after the event with this id
    #[arg(long, value_name = "ID")]
    last_event_id: Option<String>,
    /// Print the id of each event and a tab before its payload
    #[arg(long, conflicts_with = "json")]
    ids: bool,
    /// Begin with the first event logged at or after a time: an age (90s, 30m, 1h), milliseconds
    /// since 1970, or RFC 3339 such as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME", conflicts_with = "last_event_id")]
    since: Option<String>,
    /// Begin with the newest N logged events
    #[arg(long, value_name = "N", conflicts_with_all = ["last_event_id", "since"])]
    last: Option<u64>,
    /// Stop after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// The broker's address [default: the configured one, http://127.0.0.1:8080/api]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) fn run(options: &GlobalOptions, args: &TailArgs) -> Result<(), CommandFailure> {
    let workspace =
        WorkspaceId::parse(&args.workspace).map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let broker = Broker::new(args.url.as_deref(), options)?;
    block_on(Tail::new(&broker, &workspace, args).run())
}

/// What a stream left behind when it ended.
enum TailEnd {
    /// Retry later.
    Again(String),
    /// The wanted number of events has arrived, or the output has no reader.
    Done,
}

struct Tail<'a> {
    broker: &'a Broker,
    workspace: &'a WorkspaceId,
    args: &'a TailArgs,
    position: Option<String>,
    /// A time as the broker takes it.
    since: Option<String>,
    retry: Duration,
    printed: u64,
    /// The stream has not sent its `connected` event, which is its first message without a name. An
    /// event of a publisher may look the same.
    is_opening: bool,
}

impl<'a> Tail<'a> {
    fn new(broker: &'a Broker, workspace: &'a WorkspaceId, args: &'a TailArgs) -> Self {
        let position = args.last_event_id.clone();
        let since = args.since.as_deref().map(|text| since(text, Timestamp::now()));
        Self { broker, workspace, args, position, since, retry: RETRY_DEFAULT, printed: 0, is_opening: true }
    }

    async fn run(mut self) -> Result<(), CommandFailure> {
        loop {
            match self.stream().await? {
                TailEnd::Done => return Ok(()),
                TailEnd::Again(why) => {
                    output::error(&format!(
                        "tidings: {why}; reconnecting in {:.1} s",
                        self.retry.as_secs_f64()
                    ));
                    tokio::time::sleep(self.retry).await;
                }
            }
        }
    }

    /// One connection, from request to end.
    async fn stream(&mut self) -> Result<TailEnd, CommandFailure> {
        let query = self.query();
        let mut request = self.broker.events(Method::GET, self.workspace, &query)?;
        if let Some(position) = &self.position {
            request = request.header("last-event-id", position);
        }
        let request = request
            .body(Full::new(Bytes::new()))
            .map_err(|_| CommandFailure::Usage("the last event id does not fit into a header".to_owned()))?;
        let response = match self.broker.send(request).await {
            Ok(response) => response,
            Err(why) => {
                self.retry = spread(RETRY_DEFAULT, 0.25);
                return Ok(TailEnd::Again(why));
            }
        };
        match response.status() {
            StatusCode::OK => {}
            // An intermediary in trouble, which passes; an EventSource would give up here, a tool
            // need not.
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                return Ok(TailEnd::Again(format!("the response was {status}")));
            }
            status => {
                let detail = detail(response).await.unwrap_or_default();
                return Err(CommandFailure::Failed(format!("the broker responded with {status}{detail}")));
            }
        }
        let mut events = SseStream::new(response.into_body());
        self.is_opening = true;
        loop {
            let event = match tokio::time::timeout(SILENCE_MAX, events.next()).await {
                Err(_) => {
                    return Ok(TailEnd::Again(format!("nothing came for {} s", SILENCE_MAX.as_secs())));
                }
                Ok(None) => return Ok(TailEnd::Again("the stream ended".to_owned())),
                Ok(Some(Err(error))) => return Ok(TailEnd::Again(format!("the stream broke: {error}"))),
                Ok(Some(Ok(event))) => event,
            };
            if let Some(retry) = event.retry {
                self.retry = Duration::from_millis(retry).min(RETRY_MAX);
            }
            if let Some(id) = &event.id {
                self.position = (!id.is_empty()).then(|| id.clone());
            }
            if event.data.is_some() && self.print(&event)?.is_break() {
                return Ok(TailEnd::Done);
            }
            if self.args.count.is_some_and(|count| self.printed >= count) {
                return Ok(TailEnd::Done);
            }
        }
    }

    /// The query of a request. Where to begin is asked for only until the stream itself has said
    /// where it is.
    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::from("?"));
        if let Some(types) = &self.args.types {
            query.append_pair("types", types);
        }
        if self.position.is_none() {
            if let Some(since) = &self.since {
                query.append_pair("since", since);
            }
            if let Some(last) = &self.args.last {
                query.append_pair("last", &last.to_string());
            }
        }
        query.finish()
    }

    /// Prints an event: payloads to standard output, the broker's own words to standard error,
    /// unless all is wanted.
    fn print(&mut self, event: &Sse) -> Result<ControlFlow<()>, CommandFailure> {
        let data = event.data.as_deref().unwrap_or_default();
        let name = event.event.as_deref();
        let own = match name {
            Some(name) => name.starts_with("tidings."),
            None => std::mem::take(&mut self.is_opening),
        };
        if !own {
            self.printed += 1;
        }
        if self.args.json {
            return output::result(&json!({ "id": self.position, "event": name, "data": data }).to_string());
        }
        match name {
            _ if !own && self.args.ids => {
                let id = self.position.as_deref().unwrap_or_default();
                return output::result(&format!("{id}\t{data}"));
            }
            _ if !own => return output::result(data),
            Some("tidings.heartbeat") => {}
            Some(name) => output::error(&format!("{name} {data}")),
            None => output::error(&format!("connected {data}")),
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A time in the past as the broker takes it. `text` is a length of time before `now`, or what the
/// broker takes already.
fn since(text: &str, now: Timestamp) -> String {
    let ago = text.parse::<SignedDuration>().ok().filter(SignedDuration::is_positive);
    // A plain number is milliseconds since 1970, to the broker.
    let then = ago.and_then(|ago| now.checked_sub(ago).ok());
    then.map_or_else(|| text.to_owned(), |then| then.as_millisecond().to_string())
}

/// What a refusal says.
async fn detail(response: Response<Incoming>) -> Option<String> {
    let answer = json_body(response).await.ok()?;
    Some(format!(": {}", answer["detail"].as_str()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_of_time_is_counted_back_from_now() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (text, expected) in [
            ("1h", "996400000"),
            ("90s", "999910000"),
            ("1h30m", "994600000"),
            ("1795373098811", "1795373098811"),
            ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            ("-1h", "-1h"),
            ("soon", "soon"),
        ] {
            assert_eq!(since(text, now), expected, "{text}");
        }
    }
}
