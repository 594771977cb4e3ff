//! The contract of `POST /api/workspaces/{workspace}/events`, and of the publish script.

mod bodies;
mod bus_away;
mod durable;
mod origins;

/// The path of the workspace that these tests publish to.
const EVENTS: &str = "/api/workspaces/acme/events";
