"""The cache's upkeep: what goes, what stays, and that nothing in use is ever taken away."""

from __future__ import annotations

import os
import time

import pytest
from filelock import FileLock

from farm.guest import build, tidy
from farm.guest.image import Spec

DAY = tidy.DAY


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PATCHFARM_CACHE", str(tmp_path))
    for name in ("images", "objects", "made", "zig"):
        (tmp_path / name).mkdir()
    return tmp_path


def age(path, days):
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


def image(cache, name, days, size=1_000):
    folder = cache / "images" / name
    folder.mkdir()
    (folder / "guest.elf").write_bytes(bytes(size))
    return age(folder, days)


def file(cache, name, days):
    (cache / name).write_bytes(b"1")
    return age(cache / name, days)


def test_what_was_not_used_for_thirty_days_goes_and_all_else_stays(cache):
    old = [image(cache, "old", 31), file(cache, "objects/old.o", 31), file(cache, "made/old.json", 40)]
    left_by_a_killed_farm = cache / "made" / "0123-work"
    left_by_a_killed_farm.mkdir()
    old.append(age(left_by_a_killed_farm, 31))
    kept = [image(cache, "new", 29), file(cache, "objects/new.o", 1), file(cache, "made/new.json", 3)]
    kept += [file(cache, "made/old.lock", 99), file(cache, "zig/old", 99)]
    assert set(tidy.tidy()) == set(old)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in kept)


def test_of_too_much_the_least_recently_used_goes_first_but_nothing_of_the_last_two_days(cache, monkeypatch):
    monkeypatch.setattr(tidy, "LIMIT", 2_500)
    made = {days: image(cache, f"i{days}", days) for days in (0, 1, 4, 5, 6)}
    assert tidy.tidy() == [made[6], made[5], made[4]]
    age(cache / "tidied", 2)
    monkeypatch.setattr(tidy, "LIMIT", 0)
    assert tidy.tidy() == []
    assert made[0].exists()
    assert made[1].exists()


def test_upkeep_is_done_once_a_day_and_by_one_farm_at_a_time(cache):
    assert tidy.tidy() == []
    old = image(cache, "old", 31)
    assert tidy.tidy() == []
    age(cache / "tidied", 1.1)
    with FileLock(cache / "tidied.lock"):
        assert tidy.tidy() == []
    assert tidy.tidy() == [old]


def test_what_is_used_while_others_go_stays(cache):
    used = image(cache, "used", 31)
    last = used.stat().st_mtime
    tidy.used(used)
    assert not tidy._removed(used, last)
    assert tidy.tidy() == []


def test_a_cache_that_cannot_be_looked_at_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("PATCHFARM_CACHE", str(tmp_path / "file"))
    assert tidy.tidy() == []
    tidy.used(tmp_path / "nowhere")


def test_an_image_and_its_record_that_are_asked_for_count_as_used(cache, arm64):
    spec = Spec(arm64, "pointer", "zig")
    built = build.images([spec])[spec]
    places = [*(cache / "images").iterdir(), *(cache / "made").glob("*.json"), *(cache / "objects").iterdir()]
    for place in places:
        age(place, 31)
    assert build.images([spec])[spec] == built
    of_objects = [place for place in places if place.stat().st_mtime < time.time() - DAY]
    assert cache / "images" / built.key not in of_objects
    age(cache / "tidied", 2)
    build.images([spec])
    assert {path for path in places if not path.exists()} == set(of_objects)
    assert build.images([spec])[spec] == built
