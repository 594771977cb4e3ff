//! The rights of a node's Redis user at each primary: `tidings check` tries them one after the
//! other.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisError, RedisResult, Value};
use tokio::time::timeout;

use super::super::access::{Finding, finding};
use super::super::channel::{Channels, LogKeys};
use super::super::connect::{ConnectError, Connector};
use super::super::reader;
use super::super::script::PublishScript;
use super::super::store;
use super::link::{LinkEvent, ShardLink};
use super::refresher::Refresher;
use super::router::Router;
use super::servers::{ClusterServer, Servers};
use super::slot::slot_of;
use super::topology::Topology;
use super::view::ServerId;
use crate::settings::RedisConfig;
use tidings_event::NodeId;

/// The names that are tried for a key in one of the slots of a primary.
const NAMES_MAX: u32 = 300_000;

/// Connects to each primary as a node does and tries every right that a node needs. Keys that it
/// writes expire after a second.
pub(in super::super) async fn examine(connector: Arc<Connector>, config: &RedisConfig) -> Vec<Finding> {
    let servers = Arc::new(Servers::new(connector, config));
    let refresher = match Refresher::new(Arc::clone(&servers), config) {
        Ok(refresher) => refresher,
        Err(error) => {
            return vec![Finding::bad("connection", error.to_string(), "correct redis.cluster.nodes")];
        }
    };
    let reached = timeout(config.command_timeout_seconds.duration(), refresher.refresh()).await;
    let reached = reached.unwrap_or_else(|_| Err(Arc::from("no reply in time")));
    let topology = match (reached, refresher.topology()) {
        (Ok(()), Some(topology)) => topology,
        (outcome, _) => {
            let error = outcome.err().unwrap_or_else(|| Arc::from("no topology"));
            return vec![unreachable(&error, config)];
        }
    };
    let mut findings = vec![Finding::good("connection", format!("{} responds", config.describe()))];
    findings.push(match topology.uncovered() {
        0 => Finding::good("slots", format!("{} primaries own all slots", topology.owners().len())),
        slots => Finding::bad(
            "slots",
            format!("{slots} slots have no primary"),
            "run `redis-cli --cluster check`, and start the primary or its replica",
        ),
    });
    let channels = Channels::new(&config.channel_prefix, &config.control_channel, NodeId::random());
    for owner in topology.owners() {
        let Some(place) = topology.servers.get(owner) else { continue };
        let server = servers.at(place);
        match name_of(&topology, owner, &channels) {
            Some(name) => findings.extend(at(&server, name, &channels, config).await),
            None => findings.push(Finding::bad(
                "slots",
                format!("{server} owns so few slots that no key of them was found"),
                "run `redis-cli --cluster rebalance`",
            )),
        }
    }
    let router = Router::new(servers, refresher, config.command_timeout_seconds.duration());
    let stored = store::examine(&router.of(&channels.one_time("check")), &channels).await;
    findings.push(finding("sharing tickets, bans and nodes", stored, config));
    findings.push(Finding::good(
        "live events",
        "publish them with SPUBLISH: nodes of a cluster do not receive PUBLISH",
    ));
    findings
}

/// Returns a name for a key and channel in a slot of a primary.
fn name_of(topology: &Topology, owner: &ServerId, channels: &Channels) -> Option<String> {
    let name = |number| format!("{}/{number}", channels.probe());
    (0..NAMES_MAX).map(name).find(|name| topology.owner(slot_of(name.as_bytes())) == Some(owner))
}

/// Tries the rights at one primary.
async fn at(server: &ClusterServer, name: String, channels: &Channels, config: &RedisConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    let target = match server.connector.find().await {
        Ok(target) => target,
        Err(error) => return vec![unreachable(&error.to_string(), config)],
    };
    let link = async {
        let link = server.connector.shard_link(&target).await?;
        target.check(&link.server)?;
        Ok::<_, ConnectError>(link)
    };
    let mut link = match link.await {
        Ok(link) => link,
        Err(error) => return vec![unreachable(&format!("{server}: {error}"), config)],
    };
    let version = link.server.server.clone().unwrap_or_else(|| "its name and version are hidden".to_owned());
    findings.push(Finding::good("primary", format!("{server}: {version}")));
    let within = config.command_timeout_seconds.duration();
    let mut check = |check, outcome: RedisResult<()>| findings.push(finding(check, outcome, config));
    check("subscribing", subscribe(&mut link, "SSUBSCRIBE", &name, within).await);
    check(
        "subscribing to the control channel",
        subscribe(&mut link, "SUBSCRIBE", channels.control(), within).await,
    );
    let keys = LogKeys::new(name);
    let mut publish = redis::cmd("SPUBLISH");
    publish.arg(&keys.log).arg("probe");
    let mut durable = redis::cmd("EVAL");
    durable.arg(PublishScript::Cluster.text()).arg(2).arg(&keys.log).arg(&keys.epoch).arg("{}").arg(1).arg(1);
    let mut read = redis::cmd("XRANGE");
    read.arg(&keys.log).arg("-").arg("+").arg("COUNT").arg(1);
    let second = Duration::from_secs(1);
    for (name, command) in [
        ("publishing", publish),
        ("publishing durably", durable),
        ("reading the log", read),
        ("keeping the epochs of logs", reader::name_command(&keys, 1)),
        ("marking live events", reader::mark_command(&keys, Duration::ZERO, second)),
    ] {
        check(name, ask(server, &command, within).await);
    }
    findings
}

async fn ask(server: &ClusterServer, command: &Cmd, within: Duration) -> RedisResult<()> {
    server.commands.try_ask(command, within).await.map(drop).map_err(|failed| failed.error)
}

/// Subscribes to a channel and waits for the confirmation or the error.
async fn subscribe(link: &mut ShardLink, command: &str, channel: &str, within: Duration) -> RedisResult<()> {
    link.expect_confirmations(1);
    link.send(redis::cmd(command).arg(channel));
    let replied = async {
        loop {
            match link.next().await? {
                LinkEvent::Push(redis::PushKind::SSubscribe | redis::PushKind::Subscribe, _) => return Ok(()),
                LinkEvent::Push(..) => {}
                LinkEvent::Reply(reply) => return reply.map(|_: Value| ()),
            }
        }
    };
    timeout(within, replied)
        .await
        .unwrap_or_else(|_| Err(RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut))))
}

fn unreachable(error: &str, config: &RedisConfig) -> Finding {
    let fix = if error.contains("no node of a Redis Cluster") {
        "name nodes of a cluster in redis.cluster.nodes, or the server in redis.url"
    } else if error.contains("NOAUTH") || error.contains("WRONGPASS") {
        "correct the user and password of the first item of redis.cluster.nodes, or the file at redis.password_file"
    } else if error.contains("NOPERM") {
        return Finding::bad("topology", error, super::super::access::access_rule(config));
    } else {
        "start the servers, or correct redis.cluster.nodes"
    };
    Finding::bad("connection", format!("{}: {error}", config.describe()), fix)
}
