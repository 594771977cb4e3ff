//! Connections of the public and the admin listener, from the accepted socket to the end.
//!
//! | part | contents |
//! | --- | --- |
//! | [`listener`], [`listen_socket`] | accepts connections; sockets with their options |
//! | [`connection_gate`], [`open_connections`] | limits on connections, and the oldest of them |
//! | [`connection`], [`connection_state`] | one connection: its protocol, its requests, its state |
//! | [`proxy_protocol`], [`tls`], [`certificate`], [`preface`] | the bytes before HTTP |
//! | [`drive`], [`watched`], [`request_timer`] | hyper's connection, its timeouts, and its end |
//! | [`http2`], [`http2_stall`] | limits of HTTP/2, and peers that open no window |
//! | [`service`] | the checks and headers around each request |
//! | [`handoff`] | the transfer of a stream's socket from hyper to the engine |
//!
//! Read first: [`listener::Listener`], [`connection::ConnectionShared`], [`service::PeerService`],
//! [`drive::Watch`].

pub(crate) mod certificate;
pub(crate) mod connection;
pub(crate) mod connection_gate;
pub(crate) mod connection_state;
pub(crate) mod drive;
pub(crate) mod handoff;
pub(crate) mod http2;
pub(crate) mod http2_stall;
pub(crate) mod listen_socket;
pub(crate) mod listener;
pub(crate) mod open_connections;
pub(crate) mod preface;
pub(crate) mod proxy_protocol;
pub(crate) mod request_timer;
pub(crate) mod service;
pub(crate) mod tls;
pub(crate) mod watched;
