"""A process may open as many files as the system allows, not only a shell's default."""

from __future__ import annotations

import subprocess
import sys

from backend.runtime.open_files import most_connections


def test_the_soft_limit_of_a_shell_is_raised_to_what_the_system_allows() -> None:
    code = (
        "import resource\n"
        "from backend.runtime.open_files import raise_file_limit\n"
        "hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
        "print(raise_file_limit(), *resource.getrlimit(resource.RLIMIT_NOFILE), hard)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, check=True)
    raised, soft, hard, before = map(int, done.stdout.split())
    assert raised == soft > 256
    assert hard == before  # only an administrator changes what is allowed


def test_connections_leave_files_for_everything_else() -> None:
    assert most_connections(20_000) == 16_384
    assert most_connections(4096) == 3072
    assert most_connections(256) == 128
