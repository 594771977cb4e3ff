import { eq } from 'drizzle-orm';
import Link from 'next/link';
import { redirect } from 'next/navigation';

import { Card } from '@/components/Card';
import { SignOut } from '@/components/SignOut';
import { database } from '@/db';
import { members, workspaces } from '@/db/schema';
import { currentUser } from '@/lib/auth';

export default async function Home() {
  const user = await currentUser();
  if (!user) redirect('/login');
  const list = database()
    .select({ id: workspaces.id, name: workspaces.name })
    .from(members)
    .innerJoin(workspaces, eq(workspaces.id, members.workspaceId))
    .where(eq(members.userId, user.id))
    .all();
  return (
    <Card title={`Hello, ${user.name}`}>
      <ul className="choices">
        {list.map(({ id, name }) => (
          <li key={id}>
            <Link href={`/workspaces/${id}`}>{name}</Link>
          </li>
        ))}
      </ul>
      <SignOut />
    </Card>
  );
}
