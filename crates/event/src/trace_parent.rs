//! The trace context of an event (W3C Trace Context, version 00): the field `traceparent`.

use std::fmt;
use std::str::FromStr;

/// The length of a `traceparent` of version 00, in bytes.
const TEXT_BYTES: usize = 55;

/// The flag by which a publisher asks for spans.
const SAMPLED: u8 = 1;

/// Names a trace: 16 bytes that are not all 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// Names a span of a trace: 8 bytes that are not all 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

/// The trace of an event, and the span of its publisher.
///
/// Its text is that of the header `traceparent`. It is never a secret, and never an instruction: a
/// value that is not valid counts as none.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceParent {
    /// The trace.
    pub trace: TraceId,
    /// The span that published the event.
    pub span: SpanId,
    /// The flags; bit 0 means that the trace is sampled.
    pub flags: u8,
}

/// Reports that a text is not a `traceparent`. The event is published without a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a traceparent such as 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct TraceParentError;

impl TraceId {
    /// Draws an id. It is not a secret.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u128(1..).to_be_bytes())
    }
}

impl SpanId {
    /// Draws an id. It is not a secret.
    #[must_use]
    pub fn random() -> Self {
        Self(fastrand::u64(1..).to_be_bytes())
    }
}

impl TraceParent {
    /// Returns whether the publisher asks for spans.
    #[must_use]
    pub fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Begins a trace.
    #[must_use]
    pub fn begin(is_sampled: bool) -> Self {
        Self { trace: TraceId::random(), span: SpanId::random(), flags: u8::from(is_sampled) }
    }

    /// Returns the same trace with a new span.
    #[must_use]
    pub fn child(self) -> Self {
        Self { span: SpanId::random(), ..self }
    }

    /// Parses the bytes of a field or header. `None` for every value that is not valid.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Self::parse(bytes)
    }

    /// Each event may have one, so it is parsed by place.
    fn parse(text: &[u8]) -> Option<Self> {
        let (known, rest) = text.split_at_checked(TEXT_BYTES)?;
        let [version] = hex(&known[..2])?;
        let (trace, span, [flags]) = (hex(&known[3..35])?, hex(&known[36..52])?, hex(&known[53..])?);
        let has_dashes = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        let is_whole = rest.is_empty() || version != 0 && rest.starts_with(b"-");
        let is_valid = version != 0xff && trace != [0; 16] && span != [0; 8];
        (has_dashes && is_whole && is_valid).then_some(Self {
            trace: TraceId(trace),
            span: SpanId(span),
            flags,
        })
    }
}

impl FromStr for TraceParent {
    type Err = TraceParentError;

    /// Parses version 00. Of a later version it takes the parts of version 00, as the
    /// specification demands.
    fn from_str(text: &str) -> Result<Self, TraceParentError> {
        Self::parse(text.as_bytes()).ok_or(TraceParentError)
    }
}

/// Reads lower-case hexadecimal digits, two for each byte.
///
/// No branch depends on a digit, so the compiler reads several at once.
fn hex<const BYTES: usize>(digits: &[u8]) -> Option<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    let mut is_valid = true;
    for (byte, &[high, low]) in bytes.iter_mut().zip(digits.as_chunks().0) {
        let [(high, is_high), (low, is_low)] = [digit(high), digit(low)];
        *byte = high << 4 | low;
        is_valid &= is_high & is_low;
    }
    is_valid.then_some(bytes)
}

/// The value of a digit, and whether it is one.
fn digit(byte: u8) -> (u8, bool) {
    let (number, letter) = (byte.wrapping_sub(b'0'), byte.wrapping_sub(b'a'));
    let value = if number < 10 { number } else { letter.wrapping_add(10) };
    (value & 0xf, (number < 10) | (letter < 6))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, self.flags)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn valid_text_is_written_again_unchanged() {
        let parsed: TraceParent = VALID.parse().unwrap();
        assert_eq!(parsed.to_string(), VALID);
        assert_eq!(parsed.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(parsed.is_sampled() && parsed.child().is_sampled());
        assert!(parsed.child().trace == parsed.trace && parsed.child().span != parsed.span);
        let unsampled: TraceParent = VALID.replace("-01", "-fe").parse().unwrap();
        assert!(!unsampled.is_sampled());
        assert!(TraceParent::begin(true).to_string().parse::<TraceParent>().unwrap().is_sampled());
    }

    #[test]
    fn later_version_has_the_same_parts() {
        for text in [VALID.replacen("00", "cc", 1), format!("{}-more", VALID.replacen("00", "cc", 1))] {
            assert_eq!(text.parse::<TraceParent>().map(|parsed| parsed.to_string()), Ok(VALID.to_owned()));
        }
    }

    #[test]
    fn invalid_text_is_no_trace() {
        for text in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}-more"),
            &format!("{VALID} "),
            &VALID.to_uppercase(),
            &VALID.replacen("00", "ff", 1),
            &VALID.replacen("00", "cc", 1).replace("-01", "-01x"),
            &VALID.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &VALID.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &VALID.replace('-', "_"),
            &VALID.replace("4b", "4g"),
            &VALID.replace("4bf9", "+bf9"),
            &"é".repeat(28),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(TraceParentError), "{text}");
        }
    }
}
