//! Who is let in, who is sent away, and how.

mod app;
mod control;
mod limits;
mod tickets;
mod tokens;
