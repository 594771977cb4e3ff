//! The path of a request: its end, and the workspace that a segment names.

use http::StatusCode;
use percent_encoding::percent_decode_str;
use warp::path::FullPath;
use warp::{Filter, Rejection};

use crate::http::response::problem::Problem;
use tidings_event::workspace::WorkspaceId;

/// The end of a path. One with a slash at its end is another path.
pub(crate) fn end() -> impl Filter<Extract = (), Error = Rejection> + Clone {
    let ended = |path: FullPath| {
        let is_end = !path.as_str().ends_with('/');
        std::future::ready(if is_end { Ok(()) } else { Err(warp::reject::not_found()) })
    };
    warp::path::end().and(warp::path::full()).and_then(ended).untuple_one()
}

/// The workspace that a path segment names. Percent-encoding of characters that need none means
/// the same (RFC 3986 section 6.2.2.2).
///
/// # Errors
///
/// Returns 400 for a segment that is not a workspace id.
pub(crate) fn workspace(segment: &str) -> Result<WorkspaceId, Problem> {
    let decoded = percent_decode_str(segment)
        .decode_utf8()
        .map_err(|_| bad("the workspace id in the path is not UTF-8"))?;
    workspace_id(&decoded)
}

/// The workspace that a text names.
///
/// # Errors
///
/// Returns 400 for a text that is not a workspace id.
pub(crate) fn workspace_id(text: &str) -> Result<WorkspaceId, Problem> {
    WorkspaceId::parse(text).map_err(|error| bad(error.to_string()))
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-workspace", detail)
}
