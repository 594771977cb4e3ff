//! Connections of Redis clients, from the accepted socket to the end.
//!
//! | part | contents |
//! | --- | --- |
//! | [`accept`] | binds the listener and accepts connections |
//! | [`connection`] | the tasks that read, run and write for one client |
//! | [`login`], [`unauthenticated`] | the password, and limits on clients that have not sent it |
//! | [`budget`] | the memory of all clients together |
//! | [`output_buffer`] | the bytes that wait for one client |
//!
//! Read first: [`connection::ClientContext`], [`output_buffer::OutputBuffer`].

pub(crate) mod accept;
pub(crate) mod budget;
pub(crate) mod connection;
pub(crate) mod login;
pub(crate) mod output_buffer;
pub(crate) mod unauthenticated;
