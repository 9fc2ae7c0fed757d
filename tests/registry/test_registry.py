import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from layoutmark.errors import LayoutmarkError, MissingPackageError
from layoutmark.registry import Registry

MakeMethod = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


def run(script: str, cwd: Path, *arguments: str) -> str:
    """Run a script file in a fresh process that can import the package but nothing in `cwd`."""
    path = cwd / "script.py"
    path.write_text(script)
    environment = os.environ | {"PYTHONPATH": str(ROOT / "bench"), "OMP_NUM_THREADS": "1"}
    # A pool whose workers cannot import their task waits forever.
    process = subprocess.run(
        [sys.executable, str(path), *arguments], env=environment, cwd=cwd, capture_output=True, text=True, timeout=60
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


def test_all_cards_of_the_project_are_valid() -> None:
    registry = Registry()
    assert {"base", "ilgd"} <= set(registry.methods())
    assert {"mini", "mini-refs"} <= set(registry.suites())
    assert {"sd14", "sd15"} <= set(registry.stacks())
    registry.reports()
    broken = (registry.broken_methods(), registry.broken_suites(), registry.broken_stacks(), registry.broken_reports())
    assert [str(b.error) for cards in broken for b in cards] == []
    assert registry.get_suite("mini-refs").folder == ROOT / "datasets" / "mini"


@pytest.mark.parametrize("user_path", [".", "methods", "methods/toy"])
def test_user_path_may_be_a_root_a_folder_of_methods_or_a_method(
    tmp_path: Path, make_method: MakeMethod, user_path: str
) -> None:
    make_method(tmp_path / "methods")
    entry = Registry([tmp_path / user_path]).get_method("toy")
    assert entry.folder == tmp_path / "methods" / "toy"
    assert entry.card.paper is not None
    assert "toy" not in Registry().methods()
    module = entry.load()
    assert module.__name__ == "layoutmark.methods.toy.adapter"
    assert module.build(None, {}).paint(3) == ("red", 3, "layoutmark.methods.toy.adapter")
    assert entry.load() is module


def test_missing_user_path_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LayoutmarkError, match=r"plug-in path: found no folder .*nowhere; expected a folder with cards"):
        Registry([tmp_path / "nowhere"])


def test_folder_reached_twice_is_one_method(tmp_path: Path, make_method: MakeMethod) -> None:
    make_method(tmp_path / "methods")
    (tmp_path / "link").symlink_to(tmp_path / "methods")
    assert (
        "toy" in Registry([tmp_path, tmp_path / "methods", tmp_path / "link", tmp_path / "methods" / "toy"]).methods()
    )


def test_error_for_a_repeated_name_names_both_folders(tmp_path: Path, make_method: MakeMethod) -> None:
    first, second = make_method(tmp_path / "a"), make_method(tmp_path / "b")
    with pytest.raises(LayoutmarkError) as caught:
        Registry([tmp_path / "a", tmp_path / "b"]).methods()
    assert str(caught.value) == (
        f"method 'toy': found two folders: {first} and {second}; expected one owner per name. Rename or remove one."
    )


def test_modules_of_folders_with_the_same_name_do_not_mix(tmp_path: Path, make_method: MakeMethod) -> None:
    make_method(tmp_path / "a", colour="red")
    make_method(tmp_path / "b", colour="blue")
    first = Registry([tmp_path / "a"]).get_method("toy").load()
    second = Registry([tmp_path / "b"]).get_method("toy").load()
    assert first.build(None, {}).paint(0)[0] == "red"
    assert second.build(None, {}).paint(0)[0] == "blue"


def test_errors_for_unknown_names_suggest_close_names(tmp_path: Path, make_method: MakeMethod) -> None:
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


def test_broken_card_is_listed_and_hides_no_other(tmp_path: Path, make_method: MakeMethod) -> None:
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


def test_a_folder_may_offer_several_methods(tmp_path: Path, make_method: MakeMethod) -> None:
    folder = make_method(tmp_path)
    card = (folder / "method.toml").read_text()
    (folder / "wide.method.toml").write_text(card.replace('"toy"', '"toy_wide"'))
    (folder / "wide.py").write_text((folder / "adapter.py").read_text())
    registry = Registry([tmp_path])
    assert {"toy", "toy_wide"} <= set(registry.methods())
    entry = registry.get_method("toy_wide")
    assert entry.folder == folder
    assert entry.load().build(None, {}).paint(3) == ("red", 3, "layoutmark.methods.toy.wide")


