//! The admin listener's paths: `/live`, `/ready`, `/status` and `/metrics`.
//!
//! | part | contents |
//! | --- | --- |
//! | [`mod@routes`] | the paths and their responses |
//! | [`node`] | the state of the node that they show |
//! | [`scrape`] | the text of `/metrics` |
//! | [`ready`] | the reasons for which a node is not ready |
//! | [`status`] | the document of `/status` |
//!
//! Read first: [`Node`].

mod node;
mod ready;
mod routes;
mod scrape;
mod status;

pub use node::Node;
pub use routes::routes;
