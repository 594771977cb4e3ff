// Rules without I/O.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { renewalTime } from '../dist/credentials.js';
import { retryPause } from '../dist/pauses.js';
import { isAtOrBefore } from '../dist/position-order.js';

const NOW = 1_800_000_000_000;
const jwt = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.x`;

test('pause doubles up to a bound', () => {
  for (let round = 0; round < 100; round += 1) {
    for (const [failures, least] of [[0, 2_000], [1, 4_000], [3, 16_000], [4, 30_000], [2_000, 30_000]]) {
      const pause = retryPause(2_000, failures);
      assert.ok(pause >= least && pause <= 1.25 * least, `${failures}: ${pause}`);
    }
  }
});

test('pause is at least the time that a response asks for', () => {
  assert.ok(retryPause(2_000, 0, 40_000) >= 40_000);
  assert.ok(retryPause(2_000, 4, 1_000) >= 30_000);
});

test('token is renewed 30 s before its end', () => {
  const exp = NOW / 1000 + 3_600;
  assert.equal(renewalTime({ token: jwt({ exp }) }, NOW), exp * 1000 - 30_000);
  assert.equal(renewalTime({ token: jwt({ exp, name: 'Jürgen ÿ 🎉?>' }) }, NOW), exp * 1000 - 30_000);
});

test('short token is renewed after two thirds of its rest', () => {
  assert.equal(renewalTime({ token: jwt({ exp: NOW / 1000 + 9 }) }, NOW), NOW + 6_000);
});

test('end of the credentials has priority over the claim', () => {
  const token = jwt({ exp: NOW / 1000 + 9 });
  assert.equal(renewalTime({ token, expiresAt: NOW + 90_000 }, NOW), NOW + 60_000);
  assert.equal(renewalTime({ ticket: 'x', expiresAt: NOW + 90_000 }, NOW), NOW + 60_000);
});

test('without a plausible end the node decides', () => {
  for (const token of ['opaque', '', 'a.b.c', 'a.!.c', jwt({}), jwt({ exp: NOW / 1000 - 60 }), jwt([])]) {
    assert.equal(renewalTime({ token }, NOW), Infinity, token);
  }
  assert.equal(renewalTime({ ticket: 'x' }, NOW), Infinity);
});

test('positions in the log of one epoch have an order', () => {
  const ascending = ['9-0', '10-0', '10-2', '10-10', '9007199254740993-0', '18446744073709551615-1'];
  for (const [at, first] of ascending.entries()) {
    for (const [otherAt, second] of ascending.entries()) {
      assert.equal(isAtOrBefore(first, second), at <= otherAt, `${first} ${second}`);
      assert.equal(isAtOrBefore(`${first}.ab`, `${second}.ab`), at <= otherAt);
    }
  }
  for (const other of ['10-1.ab', '10-1~node.1', '10-1.cd', 'x', '', undefined]) {
    assert.ok(!isAtOrBefore('10-0', other), other);
    assert.ok(!isAtOrBefore(other, '10-2'), other);
    if (other !== '10-1.ab') assert.ok(!isAtOrBefore('10-0.ab', other), other);
  }
});
