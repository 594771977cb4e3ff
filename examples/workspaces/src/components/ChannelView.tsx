'use client';

import { useRouter } from 'next/navigation';
import { useEffect, useState, type FormEvent } from 'react';

import { send } from '@/lib/requests';

import { useWorkspace } from './WorkspaceProvider';

export function ChannelView({ channelId }: { channelId: string }) {
  const { id, generalId, channels, status, denial } = useWorkspace();
  const router = useRouter();
  const [error, setError] = useState('');
  const channel = channels?.find((one) => one.id === channelId);
  const isGone = channels !== undefined && !channel;
  const path = `/api/workspaces/${id}/channels/${channelId}`;

  // Someone has deleted the channel: on to the general one.
  useEffect(() => {
    if (isGone && channelId !== generalId) router.replace(`/workspaces/${id}/${generalId}`);
  }, [isGone, channelId]);

  async function rename(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    setError((await send('PATCH', path, { name: new FormData(event.currentTarget).get('name') })) ?? '');
  }

  if (status === 'denied') {
    return (
      <main className="channel">
        <h2>No access</h2>
        <p role="alert" className="denial">
          {denial}
        </p>
        <a href="/login">Sign in</a>
      </main>
    );
  }
  if (!channel) return <main className="channel" aria-busy="true" />;
  return (
    <main className="channel">
      <h2 className="name">{channel.name}</h2>
      <form onSubmit={rename}>
        <label>
          Name
          <input key={channel.name} name="name" defaultValue={channel.name} maxLength={80} required />
        </label>
        <button type="submit">Rename</button>
      </form>
      {error && (
        <p role="alert" className="error">
          {error}
        </p>
      )}
      {channelId === generalId ? (
        <p className="hint">Every workspace keeps its general channel.</p>
      ) : (
        <button
          type="button"
          className="danger"
          onClick={async () => setError((await send('DELETE', path)) ?? '')}
        >
          Delete this channel
        </button>
      )}
    </main>
  );
}
