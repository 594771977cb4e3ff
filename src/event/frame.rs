//! SSE encoding
