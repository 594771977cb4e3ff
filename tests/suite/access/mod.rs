//! Who is let in, who is sent away, and how.

mod app;
mod orders;
mod room;
mod tickets;
mod tokens;
