//! broker events
