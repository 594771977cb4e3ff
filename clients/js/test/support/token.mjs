// Tokens, as a backend makes them, and the settings of a broker that accepts them.
import { createHmac } from 'node:crypto';

const SECRET = 'a secret of thirty-two bytes, at least that long';

export const JWT = {
  'auth.mode': 'jwt',
  'auth.jwt.algorithm': 'HS256',
  'auth.jwt.secret': SECRET,
  // A token ends when it says so.
  'auth.jwt.leeway_seconds': 0,
};

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** A token that ends after some seconds, which may be negative. */
export function token({ user = 'ann', workspaces = ['acme'], seconds = 600, ...more } = {}) {
  const exp = Math.floor(Date.now() / 1000) + seconds;
  const claims = { sub: user, workspaces, publish: workspaces, exp, ...more };
  const signed = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

export const bearer = (text) => ({ Authorization: `Bearer ${text}` });
