//! The commands and programs that documents show, run against a real node as they stand there.

mod alerts;
mod document;
mod figures_and_edits;
mod log_out;
mod publish;
mod quickstart;
mod readme;
mod rotate_keys;
mod silent_client;
mod terminal;

pub use document::Document;
