//! The contract of `GET /api/workspaces/{workspace}/events`.

mod drops;
mod filters;
mod libraries;
mod opening;
mod payloads;
mod resume;
mod sharing;
