//! What servers have lost: their logs at the end, and the logs that they had before.

use std::collections::{BTreeMap, HashSet};

use super::records::{EntryId, Tag};
use crate::{RedisCluster, RedisServer};

/// The text of a payload before the number of its publisher.
const PAYLOAD: &str = r#""type":"LEDGER","publisher":"#;

/// The servers of a ledger that may have lost entries.
#[derive(Debug, Clone, Copy)]
pub(super) enum Forgetful<'a> {
    Nobody,
    Server(&'a RedisServer),
    Cluster(&'a RedisCluster),
}

impl Forgetful<'_> {
    /// What the log of a workspace holds. See [`Records::survivors`].
    ///
    /// [`Records::survivors`]: super::records::Records::survivors
    pub(super) async fn survivors(&self, workspace: &str) -> Option<BTreeMap<EntryId, Tag>> {
        let redis = match self {
            Self::Nobody => return None,
            Self::Server(redis) => redis,
            Self::Cluster(cluster) => {
                let slot = cluster.slot(&format!("workspace:{workspace}")).await;
                &cluster.servers[cluster.owner(slot).await]
            }
        };
        Some(log(redis, workspace).await)
    }

    /// What servers had at one time, of a workspace. See [`Records::histories`].
    ///
    /// [`Records::histories`]: super::records::Records::histories
    pub(super) fn histories(&self, workspace: &str) -> Vec<HashSet<Tag>> {
        let Self::Cluster(cluster) = self else { return Vec::new() };
        let data_sets = cluster.servers.iter().flat_map(RedisServer::data_sets);
        data_sets.map(|data_set| tags(&data_set, workspace)).filter(|tags| !tags.is_empty()).collect()
    }
}

async fn log(redis: &RedisServer, workspace: &str) -> BTreeMap<EntryId, Tag> {
    type Entry = (String, Vec<(String, String)>);
    let key = format!("workspace:{workspace}");
    let entries: Vec<Entry> = redis.command(&["XRANGE", &key, "-", "+"]).await;
    let numbered = entries.into_iter().filter_map(|(id, fields)| {
        let (_, data) = fields.into_iter().find(|(name, _)| name == "data")?;
        let data: serde_json::Value = serde_json::from_str(&data).ok()?;
        let publisher = usize::try_from(data["publisher"].as_u64()?).expect("a publisher's number");
        let tag = Tag { publisher, number: data["number"].as_u64()? };
        Some((id.parse().expect("an entry id"), tag))
    });
    numbered.collect()
}

/// The events of a workspace in an append-only file. The key comes before its events, in commands
/// and in a snapshot without compression.
fn tags(data_set: &[u8], workspace: &str) -> HashSet<Tag> {
    let text = String::from_utf8_lossy(data_set);
    let mut tags = HashSet::new();
    for behind_key in text.split("workspace:").skip(1) {
        let behind_name = behind_key.strip_prefix(workspace);
        let Some(values) = behind_name.filter(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()))
        else {
            continue;
        };
        tags.extend(values.split(PAYLOAD).skip(1).filter_map(tag));
    }
    tags
}

/// Parses `<publisher>,"number":<number>,…`.
fn tag(text: &str) -> Option<Tag> {
    let (publisher, rest) = text.split_once(r#","number":"#)?;
    let end = rest.find(|letter: char| !letter.is_ascii_digit())?;
    Some(Tag { publisher: publisher.parse().ok()?, number: rest[..end].parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_belong_to_the_key_before_them() {
        let event = |publisher, number| {
            format!(r#"{{"type":"LEDGER","publisher":{publisher},"number":{number},"padding":"x"}}"#)
        };
        let commands = format!(
            "XADD\r\nworkspace:a\r\n5-0\r\ndata\r\n{}\r\nXADD\r\nworkspace:a1\r\n6-0\r\ndata\r\n{}\r\n",
            event(0, 7),
            event(0, 8)
        );
        let snapshot =
            [b"\xfa\0\x0bworkspace:a\x01\xfe".as_slice(), event(1, 3).as_bytes(), event(0, 4).as_bytes()]
                .concat();
        let data_set = [snapshot, commands.into_bytes()].concat();
        let tag = |publisher, number| Tag { publisher, number };
        assert_eq!(tags(&data_set, "a"), HashSet::from([tag(1, 3), tag(0, 4), tag(0, 7)]));
        assert_eq!(tags(&data_set, "a1"), HashSet::from([tag(0, 8)]));
        assert_eq!(tags(&data_set, "b"), HashSet::new());
    }
}
