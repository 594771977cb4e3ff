//! A node in its environment: the service manager, sockets in the file system, names.

mod listening;
mod reload;
mod service_manager;
mod terminal;
mod unix_socket;
