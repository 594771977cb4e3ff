//! Schemas of event types: reading a set of them, checking events, comparing two sets.
//!
//! A set is a directory with a file for each event type, in JSON Schema 2020-12. It describes the
//! whole payload of an event of that type.
//!
//! | part | contents |
//! | --- | --- |
//! | [`set`] | all schemas of a directory, compiled, with their version |
//! | [`mod@file`] | one file: its type, and the rules that a schema has to keep |
//! | [`problem`] | the reasons for which a set cannot be used |
//! | [`keywords`] | the places of a schema that hold other schemas |
//! | [`mismatch`] | the reason for which an event does not match |
//! | [`check`] | checks the events of a node: those of HTTP, and those that the node reads |
//! | [`workers`] | threads beside the runtime for checks that may take long |
//! | [`seen`] | the events that need no further check |
//! | [`diff`] | whether readers of one set understand the events of another |
//!
//! Read first: [`SchemaSet`], [`SchemaCheck`], [`diff::compare`].
//!
//! This crate must never know HTTP, Redis, the hub or the configuration.

mod check;
pub mod diff;
mod file;
mod keywords;
mod mismatch;
mod problem;
mod seen;
mod set;
mod workers;

pub use check::{CheckRefusal, SchemaCheck, SchemaMode};
pub use mismatch::Mismatch;
pub use problem::{SchemaError, SchemaProblem};
pub use set::SchemaSet;
