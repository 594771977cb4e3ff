//! Coming and going: of clients, and of the broker.

mod cleanup;
mod drain;
mod logs;
mod operations;
