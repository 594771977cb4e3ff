//! What goes wrong, each a test.

mod brokers;
mod clients;
mod crowd;
mod failover;
mod false_words;
mod links;
mod logs;
mod logs_anew;
mod mixed;
mod random;
mod servers;
