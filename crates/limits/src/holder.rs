//! The client that something is counted for.

use std::net::IpAddr;

use super::AddressKey;
use tidings_event::{Keys, TokenKey, UserKey};

/// A client: its user; where tokens name no user, its token; its address where neither is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holder {
    /// All connections of a user.
    User(UserKey),
    /// All connections with a token.
    Token(TokenKey),
    /// All connections of an address.
    Address(AddressKey),
}

impl Holder {
    /// The client with these keys at this address.
    #[must_use]
    pub fn of(keys: Keys, address: IpAddr) -> Self {
        match keys {
            Keys { user: Some(user), .. } => Self::User(user),
            Keys { user: None, token: Some(token) } => Self::Token(token),
            Keys { user: None, token: None } => Self::Address(AddressKey::of(address)),
        }
    }
}
