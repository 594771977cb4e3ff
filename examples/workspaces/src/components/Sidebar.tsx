'use client';

import Link from 'next/link';
import { useParams } from 'next/navigation';
import { useState, type FormEvent } from 'react';

import { send } from '@/lib/requests';

import { SignOut } from './SignOut';
import { useWorkspace } from './WorkspaceProvider';

const STATUS_TEXTS: Record<string, string> = {
  live: 'Up to date',
  away: 'Reconnecting…',
  denied: 'No access',
};

export function Sidebar({ user }: { user: { name: string } }) {
  const { id, name, generalId, channels, status, isOutdated } = useWorkspace();
  const { channelId } = useParams<{ channelId?: string }>();
  const list = [...(channels ?? [])].sort(
    (a, b) => Number(b.id === generalId) - Number(a.id === generalId) || a.name.localeCompare(b.name),
  );
  return (
    <aside className="sidebar">
      <header>
        <h1>{name}</h1>
        <p className="status" data-status={status}>
          {STATUS_TEXTS[status] ?? 'Connecting…'}
        </p>
      </header>
      {isOutdated && (
        <p role="alert" className="outdated">
          A new version is here. <a href="">Please reload.</a>
        </p>
      )}
      <nav aria-label="Channels">
        <ul>
          {list.map((channel) => (
            <li key={channel.id}>
              <Link
                href={`/workspaces/${id}/${channel.id}`}
                aria-current={channel.id === channelId ? 'page' : undefined}
              >
                {channel.name}
              </Link>
            </li>
          ))}
        </ul>
      </nav>
      <NewChannel />
      <footer>
        <span className="avatar" aria-hidden="true">
          {user.name[0]}
        </span>
        <span className="user">{user.name}</span>
        <SignOut />
      </footer>
    </aside>
  );
}

function NewChannel() {
  const { id } = useWorkspace();
  const [error, setError] = useState('');

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const failure = await send('POST', `/api/workspaces/${id}/channels`, { name: new FormData(form).get('name') });
    setError(failure ?? '');
    if (!failure) form.reset();
  }

  return (
    <form className="new-channel" onSubmit={submit}>
      <input name="name" aria-label="Name of a new channel" placeholder="New channel" maxLength={80} required />
      <button type="submit" className="quiet">
        Add
      </button>
      {error && (
        <p role="alert" className="error">
          {error}
        </p>
      )}
    </form>
  );
}
