//! What every published event carries: which run it is of, its workspace, its number there, and
//! when it was due.

use std::fmt::Write as _;

/// The text before the name of a run in a payload.
const OPENING: &str = r#"{"type":"bench","run":""#;

/// The fewest bytes of payload that hold a tag with the longest numbers.
pub const PAYLOAD_BYTES_MIN: usize = 128;

/// How many characters the name of a run has.
const RUN_CHARACTERS: usize = 8;

/// The name of a run, which distinguishes its events from others: 8 characters of `a-z 0-9`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunId(String);

impl RunId {
    /// Draws a name.
    #[must_use]
    pub fn random() -> Self {
        Self((0..RUN_CHARACTERS).map(|_| fastrand::alphanumeric().to_ascii_lowercase()).collect())
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an event of a run says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// The number of its workspace, from 0.
    pub workspace: u32,
    /// Its number in its workspace, from 0.
    pub sequence: u64,
    /// When it was due to be sent, in nanoseconds from the start of the run's clock.
    pub due_ns: u64,
}

/// Writes and reads the payloads of one run.
#[derive(Debug, Clone)]
pub struct Tagger {
    opening: String,
    payload_bytes: usize,
}

impl Tagger {
    /// Payloads of so many bytes each; at least [`PAYLOAD_BYTES_MIN`].
    #[must_use]
    pub fn new(run: &RunId, payload_bytes: usize) -> Self {
        let opening = format!(r#"{OPENING}{}","w":"#, run.as_str());
        Self { opening, payload_bytes: payload_bytes.max(PAYLOAD_BYTES_MIN) }
    }

    /// The payload of an event: JSON on one line.
    #[must_use]
    pub fn payload(&self, tag: Tag) -> String {
        const END: &str = "\"}";
        let mut text = String::with_capacity(self.payload_bytes);
        text.push_str(&self.opening);
        // Writing to a string cannot fail.
        let _ = write!(text, r#"{},"seq":{},"at":{},"pad":""#, tag.workspace, tag.sequence, tag.due_ns);
        let pad = self.payload_bytes.saturating_sub(text.len() + END.len());
        text.extend(std::iter::repeat_n('x', pad));
        text.push_str(END);
        text
    }

    /// Reads the tag of a payload; `None` where it is none of this run, or is not whole.
    #[must_use]
    pub fn read(&self, payload: &[u8]) -> Option<Tag> {
        let rest = payload.strip_prefix(self.opening.as_bytes())?;
        let (workspace, rest) = number(rest)?;
        let (sequence, rest) = number(rest.strip_prefix(br#","seq":"#)?)?;
        let (due_ns, rest) = number(rest.strip_prefix(br#","at":"#)?)?;
        let whole = rest.starts_with(br#","pad":""#) && rest.ends_with(b"\"}");
        let whole = whole && payload.len() == self.payload_bytes;
        whole.then_some(Tag { workspace: u32::try_from(workspace).ok()?, sequence, due_ns })
    }
}

/// A decimal number at the beginning, and what follows it.
fn number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    Some((std::str::from_utf8(number).ok()?.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_tag_fits_the_smallest_payload() {
        let tagger = Tagger::new(&RunId::random(), 0);
        let tag = Tag { workspace: u32::MAX, sequence: u64::MAX, due_ns: u64::MAX };
        let payload = tagger.payload(tag);
        assert_eq!(payload.len(), PAYLOAD_BYTES_MIN);
        assert_eq!(tagger.read(payload.as_bytes()), Some(tag));
        let json: serde_json::Value = serde_json::from_str(&payload).unwrap();
        assert_eq!((&json["type"], json["seq"].as_u64()), (&"bench".into(), Some(u64::MAX)));
    }

    #[test]
    fn payload_of_another_run_or_in_part_has_no_tag() {
        let tagger = Tagger::new(&RunId::random(), 200);
        let tag = Tag { workspace: 1, sequence: 2, due_ns: 3 };
        let payload = tagger.payload(tag);
        assert_eq!(Tagger::new(&RunId::random(), 200).read(payload.as_bytes()), None);
        for end in 0..payload.len() {
            assert_eq!(tagger.read(&payload.as_bytes()[..end]), None, "{end}");
        }
        assert_eq!(tagger.read(b"{}"), None);
    }

    proptest! {
        #[test]
        fn written_tag_is_read(workspace: u32, sequence: u64, due_ns: u64, bytes in 0_usize..1000) {
            let tagger = Tagger::new(&RunId::random(), bytes);
            let tag = Tag { workspace, sequence, due_ns };
            let payload = tagger.payload(tag);
            prop_assert_eq!(payload.len(), bytes.max(PAYLOAD_BYTES_MIN));
            prop_assert_eq!(tagger.read(payload.as_bytes()), Some(tag));
        }
    }
}
