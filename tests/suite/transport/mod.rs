//! What connections speak beneath the stream: TLS, HTTP/2, the PROXY protocol; and which of them
//! are let in.

mod admission;
mod deadlines;
mod frames;
mod http2;
mod keep_alive;
mod proxied;
mod tls;
