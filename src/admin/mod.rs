//! The admin listener's paths: the console at `/`, `/live`, `/ready`, `/status`, `/metrics` and
//! `/openapi.json`.
//!
//! | part | contents |
//! | --- | --- |
//! | [`mod@routes`] | the paths and their responses |
//! | [`node`] | the state of the node that they show |
//! | [`scrape`] | the text of `/metrics` |
//! | [`ready`] | the reasons for which a node is not ready |
//! | [`status`] | the document of `/status` |
//! | [`console`] | the page at `/`, and its API |
//! | [`openapi`] | the document of `/openapi.json` |
//!
//! Read first: [`Node`].

pub mod console;
mod node;
mod openapi;
mod ready;
mod routes;
mod scrape;
mod status;

pub use node::Node;
pub use openapi::ApiSettings;
pub use routes::{ADMIN_PATHS, routes};
