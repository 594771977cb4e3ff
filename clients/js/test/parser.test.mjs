// The fetch transport against section 9.2 of the HTML standard. A message is its type, its data and
// the last event id.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { readChunks } from './support/stream-server.mjs';
import { eventually } from './support/wait.mjs';

const bytes = (...parts) => Buffer.concat(parts.map((part) => Buffer.from(part)));

const CASES = {
  'line ends are LF': ['data: a\n\n', ['message', 'a', '']],
  'line ends are CRLF': ['data: a\r\ndata: b\r\n\r\n', ['message', 'a\nb', '']],
  'line ends are CR': ['data: a\rdata: b\r\r', ['message', 'a\nb', '']],
  'line ends are mixed': ['data: a\r\ndata: b\rdata: c\n\r\n', ['message', 'a\nb\nc', '']],
  'comments are ignored': [': c\n:\ndata: a\n:data: b\n\n', ['message', 'a', '']],
  'comment alone is no event': [':keep-alive\n\n:\n\ndata: a\n\n', ['message', 'a', '']],
  'one space behind the colon is dropped': [
    'data:a\n\ndata: b\n\ndata:  c\n\ndata:\td\n\n',
    ['message', 'a', ''],
    ['message', 'b', ''],
    ['message', ' c', ''],
    ['message', '\td', ''],
  ],
  'field without a colon is empty': ['data\n\ndata\ndata\n\n', ['message', '', ''], ['message', '\n', '']],
  'data may hold colons': ['data: a:b: c\n\n', ['message', 'a:b: c', '']],
  'block without data is no event': ['event: a\n\ndata: b\n\n', ['message', 'b', '']],
  'unknown fields are ignored': ['Data: a\n data: b\nfoo: c\ndata: d\n\n', ['message', 'd', '']],
  'event names the type of one event': [
    'event: a\ndata: 1\n\ndata: 2\n\nevent:\ndata: 3\n\n',
    ['a', '1', ''],
    ['message', '2', ''],
    ['message', '3', ''],
  ],
  'last name of an event counts': ['event: a\nevent: b\ndata: 1\n\n', ['b', '1', '']],
  'id lasts until the next one': [
    'id: 1\ndata: a\n\ndata: b\n\nid: 2\ndata: c\n\n',
    ['message', 'a', '1'],
    ['message', 'b', '1'],
    ['message', 'c', '2'],
  ],
  'empty id clears the last one': [
    'id: 1\ndata: a\n\nid\ndata: b\n\nid: 2\ndata: c\n\nid:\ndata: d\n\n',
    ['message', 'a', '1'],
    ['message', 'b', ''],
    ['message', 'c', '2'],
    ['message', 'd', ''],
  ],
  'id with NUL is ignored': [
    'id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n',
    ['message', 'a', '1'],
    ['message', 'b', '1'],
  ],
  'byte order mark at the begin is dropped': [
    bytes([0xef, 0xbb, 0xbf], 'data: a\n\n'),
    ['message', 'a', ''],
  ],
  'second byte order mark is part of a name': [
    bytes([0xef, 0xbb, 0xbf, 0xef, 0xbb, 0xbf], 'data: a\n\ndata: b\n\n'),
    ['message', 'b', ''],
  ],
  'invalid UTF-8 is replaced': [bytes('data: ', [0xff], '\n\n'), ['message', '\ufffd', '']],
  'NUL in data remains': ['data: a\0b\n\n', ['message', 'a\0b', '']],
  'incomplete event at the end is dropped': ['data: a\n\ndata: b\n', ['message', 'a', '']],
};

for (const [name, [text, ...expected]] of Object.entries(CASES)) {
  test(name, async (t) => {
    const whole = Buffer.from(text);
    const single = Array.from(whole, (_, index) => whole.subarray(index, index + 1));
    for (const chunks of [[whole], single]) {
      const { messages } = await readChunks(t, chunks);
      assert.deepEqual(messages, expected, `${chunks.length} chunks`);
    }
  });
}

test('characters may be split between chunks', async (t) => {
  const text = Buffer.from('data: größer 🎉\n\n');
  for (let at = 1; at < text.length; at += 1) {
    const { messages } = await readChunks(t, [text.subarray(0, at), text.subarray(at)]);
    assert.deepEqual(messages, [['message', 'größer 🎉', '']], `split at ${at}`);
  }
});

test('event that ends with CR does not wait for the next one', async (t) => {
  const { messages } = await readChunks(t, ['data: a\r\r'], { end: false });
  await eventually('the event arrives', () => messages.length === 1);
  assert.deepEqual(messages, [['message', 'a', '']]);
});

test('retry is a number of milliseconds', async (t) => {
  const text = 'retry: 1500\n\nretry:2000\ndata: a\n\nretry: 1e3\n\nretry: 5s\n\nretry\n\nretry: -1\n\n';
  const { retries, messages } = await readChunks(t, [text]);
  assert.deepEqual(retries, [1500, 2000]);
  assert.deepEqual(messages, [['message', 'a', '']]);
});

test('retry counts before its block is complete', async (t) => {
  const { retries } = await readChunks(t, ['retry: 300\n'], { end: false });
  await eventually('the time arrives', () => retries.length === 1);
});

test('large event arrives whole', async (t) => {
  const line = 'x'.repeat(3 * 1024 * 1024);
  const { messages } = await readChunks(t, [`data: ${line}\n\n`]);
  assert.equal(messages[0][1].length, line.length);
});
