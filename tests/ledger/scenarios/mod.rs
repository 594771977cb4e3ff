//! What goes wrong, each a test.

mod brokers;
mod clients;
mod crowd;
mod failover;
mod links;
mod logs;
mod random;
mod servers;
