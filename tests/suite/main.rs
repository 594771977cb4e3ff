//! Integration tests: the real `tidings` program, real servers and real clients around it.
//!
//! All tests share this binary and run side by side. So each takes its own ports, directories and
//! workspaces from [`support`], and waits for conditions with a deadline.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed step ends the test, with a backtrace")]

mod access;
mod bad_input;
mod browser;
mod commands;
mod console;
mod deploy_files;
mod documents;
mod embedded_log;
mod embedded_protocol;
mod faults;
mod forward_apps;
mod forward_tls;
mod guides;
mod harness;
mod hostile;
mod lifecycle;
mod names;
mod nodes;
mod openapi;
mod outages;
mod pages;
mod parts;
mod proxies;
mod publish;
mod replay;
mod running;
mod schemas;
mod slow_clients;
mod stream;
mod traces;
mod transport;

use tidings_testkit as support;
