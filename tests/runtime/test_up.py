"""What `messagejs up` promises: it starts, comes back from anything, and leaves nothing behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
from pathlib import Path

import psutil
import pytest

from tests.runtime.conftest import Up, free_port, messagejs


def test_it_says_where_it_is(up: Up) -> None:
    up.until(lambda: f"http://127.0.0.1:{up.port}" in up.log(), "address in the log")


def test_all_parts_run(up: Up) -> None:
    assert all(up.pid_of(name) for name in ("postgres", "valkey", "web", "worker-1"))


def test_the_servers_run_as_neither_root_nor_a_shared_account(up: Up) -> None:
    for name in ("postgres", "valkey"):
        server = psutil.Process(up.pid_of(name))
        assert server.uids().real != 0
        if os.geteuid() == 0 and shutil.which("useradd", path="/usr/sbin:/sbin"):
            assert server.username() == "messagejs"


def test_the_servers_are_reached_through_sockets_only(up: Up) -> None:
    for name in ("postgres", "valkey"):
        connections = psutil.Process(up.pid_of(name)).net_connections(kind="inet")
        assert connections == []


def test_only_the_owner_can_read_secrets(up: Up) -> None:
    for name in ("secrets.env", "postgres-password", "valkey-password", "runtime.json"):
        assert stat.S_IMODE((up.data_dir / name).stat().st_mode) == 0o600, name


def test_the_servers_see_none_of_our_secrets(up: Up) -> None:
    assert "ENCRYPTION_KEY" not in psutil.Process(up.pid_of("postgres")).environ()
    assert "ENCRYPTION_KEY" not in psutil.Process(up.pid_of("valkey")).environ()


def test_a_second_supervisor_on_the_same_data_says_that_one_runs(up: Up, tmp_path: Path) -> None:
    done = messagejs("up", "--no-dashboard", "--data-dir", str(up.data_dir), cwd=tmp_path)
    assert done.returncode == 2
    assert (
        f"already runs on {up.data_dir} (pid {up.running.pid}, http://127.0.0.1:{up.port})"
        in done.stderr
    )


def test_the_doctor_finds_the_running_product_healthy(up: Up, tmp_path: Path) -> None:
    done = messagejs("doctor", "--data-dir", str(up.data_dir), cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "!!" not in done.stdout
    assert f"runs at http://127.0.0.1:{up.port}" in done.stdout


def test_migrate_finds_the_running_database(up: Up, tmp_path: Path) -> None:
    done = messagejs("migrate", "--data-dir", str(up.data_dir), cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "The database is at revision" in done.stdout


def test_create_admin_makes_an_account_that_logs_in_and_administers(up: Up, tmp_path: Path) -> None:
    def create(password: str) -> tuple[int, str]:
        arguments = (
            "create-admin",
            "--email",
            "Root@Example.com",
            "--password-stdin",
            "--data-dir",
            str(up.data_dir),
        )
        done = messagejs(*arguments, cwd=tmp_path, stdin=password + "\n")
        return done.returncode, done.stdout + done.stderr

    code, output = create("password1")
    assert (code, "most used" in output) == (2, True)
    welcome = "Root@Example.com is now an administrator of this server. Log in with the password.\n"
    assert create("a long and own password") == (0, welcome)
    code, output = create("another long password")
    assert (code, "already had an account" in output) == (0, True)
    body = {"email": "root@example.com", "password": "a long and own password"}
    token = up.call("/api/v1/auth/login", body)["token"]
    assert up.call("/api/v1/admin/users", token=token)["users"][0]["isPlatformAdmin"] is True


@pytest.mark.parametrize("name", ["postgres", "valkey", "worker-1", "web"])
def test_what_is_killed_comes_back(up: Up, name: str) -> None:
    victim = up.pid_of(name)
    os.kill(victim, signal.SIGKILL)
    up.until(lambda: up.pid_of(name) not in {0, victim}, f"another {name}")
    up.until(up.is_ready, "ready again")
    assert f"{name} died" in up.log()


def test_a_killed_process_of_the_web_server_comes_back(up: Up) -> None:
    web = psutil.Process(up.pid_of("web"))
    [victim] = web.children()
    victim.kill()
    up.until(
        lambda: [child.pid for child in web.children()] not in ([], [victim.pid]),
        "another web process",
    )
    up.until(up.is_ready, "ready again")


def test_it_starts_again_right_after_it_was_killed_itself(up: Up) -> None:
    family = up.family()
    up.stop(signal.SIGKILL)
    up.start_and_wait()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert not alive, f"left over: {alive}"


def test_ctrl_c_stops_everything_in_time_and_the_second_start_is_quick(up: Up) -> None:
    family = up.family()
    assert up.stop(signal.SIGINT) < 15
    _, alive = psutil.wait_procs(family, timeout=1)
    assert not alive, f"left over: {alive}"
    assert up.running.returncode == 0
    assert not (up.data_dir / "runtime.json").exists()
    assert up.start_and_wait() < 10  # 5 s on an idle machine; tests share theirs


def test_sigterm_stops_everything_in_time(up: Up) -> None:
    family = up.family()
    assert up.stop(signal.SIGTERM) < 15
    _, alive = psutil.wait_procs(family, timeout=1)
    assert not alive, f"left over: {alive}"  # the last test that uses it: nobody starts it again


def test_it_does_not_start_with_another_key_than_the_databases(up: Up, tmp_path: Path) -> None:
    arguments = ("up", "--no-dashboard", "--port", str(up.port), "--data-dir", str(up.data_dir))
    done = messagejs(*arguments, cwd=tmp_path, env={"KEY_PEPPER": "q" * 32})
    assert done.returncode == 2
    assert "KEY_PEPPER is not the one" in done.stderr
    assert "web died" not in done.stdout


def test_a_taken_port_is_named_before_anything_starts(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = messagejs(
            "up", "--no-dashboard", "--port", str(port), "--data-dir", "data", cwd=tmp_path
        )
    assert done.returncode == 2
    assert f"127.0.0.1:{port} cannot be used" in done.stderr
    assert "--port" in done.stderr
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_data_directory_that_cannot_be_created_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = messagejs(
        "up", "--no-dashboard", "--data-dir", str(tmp_path / "file" / "data"), cwd=tmp_path
    )
    assert done.returncode == 2
    assert f"The data directory {tmp_path / 'file' / 'data'} is not writable" in done.stderr
    assert "--data-dir" in done.stderr


def test_a_wrong_setting_is_named_without_a_traceback(tmp_path: Path) -> None:
    done = messagejs("up", cwd=tmp_path, env={"WEB_WORKERS": "many"})
    assert done.returncode == 2
    assert "WEB_WORKERS=many" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_external_database_needs_its_secrets_set(tmp_path: Path) -> None:
    environment = {"DATABASE_URL": "postgresql://x@127.0.0.1/y", "PORT": str(free_port())}
    done = messagejs("up", "--data-dir", "data", cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert "KEY_PEPPER=$(openssl rand -hex 32)" in done.stderr


@pytest.mark.parametrize("command", ["web", "worker", "migrate"])
def test_a_single_process_says_what_it_is_missing(tmp_path: Path, command: str) -> None:
    done = messagejs(command, "--data-dir", "data", cwd=tmp_path)
    assert done.returncode == 2
    assert "DATABASE_URL is not set" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_doctor_names_what_is_wrong_and_fails(tmp_path: Path) -> None:
    environment = {
        "DATABASE_URL": "postgresql://x@127.0.0.1:1/y",
        "REDIS_URL": "redis://127.0.0.1:1",
    }
    environment["PORT"] = str(free_port())
    done = messagejs("doctor", cwd=tmp_path, env=environment)
    assert done.returncode == 1
    wrong = [line for line in done.stdout.splitlines() if line.startswith("!!")]
    assert [line.split()[1] for line in wrong] == ["secrets", "database", "redis"]


def test_the_doctor_misses_the_secrets_of_a_database_that_does_not_run(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    (data_dir / "postgres").mkdir(parents=True)
    result = messagejs("doctor", "--data-dir", str(data_dir), cwd=tmp_path)
    assert result.returncode == 1
    assert "secrets.env lacks its" in result.stdout
    (data_dir / "secrets.env").write_bytes(b"JWT_SECRET=\xff\n")
    result = messagejs("doctor", "--data-dir", str(data_dir), cwd=tmp_path)
    assert result.returncode != 0
    assert "secrets.env cannot be read" in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr


def test_the_doctor_names_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    result = messagejs("doctor", "--data-dir", "data", cwd=tmp_path)
    assert result.returncode == 1
    assert "is not writable" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr


def test_the_configuration_is_printed_without_secrets(tmp_path: Path) -> None:
    environment = {"DATABASE_URL": "postgresql://app:hunter2@db/m", "JWT_SECRET": "j" * 40}
    done = messagejs("config", cwd=tmp_path, env=environment)
    assert done.returncode == 0
    assert "hunter2" not in done.stdout
    assert "jjj" not in done.stdout
    assert "postgresql://app:********@db/m" in done.stdout
    meanings = done.stdout.splitlines()[0].index("meaning")
    assert all(line[meanings:].strip() for line in done.stdout.splitlines()[1:])


def test_an_admins_password_is_only_asked_for_at_a_terminal(tmp_path: Path) -> None:
    done = messagejs("create-admin", "--email", "root@example.com", cwd=tmp_path)
    assert done.returncode == 2
    assert "--password-stdin" in done.stderr
    assert "GetPassWarning" not in done.stderr


def test_the_version_is_printed(tmp_path: Path) -> None:
    assert messagejs("--version", cwd=tmp_path).stdout.startswith("messagejs ")
