//! Authentication, rejections and disconnects.

mod app;
mod control;
mod limits;
mod tickets;
mod tokens;
