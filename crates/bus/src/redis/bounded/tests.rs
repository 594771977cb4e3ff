use super::*;

const MAX: u64 = 1 << 20;

/// Values of every kind that servers send.
const VALUES: [&[u8]; 16] = [
    b"+OK\r\n",
    b"-ERR a\rb\r\n",
    b":12\r\n",
    b"$5\r\nab\r\nc\r\n",
    b"$0\r\n\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"*0\r\n",
    b"*3\r\n:1\r\n*2\r\n$1\r\na\r\n_\r\n*0\r\n",
    b"%1\r\n+a\r\n*1\r\n:1\r\n",
    b"|1\r\n+a\r\n:1\r\n*1\r\n:1\r\n",
    b"~2\r\n#t\r\n,1.5\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\n\r\n*\r\n",
    b"=6\r\ntxt:ab\r\n",
    b"!5\r\nERR x\r\n",
    b"(12345678901234567890\r\n",
];

/// Reads in pieces of `piece` bytes.
fn read(meter: &mut Meter, bytes: &[u8], piece: usize) -> Result<(), OverBound> {
    bytes.chunks(piece).try_for_each(|piece| meter.read(piece))
}

fn over_bound(bytes: &[u8]) -> bool {
    read(&mut Meter::new(MAX), bytes, 7) == Err(OverBound)
}

#[test]
fn error_of_a_command_is_an_error_of_its_connection() {
    let error = ServerFault::TooLong { bytes: 7 }.command_error();
    assert!(ServerFault::is_long_reply(&error) && error.is_io_error() && error.is_connection_dropped());
    assert!(error.to_string().contains("redis.reply_bytes (7)"), "{error}");
    assert!(!ServerFault::is_long_reply(&RedisError::from(io::Error::other("the connection was closed"))));
    assert!(!ServerFault::is_long_reply(&ServerFault::NotRequested.command_error()));
}

#[test]
fn only_requested_subscriptions_may_be_confirmed() {
    let conduct = ServerConduct::default();
    conduct.expect_confirmations(2);
    for _ in 0..2 {
        conduct.check(&PushKind::Subscribe);
        conduct.check(&PushKind::Message);
        conduct.check(&PushKind::Unsubscribe);
    }
    assert_eq!(conduct.fault(), None);
    conduct.check(&PushKind::Subscribe);
    assert_eq!(conduct.fault(), Some(ServerFault::NotRequested));
}

#[test]
fn values_end_as_in_the_client_library() {
    for value in VALUES {
        assert!(redis::parse_redis_value(value).is_ok(), "{}", value.escape_ascii());
        for piece in 1..=value.len() {
            let mut meter = Meter::new(MAX);
            read(&mut meter, &value[..value.len() - 1], piece).unwrap();
            assert_ne!(meter.counted, 0, "{}", value.escape_ascii());
            meter.read(&value[value.len() - 1..]).unwrap();
            assert!(meter.counted == 0 && meter.missing.is_empty(), "{}", value.escape_ascii());
        }
    }
}

#[test]
fn any_number_of_small_values_passes() {
    let all = VALUES.concat();
    let mut meter = Meter::new(2000);
    for _ in 0..10_000 {
        read(&mut meter, &all, 100).unwrap();
    }
}

#[test]
fn announced_text_over_the_bound_is_rejected_before_its_bytes() {
    assert!(over_bound(b"$1048576\r\n"));
    assert!(over_bound(b"$9223372036854775807\r\n"));
    assert!(over_bound(b">3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1048576\r\n"));
    assert!(!over_bound(b"$1000000\r\n"));
}

#[test]
fn nested_values_over_the_bound_are_rejected() {
    let text = [b"$1000\r\n".as_slice(), &[b'x'; 1000], b"\r\n"].concat();
    assert!(!over_bound(&[b"*1000\r\n".as_slice(), &text.repeat(900)].concat()));
    assert!(over_bound(&[b"*1000\r\n".as_slice(), &text.repeat(1000)].concat()));
    assert!(over_bound(b"*1000000\r\n"), "small values use memory too");
    assert!(over_bound(&[b"*10000\r\n".as_slice(), &b"*1\r\n:1\r\n".repeat(9000)].concat()));
    assert!(over_bound(&b"*1\r\n".repeat(200)));
}

#[test]
fn lines_over_the_bound_are_rejected() {
    assert!(!over_bound(&[b"-".as_slice(), &[b'x'; 60_000]].concat()));
    assert!(over_bound(&[b"-".as_slice(), &[b'x'; 70_000]].concat()));
    assert!(over_bound(&[b"$".as_slice(), &[b'0'; 40]].concat()));
    assert!(over_bound(&[b'H'; 70_000]));
}
