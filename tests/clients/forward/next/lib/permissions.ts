// u1 owns the workspaces, u2 is a reader.
const workspaces = ['acme', 'team-1.v2~x_y'];

export async function mayRead(userId: string, workspace: string): Promise<boolean> {
  return workspaces.includes(workspace) && ['u1', 'u2'].includes(userId);
}

export async function mayWrite(userId: string, workspace: string): Promise<boolean> {
  return userId === 'u1' && mayRead(userId, workspace);
}
