/** The algorithms of `auth.jwt.algorithm` for a secret, with the bytes of the shortest secret. */
const ALGORITHMS = { HS256: 32, HS384: 48, HS512: 64 } as const;

export type Algorithm = keyof typeof ALGORITHMS;

/** Signs a token with the claims of docs/authentication.md. `end` is in seconds since 1970. */
export async function signToken(
  secret: string,
  algorithm: Algorithm,
  claims: Record<string, unknown>,
): Promise<string> {
  const bytes = new TextEncoder().encode(secret);
  if (bytes.length < ALGORITHMS[algorithm]) {
    throw new TypeError(
      `\`secret\` has ${bytes.length} bytes, and ${algorithm} needs ${ALGORITHMS[algorithm]}: it is that of \`auth.jwt.secret\``,
    );
  }
  const hmac = { name: 'HMAC', hash: `SHA-${algorithm.slice(2)}` };
  const key = await crypto.subtle.importKey('raw', bytes, hmac, false, ['sign']);
  const signed = `${encode({ alg: algorithm, typ: 'JWT' })}.${encode(claims)}`;
  const signature = await crypto.subtle.sign('HMAC', key, new TextEncoder().encode(signed));
  return `${signed}.${base64Url(new Uint8Array(signature))}`;
}

const encode = (value: unknown): string => base64Url(new TextEncoder().encode(JSON.stringify(value)));

function base64Url(bytes: Uint8Array): string {
  const base64 = btoa(String.fromCharCode(...bytes));
  return base64.replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}