def test_a_broken_variant_does_not_hide_the_method_beside_it(tmp_path: Path, make_method: MakeMethod) -> None:
    folder = make_method(tmp_path)
    (folder / "wide.method.toml").write_text((folder / "method.toml").read_text())
    registry = Registry([tmp_path])
    assert registry.get_method("toy").name == "toy"
    with pytest.raises(LayoutmarkError, match="key 'name': found 'toy'; expected 'toy_wide'"):
        registry.get_method("toy_wide")


def test_error_for_a_missing_package_gives_the_install_command(
    tmp_path: Path, make_method: MakeMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    (make_method(tmp_path) / "adapter.py").write_text("import torch\n")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        MissingPackageError, match=r"method 'toy': found no package 'torch'.*pip install \"layoutmark\[torch\]\""
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
def test_unusable_adapter_is_one_clear_error(
    tmp_path: Path, make_method: MakeMethod, source: str | None, message: str
) -> None:
    path = make_method(tmp_path) / "adapter.py"
    path.unlink() if source is None else path.write_text(source)
    with pytest.raises(LayoutmarkError, match=f"method 'toy': {message}"):
        Registry([tmp_path]).get_method("toy").load()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "    return None",
            "found build() returned NoneType without applicable, generate, notes; expected an object with",
        ),
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
def test_build_must_return_a_method(tmp_path: Path, make_method: MakeMethod, body: str, message: str) -> None:
    folder = make_method(tmp_path)
    (folder / "adapter.py").write_text(f"def build(stack, settings):\n{body}\n")
    with pytest.raises(LayoutmarkError, match=re.escape(message)):
        Registry([tmp_path]).get_method("toy").build(None, {})


def test_suite_must_define_the_function_that_its_source_requires(tmp_path: Path) -> None:
    folder = tmp_path / "datasets" / "two"
    folder.mkdir(parents=True)
    suite = "[[suites]]\nname = '{}'\ntitle = 't'\nversion = '1'\nsource = '{}'\n"
    (folder / "suite.toml").write_text("licence = 'x'\n" + suite.format("a", "shipped") + suite.format("b", "build"))
    (folder / "build.py").write_text("def open_suite(name): return name\n")
    registry = Registry([tmp_path])
    assert registry.get_suite("a").load().open_suite("a") == "a"
    with pytest.raises(LayoutmarkError, match=r"suite 'b': found no function build_suite\(\)"):
        registry.get_suite("b").load()


def install_plugin_package(folder: Path, make_method: MakeMethod, group: str) -> Path:
    """Write a package with the method `toy`, as pip would install it into `folder`."""
    package = folder / "toy_plugins"
    make_method(package / "methods")
    (package / "__init__.py").touch()
    info = folder / "toy_plugins-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-plugins\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\ntoys = toy_plugins\ngone = nowhere_at_all.x\n")
    return package


def test_installed_packages_may_offer_plugins(
    tmp_path: Path, make_method: MakeMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = install_plugin_package(tmp_path, make_method, "layoutmark.plugins")
    assert "toy" not in Registry().methods()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Registry().get_method("toy").load().__file__ == str(package / "methods" / "toy" / "adapter.py")


def test_old_entry_point_group_is_read_with_a_warning(
    tmp_path: Path, make_method: MakeMethod, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_plugin_package(tmp_path, make_method, "layoutmark.guests")
    monkeypatch.syspath_prepend(str(tmp_path))
    message = (
        "nowhere_at_all.x, toy_plugins: the entry point group 'layoutmark.guests' is now called 'layoutmark.plugins'"
    )
    with pytest.warns(FutureWarning, match=re.escape(message)):
        assert "toy" in Registry().methods()


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


def test_plugins_can_be_pickled_to_spawned_workers(tmp_path: Path, make_method: MakeMethod) -> None:
    make_method(tmp_path / "plugins")
    working_folder = tmp_path / "elsewhere"
    working_folder.mkdir()
    name = "layoutmark.methods.toy.adapter"
    assert run(SPAWN, working_folder, str(tmp_path / "plugins")).splitlines() == [
        f"[('red', 1, '{name}'), ('red', 2, '{name}')]",
        "True",
    ]


def test_registry_and_store_import_no_heavy_packages(tmp_path: Path) -> None:
    script = (
        "import sys, layoutmark.store\nfrom layoutmark.registry import Registry\n"
        "Registry().methods(), Registry().suites()\n"
        "{extra}\nprint(sorted({{'torch', 'pandas', 'pyarrow', 'scipy', 'matplotlib'}} & set(sys.modules)))"
    )
    assert run(script.format(extra=""), tmp_path) == "[]\n"
    assert "pandas" in run(script.format(extra="import pandas"), tmp_path), "this test can fail"
