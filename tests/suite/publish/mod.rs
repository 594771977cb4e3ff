//! The contract of `POST /api/workspaces/{workspace}/events`, and of the publish script.

mod addressed;
mod bodies;
mod bus_away;
mod durable;
mod origins;
mod rates;

/// The path of the workspace that these tests publish to.
const EVENTS: &str = "/api/workspaces/acme/events";

/// What `--url` takes to reach a broker.
fn url(cluster: &crate::support::TestCluster) -> String {
    format!("http://{}/api", cluster.broker.address())
}
