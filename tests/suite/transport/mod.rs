//! The layers beneath the stream: TLS, HTTP/2, the PROXY protocol, and the bounds on connections.

mod admission;
mod deadlines;
mod http2;
mod keep_alive;
mod proxied;
mod tls;
