//! The files of the page, which are part of the program.

use http::header::{self, HeaderValue};
use warp::reply::Response;

use super::reply;

/// A file of the page.
#[derive(Debug)]
pub(super) struct ConsoleAsset {
    /// Its name below `/console/`.
    name: &'static str,
    content_type: &'static str,
    content: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $content_type:literal) => {
        ConsoleAsset {
            name: $name,
            content_type: $content_type,
            content: include_bytes!(concat!("static/", $name)),
        }
    };
}

/// The page itself.
static PAGE: ConsoleAsset = asset!("index.html", "text/html; charset=utf-8");

static ASSETS: [ConsoleAsset; 14] = [
    asset!("console.css", "text/css; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
    asset!("api.js", "text/javascript; charset=utf-8"),
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("bans.js", "text/javascript; charset=utf-8"),
    asset!("dom.js", "text/javascript; charset=utf-8"),
    asset!("explain.js", "text/javascript; charset=utf-8"),
    asset!("format.js", "text/javascript; charset=utf-8"),
    asset!("nodes.js", "text/javascript; charset=utf-8"),
    asset!("overview.js", "text/javascript; charset=utf-8"),
    asset!("plot.js", "text/javascript; charset=utf-8"),
    asset!("trial.js", "text/javascript; charset=utf-8"),
    asset!("workspace.js", "text/javascript; charset=utf-8"),
    asset!("workspaces.js", "text/javascript; charset=utf-8"),
];

impl ConsoleAsset {
    /// The page.
    pub(super) fn page() -> &'static Self {
        &PAGE
    }

    /// The file with a name, if there is one.
    pub(super) fn find(name: &str) -> Option<&'static Self> {
        ASSETS.iter().find(|asset| asset.name == name)
    }

    /// The response with the file. A browser asks again each time: a new version of the node has
    /// new files under the same names.
    pub(super) fn response(&self) -> Response {
        let mut response = reply::with_body(self.content, self.content_type);
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}
