"""Which commit the protos are compared with."""

import shutil

from tools.running import fail, git


def protos_to_compare_with(against):
    """The commit whose protos today's must not break, or None if there is none.

    On a branch that is where it left main, with changes not yet committed the last commit,
    else the commit before the last one that changed a proto.
    """
    if shutil.which("git") is None:
        fail("no git on the PATH: buf breaking compares with an earlier commit")
    if against:
        commit = git("rev-parse", "--verify", "--quiet", f"{against}^{{commit}}")
        if not commit:
            fail(f"there is no commit {against}", code=2)
        if not has_protos(commit):
            fail(f"the commit {against} has no protos", code=2)
        return commit
    last = git("log", "-1", "--format=%H", "--", "proto/*.proto")
    candidates = [
        git("merge-base", "HEAD", "origin/main"),
        git("merge-base", "HEAD", "main"),
        git("rev-parse", "--verify", "--quiet", "HEAD"),
        last and git("rev-parse", "--verify", "--quiet", f"{last}^"),
    ]
    for commit in candidates:
        if commit and has_protos(commit) and git("diff", "--name-only", commit, "--", "proto/*.proto"):
            return commit
    return None


def has_protos(commit):
    return ".proto" in git("ls-tree", "-r", "--name-only", commit, "--", "proto")
