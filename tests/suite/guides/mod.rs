//! The commands and programs of the documents, run unchanged against a real node.

mod alerts;
mod document;
mod event_versions;
mod figures_and_edits;
mod limits;
mod log_out;
mod operations;
mod publish;
mod publish_languages;
mod quickstart;
mod readme;
mod rotate_keys;
mod silent_client;
mod terminal;

pub(crate) use document::Document;
