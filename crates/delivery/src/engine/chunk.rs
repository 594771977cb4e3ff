//! The framing of a body whose length is not known (RFC 9112, section 7.1).

use std::io::Write as _;

/// The last chunk of such a body. Without it, a proxy takes the end of the connection for an error.
pub(super) const LAST: &[u8] = b"0\r\n\r\n";

/// The most bytes that framing adds to a chunk.
pub(super) const OVERHEAD: usize = 2 * size_of::<usize>() + 4;

/// Appends bytes as one chunk. There must be some: an empty chunk would end the body.
pub(super) fn put(buffer: &mut Vec<u8>, bytes: &[u8]) {
    debug_assert!(!bytes.is_empty());
    buffer.reserve(bytes.len() + OVERHEAD);
    // Writing to a growing buffer does not fail.
    let _ = write!(buffer, "{:x}\r\n", bytes.len());
    buffer.extend_from_slice(bytes);
    buffer.extend_from_slice(b"\r\n");
}

/// The bytes of one chunk behind its length.
pub(super) fn content(chunk: &[u8]) -> &[u8] {
    chunk.iter().position(|&byte| byte == b'\n').map_or(&[], |end| &chunk[end + 1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_its_length_in_hexadecimal_and_its_bytes() {
        let mut buffer = Vec::new();
        put(&mut buffer, b"data: x\n\n");
        put(&mut buffer, &[b'y'; 31]);
        assert_eq!(buffer, [&b"9\r\ndata: x\n\n\r\n1f\r\n"[..], &[b'y'; 31], b"\r\n"].concat());
    }
}
