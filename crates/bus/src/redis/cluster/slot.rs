//! The hash slot of a key or channel (Redis Cluster specification, "Key distribution model").

/// The number of hash slots of a cluster.
pub(super) const SLOTS: u16 = 16_384;

/// CRC16 of XMODEM: polynomial 0x1021, start 0.
const TABLE: [u16; 256] = table();

const fn table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Returns the hash slot of a key or channel.
pub(super) fn slot_of(key: &[u8]) -> u16 {
    let crc = hashed_part(key)
        .iter()
        .fold(0_u16, |crc, &byte| (crc << 8) ^ TABLE[usize::from((crc >> 8) ^ u16::from(byte))]);
    crc % SLOTS
}

/// Returns the hash tag: the text in the first pair of braces if it is not empty, or else the whole
/// key.
fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let behind = &key[open + 1..];
    match behind.iter().position(|&byte| byte == b'}') {
        Some(length @ 1..) => &behind[..length],
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values are those of `CLUSTER KEYSLOT` of Redis 7.0.
    #[test]
    fn slots_equal_those_of_redis() {
        for (key, slot) in [
            ("123456789", 12_739),
            ("foo", 12_182),
            ("workspace:acme", 7_933),
            ("{workspace:acme}/epoch", 7_933),
            ("{workspace:acme}/once/{k}", 7_933),
            ("foo{}{bar}", 8_363),
            ("foo{{bar}}zap", 4_015),
            ("foo{bar", 15_278),
            ("", 0),
        ] {
            assert_eq!(slot_of(key.as_bytes()), slot, "{key}");
        }
    }
}
