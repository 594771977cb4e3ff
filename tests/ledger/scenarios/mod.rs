//! The faults, each a test.

mod brokers;
mod clients;
mod cluster;
mod crowd;
mod failover;
mod false_announcements;
mod links;
mod logs;
mod mixed;
mod new_epochs;
mod random;
mod servers;
