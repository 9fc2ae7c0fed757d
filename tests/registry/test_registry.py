import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError, MissingPackage
from layoutmark.registry import Registry

MakeMethod = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


def run(script: str, cwd: Path, *arguments: str) -> str:
    """Run a script file in a fresh process that finds the package and nothing of `cwd`."""
    path = cwd / "script.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "bench"), "OMP_NUM_THREADS": "1"}
    # A pool whose workers cannot import their task waits for ever.
    done = subprocess.run(
        [sys.executable, str(path), *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_card_of_the_project_can_be_read() -> None:
    registry = Registry()
    assert {"base", "ilgd"} <= set(registry.methods())
    assert {"mini", "mini-refs"} <= set(registry.suites())
    assert {"sd14", "sd15"} <= set(registry.stacks())
    registry.reports()
    broken = (registry.broken_methods(), registry.broken_suites(), registry.broken_stacks(), registry.broken_reports())
    assert [str(b.error) for found in broken for b in found] == []
    assert registry.get_suite("mini-refs").folder == ROOT / "datasets" / "mini"


@pytest.mark.parametrize("given", [".", "methods", "methods/toy"])
def test_a_users_path_may_be_a_root_a_folder_of_methods_or_a_method(
    tmp_path: Path, make_method: MakeMethod, given: str
) -> None:
    make_method(tmp_path / "methods")
    entry = Registry([tmp_path / given]).get_method("toy")
    assert entry.folder == tmp_path / "methods" / "toy"
    assert entry.card.paper is not None
    assert "toy" not in Registry().methods()
    module = entry.load()
    assert module.__name__ == "layoutmark.methods.toy.adapter"
    assert module.build(None, {}).paint(3) == ("red", 3, "layoutmark.methods.toy.adapter")
    assert entry.load() is module


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        LayoutmarkError, match=r"path for guests: found no folder .*nowhere; expected a folder with cards"
    ):
        Registry([tmp_path / "nowhere"])


def test_one_folder_found_twice_is_one_method(tmp_path: Path, make_method: MakeMethod) -> None:
    make_method(tmp_path / "methods")
    (tmp_path / "link").symlink_to(tmp_path / "methods")
    assert (
        "toy" in Registry([tmp_path, tmp_path / "methods", tmp_path / "link", tmp_path / "methods" / "toy"]).methods()
    )


def test_two_owners_of_a_name_are_both_named(tmp_path: Path, make_method: MakeMethod) -> None:
    first, second = make_method(tmp_path / "a"), make_method(tmp_path / "b")
    with pytest.raises(LayoutmarkError) as caught:
        Registry([tmp_path / "a", tmp_path / "b"]).methods()
    assert str(caught.value) == (
        f"method 'toy': found two folders: {first} and {second}; expected one owner per name. Rename or remove one."
    )


def test_folders_of_one_name_loaded_after_each_other_do_not_mix(tmp_path: Path, make_method: MakeMethod) -> None:
    make_method(tmp_path / "a", colour="red")
    make_method(tmp_path / "b", colour="blue")
    first = Registry([tmp_path / "a"]).get_method("toy").load()
    second = Registry([tmp_path / "b"]).get_method("toy").load()
    assert first.build(None, {}).paint(0)[0] == "red"
    assert second.build(None, {}).paint(0)[0] == "blue"


def test_unknown_names_are_answered_with_close_ones(tmp_path: Path, make_method: MakeMethod) -> None:
    make_method(tmp_path)
    registry = Registry([tmp_path])
    with pytest.raises(
        LayoutmarkError, match=r"unknown method: found 'toi'; expected one of .*toy.*\. Did you mean 'toy'"
    ):
        registry.get_method("toi")
    with pytest.raises(LayoutmarkError, match=r"unknown suite: found 'minni'.*Did you mean 'mini'"):
        registry.get_suite("minni")
    with pytest.raises(LayoutmarkError, match=r"unknown stack: found 'sd16'.*Did you mean 'sd1"):
        registry.get_stack("sd16")
    with pytest.raises(LayoutmarkError, match=r"unknown report: found 'zzzz'.*See: layoutmark reports list"):
        registry.get_report("zzzz")


def test_a_broken_card_hides_nobody_and_is_shown(tmp_path: Path, make_method: MakeMethod) -> None:
    make_method(tmp_path)
    make_method(tmp_path, "bad", card="name = 'bad'\ntitel = 'x'")
    make_method(tmp_path, "other", card=(tmp_path / "toy" / "method.toml").read_text())
    registry = Registry([tmp_path])
    assert "toy" in registry.methods()
    assert not {"bad", "other"} & set(registry.methods())
    broken = {b.folder.name: str(b.error) for b in registry.broken_methods()}
    assert set(broken) == {"bad", "other"}
    assert "unknown key 'titel'" in broken["bad"]
    assert "key 'name': found 'toy'; expected 'other'. Rename the folder or the card." in broken["other"]
    with pytest.raises(LayoutmarkError, match="unknown key 'titel'"):
        registry.get_method("bad")


def test_an_adapter_that_needs_a_missing_package_names_the_line_to_run(
    tmp_path: Path, make_method: MakeMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    (make_method(tmp_path) / "adapter.py").write_text("import torch\n")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        MissingPackage, match=r"method 'toy': found no package 'torch'.*pip install \"layoutmark\[torch\]\""
    ):
        Registry([tmp_path]).get_method("toy").load()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "import nowhere_at_all",
            "found ModuleNotFoundError: No module named 'nowhere_at_all'; expected .*adapter.py to import",
        ),
        ("def build(:", "found SyntaxError: .*; expected .*adapter.py to import. Repair it"),
        ("1 / 0", "found ZeroDivisionError: division by zero"),
        ("x = 1", r"found no function build\(\) in .*adapter.py; expected build\(\). See layoutmark.api"),
        (None, r"found no .*adapter.py; expected a module with build\(\). Add the file"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_one_clear_error(
    tmp_path: Path, make_method: MakeMethod, source: str | None, message: str
) -> None:
    path = make_method(tmp_path) / "adapter.py"
    path.unlink() if source is None else path.write_text(source)
    with pytest.raises(LayoutmarkError, match=f"method 'toy': {message}"):
        Registry([tmp_path]).get_method("toy").load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("    return None", "found build() gave NoneType without applicable, generate, notes; expected an object with"),
        (
            "    return {}['weights']",
            "found KeyError: 'weights' (adapter.py, line 2); expected build(stack, settings) to",
        ),
        (
            "    import sys\n    from layoutmark.errors import LayoutmarkError\n"
            "    raise LayoutmarkError('weights', found='none', expected='a file', do='Train them.')",
            "weights: found none; expected a file. Train them.",
        ),
    ],
)
def test_what_is_built_must_be_a_method(tmp_path: Path, make_method: MakeMethod, text: str, message: str) -> None:
    folder = make_method(tmp_path)
    (folder / "adapter.py").write_text(f"def build(stack, settings):\n{text}\n")
    with pytest.raises(LayoutmarkError, match=re.escape(message)):
        Registry([tmp_path]).get_method("toy").build(None, {})


