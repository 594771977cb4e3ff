//! The service manager that runs the node, such as systemd: the sockets that it passes, and the
//! messages that it gets. Without one, nothing here has an effect.
//!
//! | part | contents |
//! | --- | --- |
//! | [`sockets`] | the listening sockets of socket activation (`sd_listen_fds(3)`) |
//! | [`notify`] | the messages about the state of the process (`sd_notify(3)`) |
//! | [`watchdog`] | the proof of progress that keeps the process running |

pub(crate) mod notify;
pub(crate) mod sockets;
pub(crate) mod watchdog;

pub use sockets::PassedSockets;
