'use client';

import { signOut } from 'next-auth/react';

export function SignOut() {
  return (
    <button type="button" className="quiet" onClick={() => signOut({ callbackUrl: '/login' })}>
      Sign out
    </button>
  );
}
