import { requireMember } from '@/lib/auth';

type Context = { params: Promise<{ workspaceId: string }> };

// #region live updates
/** The broker asks whether the cookie of a request may read a workspace. */
export async function GET(_request: Request, { params }: Context): Promise<Response> {
  const { user, refusal } = await requireMember((await params).workspaceId);
  return refusal ?? new Response(null, { status: 204, headers: { 'X-Tidings-User': user.id } });
}
// #endregion
