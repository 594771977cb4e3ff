//! Coming and going: of clients, and of the broker.

mod cleanup;
mod drain;
mod log_sinks;
mod logs;
mod open_files;
mod operations;
mod rejections;
