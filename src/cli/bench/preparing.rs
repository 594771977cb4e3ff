//! Checks before a run: the broker accepts our streams, the bus is reachable, and the process of
//! the server is known.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::Full;

use super::super::CommandFailure;
use super::super::client::{Broker, json_body};
use super::args::Plan;
use super::publish::Outlet;
use crate::config::Config;
use tidings_bench::host::{Processes, Unknown, Usage};
use tidings_bench::outcome::Way;
use tidings_bus::redis::bulk::{BulkPublisher, BulkWay};
use tidings_settings::RedisUrl;

/// The bus, as far as a run has to do with it.
pub(super) struct BenchBus {
    /// A connection to ask by.
    link: BulkPublisher,
    /// The way by which events go to it; `None` where they go through the broker.
    outlet: Option<(Box<Config>, BulkWay)>,
}

impl BenchBus {
    /// The way by which events go to it, once.
    pub(super) fn outlet(&mut self) -> Option<Outlet> {
        self.outlet.take().map(|(config, way)| Outlet::Bus(config, way))
    }

    /// How many times logs were read.
    pub(super) async fn xranges(&mut self) -> Option<u64> {
        self.link.xranges().await
    }
}

/// Finds the broker's address, and sees that it opens a stream for us.
pub(super) async fn look(plan: &Plan, broker: &Broker) -> Result<SocketAddr, CommandFailure> {
    let (host, port) = &plan.host;
    let found = tokio::net::lookup_host((host.as_str(), *port)).await;
    let found = found.map(|mut addresses| addresses.next());
    let Ok(Some(target)) = found else {
        return Err(CommandFailure::Failed(format!("the host `{host}` cannot be found")));
    };
    let Some(workspace) = plan.workspaces.first() else { return Ok(target) };
    let url = format!("http://{}{}", plan.authority, plan.path.of(workspace));
    let request = broker.request(Method::GET, &url)?.body(Full::new(Bytes::new()));
    let request = request.map_err(|error| CommandFailure::Usage(error.to_string()))?;
    let response = broker.send(request).await.map_err(CommandFailure::Failed)?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(target);
    }
    let answer = json_body(response).await.map_err(CommandFailure::Failed)?;
    let detail =
        answer["detail"].as_str().unwrap_or("this does not look like Tidings: check --url and --path");
    Err(CommandFailure::Failed(format!("the broker responded with {status}: {detail}")))
}

/// Connects to the bus if events go to it, or if it can report the cost of a storm.
pub(super) async fn bus(plan: &Plan, config: &Config) -> Result<Option<BenchBus>, CommandFailure> {
    let way = match plan.way {
        Way::Http | Way::Url => None,
        Way::RedisLive => Some(BulkWay::Live),
        Way::RedisDurable => Some(BulkWay::Durable),
    };
    let asked = plan.storm.is_some() && config.redis.is_configured();
    if way.is_none() && !asked {
        return Ok(None);
    }
    let mut config = config.clone();
    if !config.redis.is_configured() {
        let Some(address) = config.embedded.listen else {
            return Err(CommandFailure::Usage(
                "neither redis.url nor embedded.listen is configured: there is no bus to publish on"
                    .to_owned(),
            ));
        };
        config.redis.url = RedisUrl::new(format!("redis://{address}"));
    }
    let described = config.redis.describe();
    let link = BulkPublisher::connect(&config.redis, &config.retention, way.unwrap_or(BulkWay::Live)).await;
    match link {
        Ok(link) => Ok(Some(BenchBus { link, outlet: way.map(|way| (Box::new(config), way)) })),
        // A run without events on the bus works without it.
        Err(_) if way.is_none() => Ok(None),
        Err(error) => Err(CommandFailure::Failed(format!("cannot reach the bus at {described}: {error}"))),
    }
}

/// Finds the server's processes, and what they use before the first connection.
pub(super) fn server(plan: &Plan, target: SocketAddr) -> Result<(Processes, Usage), Unknown> {
    let processes = match plan.pid {
        Some(pid) => Processes::family(pid)?,
        None => Processes::listening_on(target)?,
    };
    let usage = processes.usage()?;
    Ok((processes, usage))
}
