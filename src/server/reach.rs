//! How clients and publishers reach a node: for the lines that it prints, and for the console.

use std::net::{Ipv4Addr, SocketAddr};

use super::Addresses;
use crate::admin::console::Reach;
use crate::config::{AuthMode, Config};
use tidings_settings::ListenAddress;

/// Returns the URLs and commands of a node; without secrets.
pub(super) fn reach(config: &Config, addresses: &Addresses) -> Reach {
    let scheme = if config.server.tls.files().is_some() { "https" } else { "http" };
    let public = addresses.public();
    Reach {
        public: format!("{scheme}://{}{}", public.reachable().authority(), config.server.base_path),
        socket: match public {
            ListenAddress::Unix(path) => Some(path.display().to_string()),
            ListenAddress::Socket(_) | ListenAddress::Host { .. } => None,
        },
        redis_cli: redis_cli(config, addresses),
        channel_prefix: config.redis.channel_prefix.clone(),
        authenticated: matches!(config.auth.mode, AuthMode::Methods(_)),
    }
}

/// Returns the command that reaches the bus, such as `redis-cli -p 6380`; `None` if it has
/// several addresses, or none.
#[must_use]
pub fn redis_cli(config: &Config, addresses: &Addresses) -> Option<String> {
    if !config.redis.is_configured() {
        // The password itself is not shown; redis-cli takes it from there.
        let login = if config.embedded.password.is_empty() { "" } else { "REDISCLI_AUTH=… " };
        return addresses
            .embedded
            .map(|embedded| format!("{login}redis-cli {}", redis_cli_address(embedded)));
    }
    // The primary moves about, and a cluster has several, so no address can be named.
    if !config.redis.cluster.nodes.is_empty() || !config.redis.sentinel.nodes.is_empty() {
        return None;
    }
    let shown = config.redis.url.to_string();
    Some(match shown.split_once("unix://") {
        Some((_, path)) => format!("redis-cli -s {}", shell_word(path)),
        None => format!("redis-cli -u {}", shell_word(&shown)),
    })
}

/// The arguments for an address of this machine. Without a host `redis-cli` connects to 127.0.0.1.
fn redis_cli_address(address: SocketAddr) -> String {
    match ListenAddress::Socket(address).reachable() {
        ListenAddress::Socket(address) if address.ip() != Ipv4Addr::LOCALHOST => {
            format!("-h {} -p {}", address.ip(), address.port())
        }
        _ => format!("-p {}", address.port()),
    }
}

/// A text as one word of a POSIX shell.
fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/:.-_@%+=,".contains(&byte);
    if text.bytes().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_names_an_address_of_this_machine() {
        for (address, expected) in [
            ("127.0.0.1:6380", "-p 6380"),
            ("0.0.0.0:6380", "-p 6380"),
            ("127.0.0.2:6380", "-h 127.0.0.2 -p 6380"),
            ("[::1]:6380", "-h ::1 -p 6380"),
            ("[::]:6380", "-h ::1 -p 6380"),
        ] {
            assert_eq!(redis_cli_address(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn text_is_one_word_of_a_shell() {
        assert_eq!(shell_word("redis://127.0.0.1:6379/0"), "redis://127.0.0.1:6379/0");
        assert_eq!(shell_word("redis://:***@h"), "'redis://:***@h'");
        assert_eq!(shell_word("/run/a b's;c"), r"'/run/a b'\''s;c'");
    }
}
