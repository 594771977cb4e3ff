//! The bus over a Redis Cluster.
//!
//! | part | contents |
//! | --- | --- |
//! | [`slot`], [`view`], [`topology`] | the owners of slots, without I/O |
//! | [`servers`], [`refresher`] | the servers, and their views of the topology |
//! | [`router`] | commands at the server of their slot |
//! | [`link`], [`subscriptions`] | sharded subscriptions over one connection |
//! | [`session`] | keeps the link of one primary, with its probes |
//! | [`placement`] | which session has which workspace |
//! | [`control`] | the copies of control commands |
//! | [`shard`], [`status`] | what the sessions share, and the state of the bus |
//! | [`bus`], [`access`] | the bus itself, and the rights that it needs |
//!
//! The log and the channel of a workspace have one name, and so one slot. The node subscribes to
//! the channel at the primary of the slot, with SSUBSCRIBE. Messages between servers of a cluster
//! get lost, so the node relies on none of them: neither on PUBLISH, nor on a replica.
//!
//! The loss of a link concerns its workspaces alone. A workspace whose slot moves is lost too, and
//! confirmed at the new owner. The hub then reads its log.

pub(super) mod access;
mod bus;
mod control;
mod link;
mod placement;
mod refresher;
mod router;
#[cfg(test)]
mod scripted;
mod servers;
mod session;
mod shard;
mod slot;
mod status;
mod subscriptions;
mod topology;
mod view;

pub use bus::ClusterBus;
pub(super) use link::ShardLink;
