'use client';

import { signIn } from 'next-auth/react';
import { useState, type FormEvent } from 'react';

export function SignIn({ target }: { target: string }) {
  const [error, setError] = useState('');

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const result = await signIn('credentials', {
      redirect: false,
      name: form.get('name'),
      password: form.get('password'),
    }).catch(() => undefined);
    if (result?.ok) window.location.assign(target);
    else if (result?.status === 401) setError('The name or the password is wrong.');
    else setError('The app does not respond. Please try again.');
  }

  return (
    <form onSubmit={submit}>
      <label>
        Name
        <input name="name" autoComplete="username" autoCapitalize="none" required autoFocus />
      </label>
      <label>
        Password
        <input name="password" type="password" autoComplete="current-password" required />
      </label>
      {error && (
        <p role="alert" className="error">
          {error}
        </p>
      )}
      <button type="submit">Sign in</button>
    </form>
  );
}
