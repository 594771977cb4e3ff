//! Integration tests.

mod embedded_protocol;
