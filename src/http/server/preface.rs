//! Distinguishes HTTP/2 with prior knowledge from HTTP/1.1 by the first bytes of a connection (RFC
//! 9113 section 3.4), and leaves them in the socket.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The pause while the bytes so far are ambiguous. The socket stays readable meanwhile and would
/// not report further bytes. Only a preface, or a method that begins with P and arrives in pieces,
/// gets here. Each pause without a new byte is twice as long, so that peers that stop there cost
/// next to nothing.
const PAUSE: Duration = Duration::from_millis(20);

/// The longest of these pauses.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Whether a connection begins with the preface of HTTP/2; `None` if it ends before that is known.
///
/// Has no deadline of its own. Cancellation safe.
pub(crate) async fn is_http2(stream: &TcpStream) -> io::Result<Option<bool>> {
    let mut start = [0; PREFACE.len()];
    let mut known = 0;
    let mut pause = PAUSE;
    loop {
        let seen = stream.peek(&mut start).await?;
        if start[..seen] != PREFACE[..seen] {
            return Ok(Some(false));
        }
        if seen == PREFACE.len() {
            return Ok(Some(true));
        }
        if seen == 0 {
            return Ok(None);
        }
        let closed = stream.ready(tokio::io::Interest::READABLE).await?.is_read_closed();
        if closed && seen == known {
            return Ok(None);
        }
        pause = if seen == known { (pause * 2).min(PAUSE_MAX) } else { PAUSE };
        known = seen;
        tokio::time::sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn found(pieces: &[&[u8]]) -> (Option<bool>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let sending = async {
            for piece in pieces {
                sender.write_all(piece).await.unwrap();
                tokio::time::sleep(PAUSE / 4).await;
            }
            sender.shutdown().await.unwrap();
        };
        let (found, ()) = tokio::join!(is_http2(&stream), sending);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (found.unwrap(), rest)
    }

    #[tokio::test]
    async fn preface_decides_and_stays_in_the_socket() {
        for (pieces, expected) in [
            (&[&PREFACE[..]][..], Some(true)),
            (&[&PREFACE[..3], &PREFACE[3..20], &PREFACE[20..], b"more"], Some(true)),
            (&[b"GET / HTTP/1.1\r\n\r\n"], Some(false)),
            (&[b"P", b"OST / HTTP/1.1\r\n\r\n"], Some(false)),
            (&[b"PRI * HTTP/1.1\r\n\r\n"], Some(false)),
            (&[b"PRI * HT"], None),
            (&[], None),
        ] {
            let (found, rest) = found(pieces).await;
            assert_eq!(found, expected, "{pieces:?}");
            assert_eq!(rest, pieces.concat());
        }
    }
}
