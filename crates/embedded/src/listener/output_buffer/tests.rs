use futures_util::FutureExt;

use super::*;

fn bulk(bytes: usize) -> Reply {
    Reply::Bulk(Bytes::from(vec![b'x'; bytes]))
}

fn message(bytes: usize) -> SharedReply {
    SharedReply::new(bulk(bytes))
}

fn next(output_buffer: &OutputBuffer) -> Option<Option<Bytes>> {
    output_buffer.next().now_or_never().map(|chunk| chunk.map(|chunk| chunk.bytes))
}

#[test]
fn too_large_reply_is_an_error_and_disconnects_no_client() {
    let output_buffer = OutputBuffer::new(1000);
    output_buffer.reply(&bulk(600));
    let Some(Some(reply)) = next(&output_buffer) else { panic!("no reply") };
    assert!(reply.starts_with(b"-ERR the reply has more than 500 bytes"), "{reply:?}");
    assert_eq!(output_buffer.overrun().now_or_never(), None);
}

#[test]
fn small_chunks_are_written_together_in_order() {
    let output_buffer = OutputBuffer::new(1000);
    output_buffer.reply(&Reply::Integer(1));
    output_buffer.reply(&Reply::Integer(2));
    assert_eq!(next(&output_buffer), Some(Some(Bytes::from_static(b":1\r\n:2\r\n"))));
    assert_eq!(next(&output_buffer), None);
    assert_eq!(output_buffer.queue.lock().bytes, 0);
}

#[test]
fn a_write_is_bounded_unless_one_chunk_is_larger() {
    let output_buffer = OutputBuffer::new(10 * WRITE_BYTES);
    for bytes in [10, 2 * WRITE_BYTES, 10, WRITE_BYTES - 40, 10] {
        output_buffer.reply(&bulk(bytes));
    }
    let mut writes = Vec::new();
    while let Some(Some(bytes)) = next(&output_buffer) {
        writes.push(bytes.len());
    }
    assert_eq!(writes.len(), 4, "{writes:?}");
    assert!(writes[1] > 2 * WRITE_BYTES);
    assert_eq!(output_buffer.queue.lock().bytes, 0);
}

#[test]
fn client_over_the_limit_is_disconnected() {
    let output_buffer = OutputBuffer::new(1000);
    output_buffer.broadcast(&message(450));
    assert_eq!(output_buffer.overrun().now_or_never(), None);
    output_buffer.broadcast(&message(450));
    assert_eq!(output_buffer.overrun().now_or_never(), Some(()));
    output_buffer.reply(&Reply::OK);
    output_buffer.finish();
    assert_eq!(next(&output_buffer), None);
    assert_eq!(output_buffer.overrun().now_or_never(), Some(()));
}

#[test]
fn close_writes_waiting_changes() {
    let output_buffer = OutputBuffer::new(1000);
    output_buffer.reply(&Reply::OK);
    output_buffer.finish();
    output_buffer.reply(&Reply::Integer(1));
    assert_eq!(next(&output_buffer), Some(Some(Bytes::from_static(b"+OK\r\n"))));
    assert_eq!(next(&output_buffer), Some(None));
}

#[test]
fn commands_wait_while_half_of_the_bound_waits() {
    let output_buffer = OutputBuffer::new(1000);
    assert_eq!(output_buffer.has_space().now_or_never(), Some(()));
    output_buffer.broadcast(&message(600));
    assert_eq!(output_buffer.has_space().now_or_never(), None);
    assert!(matches!(next(&output_buffer), Some(Some(_))));
    assert_eq!(output_buffer.has_space().now_or_never(), Some(()));
}
