//! The stream of figures to open pages. They are computed once a second for all pages, and only
//! while there is one.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::MissedTickBehavior;
use warp::reply::Response;

use super::Console;
use super::gate::ConsoleCredential;
use crate::http::Problem;
use crate::http::request::request_context::RequestContext;
use crate::http::response::event_stream;

/// Limits the open pages.
const PAGES_MAX: usize = 16;

/// The time between two documents.
const INTERVAL: Duration = Duration::from_secs(1);

/// The documents for open pages.
#[derive(Debug)]
pub(super) struct OverviewFeed {
    frames: watch::Sender<Bytes>,
    places: Arc<Semaphore>,
    opened: Notify,
}

/// One open page.
struct OpenPage {
    console: Arc<Console>,
    frames: watch::Receiver<Bytes>,
    credential: ConsoleCredential,
    /// The first frames, which are for this page alone.
    first: Option<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl OverviewFeed {
    pub(super) fn new() -> Self {
        let (frames, _) = watch::channel(Bytes::new());
        Self { frames, places: Arc::new(Semaphore::new(PAGES_MAX)), opened: Notify::new() }
    }
}

impl OverviewFeed {
    /// Whether a page is open.
    pub(super) fn is_open(&self) -> bool {
        self.frames.receiver_count() > 0
    }
}

impl Console {
    /// Computes the figures while a page is open. Never ends.
    pub(super) async fn feed_pages(&self) {
        let mut ticks = tokio::time::interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            if !self.feed.is_open() {
                self.feed.opened.notified().await;
            }
            ticks.tick().await;
            self.feed.frames.send_replace(frame("overview", &self.overview()));
        }
    }

    /// Opens the stream of figures: the samples of the last minutes, then the figures each second.
    /// It ends when its session does.
    ///
    /// # Errors
    ///
    /// Returns 503 beyond the limit of open pages.
    pub(super) fn open_feed(
        self: &Arc<Self>,
        request: &RequestContext,
        credential: ConsoleCredential,
    ) -> Result<Response, Problem> {
        let Ok(place) = Arc::clone(&self.feed.places).try_acquire_owned() else {
            let detail = format!("{PAGES_MAX} pages of the console are open: close one of them");
            return Err(Problem::unavailable(detail, self.parts.streams.retry));
        };
        let first = [frame("history", &self.samples()), frame("overview", &self.overview())].concat();
        let page = OpenPage {
            console: Arc::clone(self),
            frames: self.feed.frames.subscribe(),
            credential,
            first: Some(first.into()),
            _place: place,
        };
        self.feed.opened.notify_one();
        request.peer.connection.begin_streaming();
        Ok(event_stream::of_frames(stream::unfold(page, OpenPage::next)))
    }
}

impl OpenPage {
    /// Waits for the next frames; returns `None` at the end of the session.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(first), self));
        }
        self.frames.changed().await.ok()?;
        if !self.console.is_valid(&self.credential) {
            return None;
        }
        let frame = self.frames.borrow_and_update().clone();
        Some((Ok(frame), self))
    }
}

/// An event with a JSON document, which has no line ends (WHATWG HTML section 9.2).
fn frame(name: &str, document: &Value) -> Bytes {
    format!("event: {name}\ndata: {document}\n\n").into()
}
