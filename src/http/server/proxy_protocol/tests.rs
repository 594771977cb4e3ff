use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::*;

fn as_version_1(source: SocketAddr) -> Vec<u8> {
    let (family, destination) =
        if source.is_ipv4() { ("TCP4", "198.51.100.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {destination} {} 443\r\n", source.ip(), source.port()).into_bytes()
}

fn as_version_2(source: SocketAddr, extensions: &[u8]) -> Vec<u8> {
    let (family, mut block) = match source.ip() {
        IpAddr::V4(address) => (0x11, [address.octets(), [198, 51, 100, 1]].concat()),
        IpAddr::V6(address) => (0x21, [address.octets(), [0x20; 16]].concat()),
    };
    block.extend(source.port().to_be_bytes());
    block.extend(443_u16.to_be_bytes());
    block.extend(extensions);
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[0x21, family], &length, &block].concat()
}

/// Reads a header that arrives in two pieces, and the bytes behind it.
async fn arrive(bytes: &[u8], cut: usize) -> (Result<Option<SocketAddr>, HeaderError>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (mut stream, _) = listener.accept().await.unwrap();
    sender.set_nodelay(true).unwrap();
    let (first, second) = (bytes[..cut].to_vec(), bytes[cut..].to_vec());
    let sending = async move {
        sender.write_all(&first).await.unwrap();
        tokio::task::yield_now().await;
        sender.write_all(&second).await.unwrap();
    };
    let (outcome, ()) = tokio::join!(read(&mut stream), sending);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    (outcome, rest)
}

#[tokio::test]
async fn both_versions_leave_the_bytes_behind_them() {
    for source in ["192.0.2.1:56324", "[2001:db8::7]:1"] {
        let source = source.parse().unwrap();
        for header in [as_version_1(source), as_version_2(source, b""), as_version_2(source, &[7; 300])] {
            let bytes = [&header[..], b"GET / HTTP/1.1\r\n\r\n"].concat();
            for abort in [0, 1, 12, 13, header.len() - 1, header.len()] {
                let (outcome, rest) = arrive(&bytes, abort).await;
                assert_eq!(outcome.unwrap(), Some(source));
                assert_eq!(rest, b"GET / HTTP/1.1\r\n\r\n");
            }
        }
    }
}

#[tokio::test]
async fn any_other_form_is_rejected() {
    let endless = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
    let long = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[0; 16]].concat();
    for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &endless, &long, b"PROXY TCP4 1.1.1.1", b""] {
        assert!(arrive(bytes, 0).await.0.is_err(), "{bytes:?}");
    }
}

#[test]
fn the_forms_of_version_1() {
    let parsed = |line: &str| version_1(line.as_bytes());
    assert_eq!(parsed("PROXY UNKNOWN\r\n").unwrap(), None);
    assert_eq!(parsed("PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n").unwrap(), None);
    for bad in [
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 056324 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 +1 443\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.1 1 2\r\n",
    ] {
        assert!(parsed(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_forms_of_version_2() {
    assert_eq!(version_2(0x20, 0x11, &[1; 12]).unwrap(), None, "LOCAL");
    assert_eq!(version_2(0x21, 0x00, &[]).unwrap(), None, "unspecified");
    assert_eq!(version_2(0x21, 0x31, &[1; 216]).unwrap(), None, "a socket of the machine");
    assert!(version_2(0x21, 0x11, &[1; 11]).is_err());
    assert!(version_2(0x21, 0x21, &[1; 35]).is_err());
    assert!(version_2(0x11, 0x11, &[1; 12]).is_err(), "version 1 in the form of version 2");
    assert!(version_2(0x22, 0x11, &[1; 12]).is_err());
}

proptest! {
    #[test]
    fn no_bytes_do_harm(line in proptest::collection::vec(any::<u8>(), 0..120), command: u8, family: u8) {
        let _ = version_1(&line);
        let _ = version_2(command, family, &line);
    }

    #[test]
    fn address_is_free_again_after_its_connections(address: u128, v4: bool, port: u16) {
        let ip = if v4 { IpAddr::from(Ipv4Addr::from(address as u32)) } else { Ipv6Addr::from(address).into() };
        prop_assume!(ip.to_canonical() == ip);
        let source = SocketAddr::new(ip, port);
        prop_assert_eq!(version_1(&as_version_1(source)).unwrap(), Some(source));
        let header = as_version_2(source, b"");
        prop_assert_eq!(version_2(header[12], header[13], &header[16..]).unwrap(), Some(source));
    }
}
