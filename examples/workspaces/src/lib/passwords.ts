import { randomBytes, scryptSync, timingSafeEqual } from 'node:crypto';

const KEY_BYTES = 32;

export function hashPassword(password: string): string {
  const salt = randomBytes(16).toString('hex');
  return `${salt}:${scryptSync(password, salt, KEY_BYTES).toString('hex')}`;
}

export function isPassword(password: string, hash: string): boolean {
  const [salt = '', key = ''] = hash.split(':');
  return timingSafeEqual(scryptSync(password, salt, KEY_BYTES), Buffer.from(key, 'hex'));
}
