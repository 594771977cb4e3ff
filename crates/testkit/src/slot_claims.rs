//! The owners of slots, as one server of a cluster names them in its reply to `CLUSTER NODES`.

use std::collections::BTreeMap;

/// A primary with slots.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SlotClaim {
    id: String,
    epoch: u64,
    /// `<first>-<last>` or `<slot>`, without those on the move.
    slots: Vec<String>,
}

/// The claims that one server names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SlotClaims(Vec<SlotClaim>);

impl SlotClaims {
    /// Reads a reply. A line is `<id> <address> <flags> <primary> <ping> <pong> <epoch> <link>
    /// [<slot>…]`.
    pub(super) fn read(nodes: &str) -> Self {
        let claim = |line: &str| {
            let fields: Vec<_> = line.split(' ').collect();
            let slots = fields.get(8..)?.iter().filter(|field| !field.starts_with('['));
            let slots: Vec<_> = slots.map(|field| (*field).to_owned()).collect();
            let is_primary = fields[2].split(',').any(|flag| flag == "master");
            let claim = SlotClaim { id: fields[0].to_owned(), epoch: fields[6].parse().ok()?, slots };
            (is_primary && !claim.slots.is_empty()).then_some(claim)
        };
        let mut claims: Vec<_> = nodes.lines().filter_map(claim).collect();
        claims.sort();
        Self(claims)
    }

    /// The epoch of a primary with slots.
    pub(super) fn epoch(&self, id: &str) -> Option<u64> {
        self.0.iter().find(|claim| claim.id == id).map(|claim| claim.epoch)
    }

    /// The id of the owner of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&str> {
        let has = |range: &String| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bounds = first.parse::<u16>().ok().zip(last.parse::<u16>().ok());
            bounds.is_some_and(|(first, last)| (first..=last).contains(&slot))
        };
        self.0.iter().find(|claim| claim.slots.iter().any(has)).map(|claim| claim.id.as_str())
    }
}

/// The server that more than half of the servers name as the owner of a slot, if it does so itself.
/// `claims` are those of each server that responds, by its id.
pub(super) fn owner_of_most(claims: &BTreeMap<String, SlotClaims>, slot: u16) -> Option<&str> {
    let names = |id: &str| claims.values().filter(|named| named.owner(slot) == Some(id)).count();
    let own = claims.iter().filter(|(id, named)| named.owner(slot) == Some(id));
    own.map(|(id, _)| id.as_str()).find(|id| names(id) * 2 > claims.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(servers: &[(&str, u64, &str)]) -> SlotClaims {
        let line = |(id, epoch, rest): &(&str, u64, &str)| {
            let (flags, slots) =
                if rest.is_empty() { ("slave", String::new()) } else { ("master", format!(" {rest}")) };
            format!("{id} 127.0.0.1:1@2 myself,{flags} - 0 0 {epoch} connected{slots}\n")
        };
        SlotClaims::read(&servers.iter().map(line).collect::<String>())
    }

    #[test]
    fn claims_are_equal_without_their_order_and_moves() {
        let one = claims(&[("a", 1, "0-5 7 [9->-b]"), ("b", 2, "8-9"), ("c", 1, "")]);
        let other = claims(&[("b", 2, "8-9"), ("a", 1, "0-5 7")]);
        assert_eq!(one, other);
        assert_ne!(one, claims(&[("a", 3, "0-5 7"), ("b", 2, "8-9")]), "another epoch");
        assert_eq!([one.epoch("b"), one.epoch("c")], [Some(2), None]);
        assert_eq!([5, 6, 7, 9].map(|slot| one.owner(slot)), [Some("a"), None, Some("a"), Some("b")]);
    }

    #[test]
    fn server_that_alone_calls_itself_the_owner_is_not_it() {
        let (most, own) = (claims(&[("a", 9, "0-5")]), claims(&[("b", 8, "0-5")]));
        let all = |of_a: &SlotClaims| {
            BTreeMap::from([
                ("a".to_owned(), of_a.clone()),
                ("b".to_owned(), own.clone()),
                ("c".to_owned(), most.clone()),
            ])
        };
        assert_eq!(owner_of_most(&all(&most), 3), Some("a"));
        assert_eq!(owner_of_most(&all(&claims(&[])), 3), None, "it does not say so itself");
    }
}
