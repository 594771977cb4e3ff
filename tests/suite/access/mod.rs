//! Who is let in, who is sent away, and how.

mod orders;
mod room;
