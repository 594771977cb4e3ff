//! The admin listener's paths: `/live`, `/ready`, `/status`, `/metrics` and `/openapi.json`.
//!
//! | part | contents |
//! | --- | --- |
//! | [`mod@routes`] | the paths and their responses |
//! | [`node`] | the state of the node that they show |
//! | [`scrape`] | the text of `/metrics` |
//! | [`ready`] | the reasons for which a node is not ready |
//! | [`status`] | the document of `/status` |
//! | [`openapi`] | the document of `/openapi.json` |
//!
//! Read first: [`Node`].

mod node;
mod openapi;
mod ready;
mod routes;
mod scrape;
mod status;

pub use node::Node;
pub use openapi::ApiSettings;
pub use routes::{ADMIN_PATHS, routes};
