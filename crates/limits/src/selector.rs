//! Which streams are meant.

use tidings_event::ConnectionId;
use tidings_event::workspace::WorkspaceId;
use tidings_event::{Keys, TokenKey, UserKey};

/// What a stream must have to be meant: all that is given here. At least one is, or nothing would keep it from meaning
/// everybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Its user.
    pub user: Option<UserKey>,
    /// Its workspace.
    pub workspace: Option<WorkspaceId>,
    /// The token that it was opened with.
    pub token: Option<TokenKey>,
    /// The stream itself.
    pub connection: Option<ConnectionId>,
}

impl Selector {
    /// Whether nothing is asked of a stream.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a stream is meant, or, without a connection, one that somebody wants to open.
    #[must_use]
    pub fn matches(&self, workspace: &WorkspaceId, keys: Keys, connection: Option<ConnectionId>) -> bool {
        let agrees = !self.is_empty()
            && self.workspace.as_ref().is_none_or(|wanted| wanted == workspace)
            && self.connection.is_none_or(|wanted| Some(wanted) == connection);
        agrees
            && self.user.is_none_or(|wanted| keys.user == Some(wanted))
            && self.token.is_none_or(|wanted| keys.token == Some(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_event::NodeId;
    use tidings_event::{TokenId, UserId};

    #[test]
    fn all_that_is_given_must_agree_and_nothing_means_nobody() {
        let acme = WorkspaceId::parse("acme").unwrap();
        let (ann, ben) = (UserId::parse("ann").unwrap().key(), UserId::parse("ben").unwrap().key());
        let token = TokenId::parse("t1").unwrap().key();
        let keys = Keys { user: Some(ann), token: Some(token) };
        let node = NodeId::random();
        let here = ConnectionId { node, number: 7 };
        let matches = |selector: Selector| selector.matches(&acme, keys, Some(here));

        assert!(!matches(Selector::default()));
        assert!(matches(Selector { user: Some(ann), ..Selector::default() }));
        assert!(!matches(Selector { user: Some(ben), ..Selector::default() }));
        assert!(matches(Selector { token: Some(token), user: Some(ann), ..Selector::default() }));
        let other = WorkspaceId::parse("other").ok();
        assert!(!matches(Selector { connection: Some(here), workspace: other, ..Selector::default() }));
        assert!(matches(Selector { connection: Some(here), ..Selector::default() }));
        let next = Selector { connection: Some(ConnectionId { node, number: 8 }), ..Selector::default() };
        assert!(!matches(next.clone()));
        assert!(!next.matches(&acme, keys, None), "a stream that is not open yet is nobody's connection");
        let nobody = Selector { user: Some(ann), ..Selector::default() };
        assert!(!nobody.matches(&acme, Keys::default(), Some(here)));
    }
}
