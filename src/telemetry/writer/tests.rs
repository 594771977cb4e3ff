use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};

use super::*;

const LONG: Duration = Duration::from_secs(15);

fn ignore(_: u64) {}

#[test]
fn lines_arrive_in_order_and_flush_waits_for_them() {
    let (mut reader, sink) = io::pipe().unwrap();
    let writer = BackgroundWriter::start("test", sink, ignore).unwrap();
    writer.write(b"one\n");
    writer.write(b"two\n");
    assert!(writer.flush(LONG));
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"one\ntwo\n");
}

#[test]
fn pipe_without_reader_delays_no_caller() {
    let (reader, sink) = io::pipe().unwrap();
    let writer = BackgroundWriter::start("test", sink, ignore).unwrap();
    let dropped = Counter::default();
    writer.count_dropped_in(dropped.clone());
    let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
    for _ in 0..4096 {
        writer.write(&line);
    }
    assert!(!writer.flush(Duration::from_millis(50)), "it waits for the reader");
    let lost = dropped.get();
    assert!(lost >= 1024, "{lost}");
    // Once a reader reads, the rest arrives, and the queue takes lines again.
    let mut lines = BufReader::new(reader).lines();
    let read = (&mut lines).take(4096 - usize::try_from(lost).unwrap()).count();
    assert_eq!(read as u64, 4096 - lost);
    writer.write(b"again\n");
    assert_eq!(lines.next().unwrap().unwrap(), "again");
}

#[test]
fn a_full_disk_loses_lines_and_counts_them() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let writer = BackgroundWriter::start("test", full, ignore).unwrap();
    writer.write(b"one\n");
    assert!(writer.flush(LONG));
    writer.write(b"two\nthree\n");
    assert!(writer.flush(LONG));
    let dropped = Counter::default();
    writer.count_dropped_in(dropped.clone());
    assert_eq!(dropped.get(), 3);
}

#[test]
fn a_closed_pipe_loses_lines_and_counts_them() {
    let (reader, sink) = io::pipe().unwrap();
    drop(reader);
    let writer = BackgroundWriter::start("test", sink, ignore).unwrap();
    let dropped = Counter::default();
    writer.count_dropped_in(dropped.clone());
    writer.write(b"one\n");
    assert!(writer.flush(LONG));
    assert_eq!(dropped.get(), 1);
}

#[test]
fn a_line_that_broke_off_is_ended_before_the_next() {
    let (mut reader, sink) = io::pipe().unwrap();
    let mut is_torn = true;
    assert!(write_lines(&sink, b"next\n", &mut is_torn).is_empty());
    drop(sink);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), is_torn), ("\nnext\n", false));
}
