//! The bus over a Redis server.