def test_a_suite_is_asked_for_the_function_its_card_promises(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "two"
    folder.mkdir(parents=True)
    one = "[[suites]]\nname = '{}'\ntitle = 't'\nversion = '1'\nsource = '{}'\n"
    (folder / "suite.toml").write_text("licence = 'x'\n" + one.format("here", "shipped") + one.format("there", "build"))
    (folder / "build.py").write_text("def open_suite(name): return name\n")
    registry = Registry([tmp_path])
    assert registry.get_suite("here").load().open_suite("here") == "here"
    with pytest.raises(LayoutmarkError, match=r"suite 'there': found no function build_suite\(\)"):
        registry.get_suite("there").load()


def test_installed_packages_may_publish_guests(
    tmp_path: Path, make_method: MakeMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "toy_guests"
    make_method(package / "methods")
    (package / "__init__.py").touch()
    info = tmp_path / "toy_guests-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-guests\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[layoutmark.guests]\ntoys = toy_guests\ngone = nowhere_at_all.x\n")
    assert "toy" not in Registry().methods()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Registry().get_method("toy").load().__file__ == str(package / "methods" / "toy" / "adapter.py")


SPAWN = """
import multiprocessing, os, sys
from pathlib import Path
from layoutmark.registry import Registry

if __name__ == "__main__":
    toy = Registry([Path(sys.argv[1])]).get_method("toy").load()
    mini = Registry().get_suite("mini").load()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(os.getpid) != os.getpid()
        print(pool.map(toy.build(None, {}).paint, [1, 2]))
        print(pool.apply(mini.draw, (5,))["captions"] == mini.draw(5)["captions"])
"""


def test_guests_pickle_and_reach_spawned_workers(tmp_path: Path, make_method: MakeMethod) -> None:
    make_method(tmp_path / "mine")
    here = tmp_path / "elsewhere"
    here.mkdir()
    name = "layoutmark.methods.toy.adapter"
    assert run(SPAWN, here, str(tmp_path / "mine")).splitlines() == [
        f"[('red', 1, '{name}'), ('red', 2, '{name}')]",
        "True",
    ]


def test_shelf_and_store_import_nothing_heavy(tmp_path: Path) -> None:
    script = (
        "import sys, layoutmark.store\nfrom layoutmark.registry import Registry\nShelf().methods(), Registry().suites()\n"
        "{extra}\nprint(sorted({{'torch', 'pandas', 'pyarrow', 'scipy', 'matplotlib'}} & set(sys.modules)))"
    )
    assert run(script.format(extra=""), tmp_path) == "[]\n"
    assert "pandas" in run(script.format(extra="import pandas"), tmp_path), "the test above can fail"
