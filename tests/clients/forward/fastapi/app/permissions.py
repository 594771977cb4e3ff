"""u1 owns the workspaces, u2 is a reader."""

WORKSPACES = {"acme", "team-1.v2~x_y"}


def may_read(user_id, workspace):
    return workspace in WORKSPACES and user_id in {"u1", "u2"}


def may_write(user_id, workspace):
    return user_id == "u1" and may_read(user_id, workspace)
