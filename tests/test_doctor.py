"""The doctor: what it finds, what it says, and how it installs."""

from __future__ import annotations

import os
import sys

import pytest

from farm import doctor
from farm.doctor import Finding

QEMU = Finding("qemu-none", None, "qemu-user on none", "apt-get install qemu-user", required=False, package="qemu-user")


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """PATH is one folder; the function puts a shell script into it."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def put(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return path

    put("env", 'exec /usr/bin/env PATH="$PATH:/usr/bin:/bin" "$@"')
    return put


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch):
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def root(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def nobody(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 65534)


def by_name(findings):
    return {finding.what: finding for finding in findings}


def test_it_knows_the_python_its_packages_the_compiler_and_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHFARM_CACHE", str(tmp_path / "new"))
    found = by_name(doctor.check())
    for name in ("unicorn", "pwntools", "capstone", "msgspec", "ziglang", "zig compiler", "unicorn library"):
        assert found[name].ok, found[name]
        assert found[name].required
    assert found[sys.implementation.name.replace("cpython", "CPython")].found == sys.version.split()[0]
    assert found["cache folder"].found == str(tmp_path / "new")
    assert found["zig compiler"].found.startswith("0.17.")
    assert not any("dask" in name or "distributed" in name for name in found), "extras are not needed"


def test_without_qemu_it_names_each_binary_and_the_package(programs, root):
    found = by_name(doctor.check())
    emulators = {name: finding for name, finding in found.items() if name.startswith("qemu-")}
    assert {"qemu-aarch64", "qemu-x86_64", "qemu-ppc", "qemu-ppc64", "qemu-ppc64le"} <= set(emulators)
    for name, finding in emulators.items():
        package = "apt-get install qemu-" + ("system-" if name.startswith("qemu-system-") else "user")
        assert finding.found is None
        assert finding.install.startswith(package)
        assert not finding.required
    assert found["qemu-aarch64"].needed_by == "qemu-user on arm64"
    assert found["qemu-system-aarch64"].needed_by == "qemu-system on arm64, arm64be"
    assert found["gdb-multiarch"].install == "apt-get install gdb-multiarch"
    assert doctor.status(found.values()) == 0, "the farm runs on Unicorn"


def test_only_for_the_tests_it_wants_a_debugger_and_a_browser(programs, root):
    wanted = {finding.what: finding for finding in doctor.check(tests=True) if finding.package}
    assert wanted.keys() - {finding.what for finding in doctor.check() if finding.package} == {
        "gdb-multiarch",
        "chromium",
        "or1k-elf-gcc",
    }
    assert wanted["chromium"].install == "apt-get install chromium"
    assert not wanted["chromium"].required
    programs("google-chrome", "echo 'Google Chrome 141.0.7390.54'")
    assert by_name(doctor.check(tests=True))["chromium"].found == "141.0.7390.54"


def test_the_version_of_an_emulator_is_what_it_says_itself(programs):
    programs("qemu-aarch64", "echo 'qemu-aarch64 version 9.8.7 (Debian 1:9.8)'")
    assert by_name(doctor.check())["qemu-aarch64"].found == "9.8.7"


def test_an_emulator_that_does_not_run_is_missing(programs):
    programs("qemu-aarch64", "exit 127")
    assert by_name(doctor.check())["qemu-aarch64"].found is None


def test_a_compiler_and_a_library_that_do_not_run_are_missing_although_their_packages_are_here(monkeypatch, programs):
    monkeypatch.setattr(sys, "executable", str(programs("python", "exit 1")))
    found = by_name(doctor.check())
    assert found["ziglang"].ok
    assert not found["zig compiler"].ok
    assert "pip install --force-reinstall 'ziglang==0.17.*'" in found["zig compiler"].install
    assert found["unicorn"].ok
    assert not found["unicorn library"].ok
    assert doctor.status(found.values()) == 3


def test_a_package_that_is_missing_or_too_old_is_reported_with_the_command(programs, monkeypatch):
    monkeypatch.setattr(
        doctor.importlib.metadata, "requires", lambda _: ["msgspec>=99", "no-such-package>=1", "absent; extra == 'x'"]
    )
    _, old, missing, *_ = doctor.check()  # behind Python itself
    assert old.what.startswith("msgspec >=99, not ")
    assert old.found is missing.found is None
    assert old.install == f"{sys.executable} -m pip install 'msgspec>=99'"
    assert missing.install == f"{sys.executable} -m pip install 'no-such-package>=1'"
    assert doctor.status([old]) == doctor.status([missing]) == 3


def test_a_checkout_that_is_not_installed_says_so(programs, monkeypatch):
    def requires(name):
        raise doctor.importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.importlib.metadata, "requires", requires)
    _, finding, *_ = doctor.check()
    assert finding.install == f"{sys.executable} -m pip install -e ."


def test_a_cache_that_cannot_be_written_is_reported(programs, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATCHFARM_CACHE", str(tmp_path / "file" / "cache"))
    (finding,) = (finding for finding in doctor.check() if finding.what.startswith("cache folder"))
    assert finding.what == f"cache folder {tmp_path}/file/cache: Not a directory"
    assert "PATCHFARM_CACHE" in finding.install
    assert doctor.status([finding]) == 3


def test_the_report_is_plain_lines_and_each_command_once(capsys):
    doctor.report([Finding("thing", "1.0", "the farm", None, required=True), QEMU, QEMU])
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "ok        thing      1.0  (the farm)",
        "optional  qemu-none  -  (qemu-user on none)",
        "optional  qemu-none  -  (qemu-user on none)",
        "for qemu-none, qemu-none:",
        "    apt-get install qemu-user",
        "the farm can run; cells of the missing emulators and compilers are not-run until they are installed",
    ]


def test_the_report_is_a_table_on_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    doctor.report([Finding("thing[0]", None, "the farm", "pip install thing", required=True)])
    out = capsys.readouterr().out
    assert "needed by" in out
    assert "thing[0]" in out
    assert "\x1b[" in out
    assert out.splitlines()[-2:] == ["    pip install thing", "the farm cannot run yet"]


def test_the_report_says_when_all_is_well(capsys):
    doctor.report([Finding("thing", "1.0", "the farm", None, required=True)])
    assert capsys.readouterr().out.splitlines()[-1] == "the farm can run everything"


def test_nothing_missing_installs_nothing(programs, root, capsys):
    programs("apt-get", "exit 1")
    assert doctor.install([Finding("gdb-multiarch", None, "debugging", "apt-get install x", required=False)]) == 0
    assert not capsys.readouterr().out


def apt_get(programs, tmp_path, script):
    """A fake apt-get that records its arguments; returns what reads them."""
    log = tmp_path / "log"
    programs("apt-get", f'echo "$DEBIAN_FRONTEND" "$@" >> {log}\n{script}')
    return lambda: log.read_text().splitlines() if log.exists() else []


def test_root_updates_and_installs_silently(programs, root, tmp_path, capsys):
    installed = programs("qemu-none", "")
    installed.rename(tmp_path / "waiting")
    calls = apt_get(
        programs, tmp_path, f'echo chatter; case "$*" in *install*) mv {tmp_path}/waiting {installed};; esac'
    )
    assert doctor.install([QEMU]) == 0
    options = "noninteractive -o DPkg::Lock::Timeout=300"
    assert calls() == [f"{options} update", f"{options} install -y --no-install-recommends qemu-user"]
    assert capsys.readouterr().out == "installed qemu-user\n"


def test_an_install_that_fails_shows_the_words_of_apt(programs, root, tmp_path, capsys):
    calls = apt_get(programs, tmp_path, "echo E: no mirror answers >&2; exit 100")
    assert doctor.install([QEMU]) == 3
    assert len(calls()) == 2, "an update that fails does not keep us from trying"
    out = capsys.readouterr().out
    assert "E: no mirror answers" in out
    assert "could not install qemu-user (apt-get ended with 100); the farm runs on what there is meanwhile" in out


def test_an_install_that_brings_nothing_is_a_failure(programs, root, tmp_path, capsys):
    apt_get(programs, tmp_path, "exit 0")
    assert doctor.install([QEMU]) == 3
    assert "qemu-none not on PATH" in capsys.readouterr().out


def test_an_apt_that_cannot_be_started_is_a_failure(programs, root, capsys):
    programs("apt-get", "")
    programs("env", "").write_text("#!/nowhere/sh\n")
    assert doctor.install([QEMU]) == 3
    assert "could not install qemu-user" in capsys.readouterr().out


def test_without_root_it_says_what_to_run(programs, nobody, tmp_path, capsys):
    calls = apt_get(programs, tmp_path, "exit 0")
    programs("sudo", "exit 1")
    assert doctor.install([QEMU]) == 0, "the farm runs without"
    assert calls() == []
    expected = (
        "only root can install packages: sudo apt-get install qemu-user; the farm runs on what there is meanwhile"
    )
    assert capsys.readouterr().out == f"{expected}\n"


def test_without_root_or_sudo_it_says_what_to_run(programs, nobody, tmp_path, capsys):
    calls = apt_get(programs, tmp_path, "exit 0")
    assert doctor.install([QEMU]) == 0
    assert calls() == []
    assert "apt-get install qemu-user" in capsys.readouterr().out


def test_a_sudo_that_asks_for_nothing_is_used(programs, nobody, tmp_path, capsys):
    calls = apt_get(programs, tmp_path, "exit 0")
    programs("qemu-none", "")
    programs("sudo", '[ "$1" = -n ] && shift && exec "$@"')
    programs("true", "exit 0")
    assert doctor.install([QEMU]) == 0
    assert calls()[1].endswith("install -y --no-install-recommends qemu-user")


def test_without_apt_it_names_the_package(programs, root, capsys):
    assert doctor.install([QEMU]) == 0
    expected = "no apt-get here: install what Debian calls qemu-user; the farm runs on what there is meanwhile"
    assert capsys.readouterr().out == f"{expected}\n"
