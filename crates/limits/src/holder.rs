//! The client for which something is counted.

use std::net::IpAddr;

use super::AddressKey;
use tidings_event::{Keys, TokenKey, UserKey};

/// Identifies a client: by its user, else by its token, else by its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// All requests of a user.
    User(UserKey),
    /// All requests with a token that names no user.
    Token(TokenKey),
    /// All requests of an address without user and token.
    Address(AddressKey),
}

impl Holder {
    /// Returns the holder for these keys at this address.
    #[must_use]
    pub fn of(keys: Keys, address: IpAddr) -> Self {
        match keys {
            Keys { user: Some(user), .. } => Self::User(user),
            Keys { user: None, token: Some(token) } => Self::Token(token),
            Keys { user: None, token: None } => Self::Address(AddressKey::of(address)),
        }
    }
}
