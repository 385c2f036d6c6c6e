"""What the README shows works as it is shown."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from farm import suite
from farm.scenario import model

README = Path(__file__).parents[1] / "README.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)


def test_the_scenario_of_the_tour_is_one(tmp_path):
    (tmp_path / "mine.py").write_text(blocks("python")[0])
    scenario = suite.load((tmp_path / "mine.py",))["patched_twice_inside"]
    assert [event.kind for event in model.predict(scenario)][:3] == ["enter", "patch", "patch"]


def test_a_closer_look_at_a_cell_works_as_it_is_typed(tmp_path):
    (block,) = [block for block in blocks("console") if "farm show" in block]
    commands = [line.partition("#")[0] for line in block.splitlines() if not line.startswith("farm debug")]
    assert [command.split()[1] for command in commands] == ["run", "show", "trace"]
    script = "set -e\n" + "\n".join(commands).replace("farm ", f"{sys.executable} -m farm ")
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_live_guest_of_the_tour_does_what_its_comments_say(capsys):
    (shown,) = [block for block in blocks("python") if "farm.boot" in block]
    script = re.sub(
        r"^( +)(guest\.(?:call\(3\)|entered|query\(\))) +# ([^:,\n]+).*$",
        r"\1assert \2 == \3",
        shown,
        flags=re.MULTILINE,
    )
    assert script.count("assert guest") == 4
    exec(compile(script, "README.md", "exec"), {})
    out = capsys.readouterr().out
    assert "whatever_0 as linked:" in out
    assert "step 6: patch whatever_0 -> other, ok, depth 1" in out


def test_the_test_of_the_tour_passes(pytester):
    (shown,) = [block for block in blocks("python") if "pytest.mark.patchable" in block]
    pytester.makepyfile(test_mine=shown)
    (pytester.path / "mine.c").write_text(blocks("c")[0])
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=5)
