import { Card } from '@/components/Card';

import { SignIn } from './SignIn';

type Props = { searchParams: Promise<{ callbackUrl?: string | string[] }> };

export default async function Login({ searchParams }: Props) {
  const { callbackUrl } = await searchParams;
  // Only a path of this app is a place to go to.
  const target = typeof callbackUrl === 'string' && /^\/(?![/\\])/.test(callbackUrl) ? callbackUrl : '/';
  return (
    <Card title="Sign in">
      <SignIn target={target} />
      <p className="hint">
        <code>ada</code> and <code>ben</code> are members of Acme, and <code>eve</code> is not. The
        password is <code>tidings</code>.
      </p>
    </Card>
  );
}
