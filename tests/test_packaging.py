"""What is installed is what is here, and CI runs what the README says."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built without network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", str(folder)]
    subprocess.run([*PIP, "wheel", *options, str(ROOT)], check=True, cwd=folder)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that the wheel is installed to."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([*PIP, "install", "--no-deps", "--no-index", "--target", str(folder), str(wheel)], check=True)
    return folder


@pytest.mark.parametrize("name", ["arch", "images"])
def test_the_wheel_holds_every_data_file(wheel, name):
    inside = {entry for entry in zipfile.ZipFile(wheel).namelist() if entry.startswith(f"farm/_data/{name}/")}
    assert inside == {f"farm/_data/{name}/{path}" for path in files(ROOT / name)}


def test_the_wheel_holds_every_module_the_templates_and_the_type_marker(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "farm").rglob("*.py")}
    templates = {f"farm/report/templates/{path}" for path in files(ROOT / "farm" / "report" / "templates")}
    assert len(templates) == 4
    assert modules | templates | {"farm/py.typed"} <= inside
    assert not [name for name in inside if name.startswith(("tests/", "arch/", "images/"))]


def test_an_installed_farm_finds_its_data_from_any_folder(installed, tmp_path):
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n"
        "import farm, json\n"
        "from farm import paths\n"
        "from farm.guest import arch_toml\n"
        "data = [str(paths.data(name)) for name in ('arch', 'images')]\n"
        "print(json.dumps([farm.__file__, *data, list(arch_toml.load())]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], cwd=tmp_path, check=True, capture_output=True, text=True
    )
    package, arch, images, variants = json.loads(done.stdout)
    assert package == str(installed / "farm" / "__init__.py")
    assert arch == str(installed / "farm" / "_data" / "arch")
    assert files(Path(images)) == files(ROOT / "images")
    assert {"arm64", "x86_64", "ppc32", "ppc64", "ppc64le"} <= set(variants)


def readme_commands():
    """Every line of the README's console blocks, without a prompt."""
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return [line.removeprefix("$ ") for line in "".join(blocks).splitlines()]


def test_ci_runs_the_test_command_of_the_readme():
    (command,) = {line for line in readme_commands() if "tox run -e test" in line and "venv" in line}
    assert command in [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]


def fake_tools(folder, tox):
    """A checkout with nothing in it but .ci/run, where making the environment gives a tox that runs ``tox``."""
    (folder / ".ci").mkdir()
    (folder / ".ci" / "run").write_text((ROOT / ".ci" / "run").read_text())
    tools = folder / "tools"
    tools.mkdir()
    script = (
        "#!/bin/sh\nmkdir -p .venv/bin\nprintf '#!/bin/sh\\n' > .venv/bin/pip\n"
        f"cat > .venv/bin/tox <<'TOX'\n#!/bin/sh\n{tox}\nTOX\nchmod +x .venv/bin/*\n"
    )
    (tools / "python3").write_text(script)
    (tools / "python3").chmod(0o755)
    return tools


@pytest.mark.parametrize(
    ("tox", "status", "last"),
    [
        ("echo '== 3 passed in 1.20s =='; echo 'congratulations :)'", 0, "== 3 passed in 1.20s =="),
        ("echo '== 1 failed, 3 passed in 75.20s (0:01:15) =='; echo 'evaluation failed :('; exit 1", 1, None),
        (r"printf '\033[32m=== \033[1m3 passed\033[0m in 1.20s ===\033[0m\n'; echo ok", 0, "=== 3 passed in 1.20s ==="),
        ("echo 'no interpreter'; exit 7", 7, "no interpreter"),
        ("echo 'congratulations :)'", 1, "no summary from pytest: nothing was tested"),
    ],
    ids=["passed", "failed", "coloured", "broken", "no-summary"],
)
def test_ci_ends_with_the_summary_of_pytest_and_its_status(tmp_path, monkeypatch, tox, status, last):
    tools = fake_tools(tmp_path, tox)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    done = subprocess.run(
        ["bash", str(tmp_path / ".ci" / "run")],
        check=False,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == status
    assert done.stdout.splitlines()[-1] == (last or "== 1 failed, 3 passed in 75.20s (0:01:15) ==")


def test_the_workflow_runs_every_environment_of_tox_and_lets_none_fail():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    environments = {
        name.replace(braces, factor)
        for name in tox["tox"]["env_list"].split()
        for braces in re.findall(r"\{.*\}", name) or [name]
        for factor in braces.strip("{}").split(",")
    }
    environments = {name for name in environments if not name.startswith("farm")}  # the reusable workflow runs those
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert set(re.findall(r"\btox: ([\w-]+)", workflow)) == environments
    assert "continue-on-error" not in workflow
