//! One server's view of its cluster: the reply to `CLUSTER NODES`, parsed without I/O.
//!
//! Only this reply has the configuration epochs, which decide between contradicting views.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::slot::SLOTS;

/// The id of a server in its cluster, which survives restarts and changes of the address.
pub(super) type ServerId = Arc<str>;

/// Limits the servers of a view. Redis recommends at most 1,000.
const SERVERS_MAX: usize = 10_000;

/// The view of one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TopologyView {
    pub(super) servers: Vec<ViewServer>,
}

/// One server of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ViewServer {
    pub(super) id: ServerId,
    /// The names and addresses of the server, the one to prefer first. Empty if none is known.
    pub(super) hosts: Vec<String>,
    pub(super) port: u16,
    /// The server that replied.
    pub(super) is_myself: bool,
    pub(super) is_primary: bool,
    /// A majority of the primaries cannot reach it.
    pub(super) is_failed: bool,
    /// The epoch of its slots, or of those of its primary.
    pub(super) epoch: u64,
    pub(super) slots: Vec<RangeInclusive<u16>>,
    /// The slots that this server is handing over, only in its own view.
    pub(super) migrating: Vec<u16>,
}

/// Reports that a text is not a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's reply to CLUSTER NODES is not a list of servers")]
pub(super) struct NotAView;

impl TopologyView {
    /// Parses the reply of a server. A server that does not know its own address has `asked`.
    ///
    /// A line is `<id> <ip:port@bus-port[,hostname[,field=value…]]> <flags> <primary> <ping> <pong>
    /// <epoch> <link> [<slot>…]`.
    pub(super) fn parse(text: &str, asked: &str) -> Result<Self, NotAView> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let servers: Vec<_> = lines
            .take(SERVERS_MAX)
            .map(|line| server(line, asked).ok_or(NotAView))
            .collect::<Result<_, _>>()?;
        if servers.is_empty() { Err(NotAView) } else { Ok(Self { servers }) }
    }

    /// Returns the server that replied.
    pub(super) fn myself(&self) -> Option<&ViewServer> {
        self.servers.iter().find(|server| server.is_myself)
    }
}

fn server(line: &str, asked: &str) -> Option<ViewServer> {
    let mut fields = line.split(' ').filter(|field| !field.is_empty());
    let id = fields.next().filter(|id| id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    let (address, flags) = (fields.next()?, fields.next()?);
    // The primary, and the times of the last ping and pong.
    let epoch = fields.nth(3)?.parse().ok()?;
    let _link_state = fields.next()?;
    let has = |flag| flags.split(',').any(|set| set == flag);
    let is_myself = has("myself");
    let (hosts, port) = hosts(address, is_myself.then_some(asked))?;
    let mut server = ViewServer {
        id: ServerId::from(id),
        hosts: if has("noaddr") { Vec::new() } else { hosts },
        port,
        is_myself,
        is_primary: has("master"),
        is_failed: has("fail"),
        epoch,
        slots: Vec::new(),
        migrating: Vec::new(),
    };
    for field in fields {
        match field.strip_prefix('[') {
            Some(moving) => server.migrating.extend(migrating(moving)),
            None => server.slots.push(range(field)?),
        }
    }
    Some(server)
}

/// Returns the hosts and the port. The hostname comes first, because a cluster announces it for
/// clients that need it: for certificates, or because they cannot reach the address.
fn hosts(address: &str, own: Option<&str>) -> Option<(Vec<String>, u16)> {
    let mut parts = address.split(',');
    let socket = parts.next()?;
    let (socket, _bus_port) = socket.split_once('@').unwrap_or((socket, ""));
    // An IPv6 address has colons too.
    let (ip, port) = socket.rsplit_once(':')?;
    let ip = ip.trim_start_matches('[').trim_end_matches(']');
    let hostname = parts.next().filter(|name| !name.contains('=') && *name != "?").unwrap_or_default();
    let ip = if ip.is_empty() { own.unwrap_or_default() } else { ip };
    let hosts = [hostname, ip].into_iter().filter(|host| !host.is_empty()).map(str::to_owned).collect();
    Some((hosts, port.parse().ok()?))
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some(first..=last)
}

/// Returns the slot of `[<slot>->-<id>]`; `None` for the other end of the move, `[<slot>-<-<id>]`.
fn migrating(text: &str) -> Option<u16> {
    let (slot, _target) = text.split_once("->-")?;
    slot.parse().ok().filter(|&slot| slot < SLOTS)
}

#[cfg(test)]
mod tests;
