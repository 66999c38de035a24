"""Pulling checkpoints from a real HTTP server that speaks the hub's protocol, and opening them without a network."""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deploy.bundled import models
from deploy.errors import DeployError, PullFailed, UsageError
from deploy.hub import Hub
from deploy.pull import pull
from deploy.transfer import Patience
from reasoner.checkpoint import locate
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelIncomplete
from reasoner.folder import open_folder
from reasoner.pulled import MANIFEST, Manifest, read_manifest
from tests.deploy.hub_site import COMMIT, LATER, Site, files_of, serving
from tests.reasoner.conftest import save_tiny

NAME = "Qwen/Qwen3-VL-2B-Instruct"
SHARD = "model-00003-of-00007.safetensors"
QUICK = Patience(attempts=3, pause_s=0.01, longest_s=0.05)
DECOYS = {
    "pytorch_model.bin": b"\x80\x02pickle",
    "modeling_evil.py": b"raise SystemExit",
    ".gitattributes": b"*.safetensors filter=lfs",
    "original/model.safetensors": b"x",
    "..%2Fescape.json": b"{}",
    "consolidated.safetensors": b"not in the index",
    MANIFEST: b"{}",
    "Witness-Pull.json": b"{}",
}


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return files_of(save_tiny(tmp_path_factory.mktemp("released")))


@pytest.fixture
def site(released: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("WITNESS_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    with serving(Site(NAME, {**released, **DECOYS})) as one:
        yield one


def fetch(site: Site, revision: str = "main", to: Path | None = None) -> Path:
    return pull(NAME, revision, site.url, to, lambda _: None, QUICK)


def test_a_pulled_checkpoint_is_pinned_hashed_and_opens_without_network(site: Site, released: dict[str, bytes]) -> None:
    with pytest.raises(ModelIncomplete, match="witness models pull"):
        locate(NAME)
    folder = fetch(site)
    assert folder.name == COMMIT
    assert {file.name for file in folder.iterdir()} == {*released, MANIFEST}
    manifest = read_manifest(folder)
    assert manifest is not None and manifest.date is not None
    assert (manifest.name, manifest.revision, manifest.source) == (NAME, COMMIT, site.url)
    assert {file.name: (file.size, file.sha256) for file in manifest.files} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in released.items()
    }
    assert all(authorization is None for *_, authorization in site.seen), "a mirror given by hand gets no token"
    before = len(site.seen)
    assert ("reasoner", f"{NAME} at {COMMIT[:12]}") in [row[:2] for row in models()]
    assert locate(NAME) == folder
    from reasoner.backends.local import LocalBackend

    backend = LocalBackend.load(ReasonerConfig(model=NAME, device="cpu", threads=1))
    assert backend.weights_sha256 == open_folder(folder).weights_sha256()
    assert len(site.seen) == before
    # Changed after the pull, though still a sound safetensors file: it is refused.
    shard = folder / SHARD
    shard.write_bytes(shard.read_bytes()[:-1] + bytes([shard.read_bytes()[-1] ^ 1]))
    with pytest.raises(ModelIncomplete, match=SHARD):
        open_folder(folder).weights_sha256()
    # A second pull mends that one file and fetches no other.
    del site.seen[:]
    fetch(site)
    assert [path for path, *_ in site.seen if "/store/" in path] == [f"/store/{SHARD}"]
    assert open_folder(folder).weights_sha256() == backend.weights_sha256


def test_cut_connections_go_on_where_they_were(site: Site, released: dict[str, bytes]) -> None:
    site.cut_after = [1000, 0, 5000, 0]
    site.busy = 1
    folder = fetch(site)
    first = "model-00001-of-00007.safetensors"
    ranges = [asked for path, asked, _ in site.seen if path == f"/store/{first}"]
    assert ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=6000-", "bytes=6000-"]
    assert (folder / first).read_bytes() == released[first]


def test_a_site_without_ranges_starts_the_file_again(site: Site, released: dict[str, bytes]) -> None:
    site.cut_after, site.ranges = [1000], False
    first = "model-00001-of-00007.safetensors"
    assert (fetch(site) / first).read_bytes() == released[first]


def test_a_killed_pull_goes_on(site: Site, released: dict[str, bytes], tmp_path: Path) -> None:
    """SIGKILL in the middle of a shard; the next process asks for the rest only."""
    site.cut_after = [7000]
    site.hold.clear()
    command = [sys.executable, "-m", "deploy", "models", "pull", NAME, "--mirror", site.url]
    child = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
    home = tmp_path / "models" / NAME / COMMIT
    partial = home / "model-00001-of-00007.safetensors.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.wait()
    come = partial.stat().st_size
    assert 0 < come <= 7000
    site.hold.set()
    with pytest.raises(ModelIncomplete, match="only in part"):
        locate(NAME)
    del site.seen[:]
    again = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (again.returncode, again.stdout.strip()) == (0, str(home)), again.stderr
    assert (f"/store/{partial.name.removesuffix('.partial')}", f"bytes={come}-", None) in site.seen
    assert not [path for path, *_ in site.seen if path == "/store/tokenizer.json"], (
        "what was whole is not fetched again"
    )
    assert files_of(home).keys() == {*released, MANIFEST}
    assert locate(NAME) == home


def test_another_revision_has_its_own_folder(site: Site) -> None:
    first = fetch(site)
    site.refs["main"] = site.refs[LATER] = LATER
    assert fetch(site, COMMIT) == first
    second = fetch(site)
    assert second == first.parent / LATER and first.is_dir()
    assert locate(NAME) == second


def test_damage_on_the_way_is_fetched_anew(site: Site) -> None:
    site.spoilt[SHARD] = 1
    folder = fetch(site)
    assert len([path for path, *_ in site.seen if path == f"/store/{SHARD}"]) == 2
    assert open_folder(folder).weights_sha256()


def test_a_whole_folder_keeps_its_hashes_while_it_is_pulled_again(site: Site) -> None:
    folder = fetch(site)
    whole = read_manifest(folder)
    assert whole is not None
    shard = folder / SHARD
    shard.write_bytes(shard.read_bytes()[:-1] + bytes([shard.read_bytes()[-1] ^ 1]))
    site.spoilt[SHARD] = 9
    with pytest.raises(PullFailed, match=SHARD):
        fetch(site)
    assert read_manifest(folder) == whole
    with pytest.raises(ModelIncomplete, match=SHARD):
        open_folder(folder).weights_sha256()
    site.spoilt.clear()
    fetch(site)
    assert open_folder(folder).weights_sha256()
    for broken, words in (
        (msgspec.structs.replace(whole, date=None), "only in part"),
        (msgspec.structs.replace(whole, files=tuple(f for f in whole.files if f.name != SHARD)), SHARD),
    ):
        (folder / MANIFEST).write_bytes(msgspec.json.encode(broken))
        with pytest.raises(ModelIncomplete, match=words):
            open_folder(folder).weights_sha256()


def test_what_earlier_pulls_left(site: Site, tmp_path: Path) -> None:
    """An unfinished revision goes, unless a pull is at work in it; what cannot be read stays, and is told."""
    home = tmp_path / "models" / NAME
    ended, at_work, unreadable = (home / (digit * 40) for digit in "abc")
    for folder in (ended, at_work, unreadable):
        folder.mkdir(parents=True)
        manifest = Manifest(name=NAME, revision=folder.name, source="", date=None, files=())
        (folder / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    (unreadable / MANIFEST).write_bytes(b"{")
    (home / COMMIT).mkdir()
    (home / COMMIT / f"{MANIFEST}.new").write_bytes(b"{")  # killed at its first step
    said: list[str] = []
    handle = os.open(at_work, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        folder = pull(NAME, "main", site.url, None, said.append, QUICK)
    finally:
        os.close(handle)
    assert folder == locate(NAME)
    assert (ended.exists(), at_work.exists(), unreadable.exists()) == (False, True, True)
    assert [str(unreadable) in line for line in said if "left as it is" in line] == [True]


def state(name: str, **fields: Any) -> Callable[[Site], None]:
    return lambda site: site.stated.update({name: fields})


def give(**attributes: Any) -> Callable[[Site], None]:
    return lambda site: vars(site).update(attributes)


def without_safetensors(site: Site) -> None:
    site.files = {name: body for name, body in site.files.items() if not name.endswith(".safetensors")}


def without_a_shard(site: Site) -> None:
    del site.files[SHARD]


def another_family(site: Site) -> None:
    site.files = {**site.files, "config.json": b'{"model_type": "llama"}'}


def packed_otherwise(site: Site) -> None:
    config = msgspec.json.decode(site.files["config.json"])
    site.files = {
        **site.files, "config.json": msgspec.json.encode(config | {"quantization_config": {"quant_method": "gguf"}})
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (lambda site: site.spoilt.update({SHARD: 9}), PullFailed, SHARD),
        (lambda site: site.spoilt.update({"config.json": 9}), PullFailed, "config.json"),
        (give(busy=99), PullFailed, "busy"),
        (lambda site: site.cut_after.extend([500] + [0] * 9), PullFailed, "goes on from here"),
        (give(redirect="http://192.0.2.1/{file}"), PullFailed, "not https"),
        (give(redirect="file:///etc/passwd"), PullFailed, "not allowed"),
        (give(redirect=f"/{NAME}/resolve/x/{{file}}"), PullFailed, "loop"),
        (give(refs={"main": "x" * 40}), PullFailed, "commit"),
        (give(refs={}), UsageError, "check name and revision"),
        (without_safetensors, PullFailed, "pickled"),
        (without_a_shard, PullFailed, SHARD),
        (another_family, PullFailed, "llama"),
        (packed_otherwise, Exception, "gguf"),
        (state(SHARD, lfs=None, blobId=""), PullFailed, "no hash"),
        (state(SHARD, lfs={"sha256": "0" * 64, "size": 1 << 50}), PullFailed, "bytes"),
        (state(SHARD, lfs={"sha256": "0" * 64, "size": 1 << 41}), PullFailed, "GB free"),
        (state(SHARD, lfs={"sha256": "0" * 64, "size": 8}), PullFailed, "more of"),
    ],
    ids=[
        "wrong hash", "wrong blob", "busy", "cut for ever", "plain redirect", "file redirect", "redirect loop",
        "no commit", "no revision", "pickled", "shard missing", "family", "packing", "no hash", "absurd size",
        "disk full", "too long",
    ],
)  # fmt: skip
def test_what_cannot_be_pulled_says_why_in_one_line(
    site: Site, fault: Callable[[Site], object], kind: type[Exception], words: str
) -> None:
    fault(site)
    with pytest.raises(kind) as caught:
        fetch(site)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value) and "hf_canary" not in str(caught.value)
    with pytest.raises(ModelIncomplete):
        locate(NAME)


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (lambda folder: (folder / "mine.txt").write_text("x"), "other files"),
        (lambda folder: (folder / MANIFEST).write_text(
            '{"name": "a/b", "revision": "c", "source": "", "date": null, "files": []}'), "holds a/b"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "cannot be read; remove it"),
    ],
)  # fmt: skip
def test_a_folder_of_something_else_is_left_alone(
    site: Site, tmp_path: Path, prepare: Callable[[Path], object], words: str
) -> None:
    prepare(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=words):
        fetch(site, to=tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    assert fetch(site, to=tmp_path / "new" / "place") == tmp_path / "new" / "place"
    assert open_folder(locate(str(tmp_path / "new" / "place"))).family.model_type == "qwen3_vl"


@pytest.mark.parametrize(
    "url", ["http://mirror.example", "ftp://127.0.0.1", "mirror.example", "https://u:p@mirror.example", "https://m.example/?a=b"]
)  # fmt: skip
def test_addresses_that_are_refused(url: str) -> None:
    with pytest.raises(DeployError) as caught:
        Hub(url)
    assert "u:p" not in str(caught.value)


def test_the_token_goes_to_the_site_of_the_environment_and_stays_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", site.url)
    with serving(Site(NAME, site.files)) as store:
        site.redirect = store.url + "/store/{file}"
        pull(NAME, "main", None, None, lambda _: None, QUICK)
        assert {authorization for *_, authorization in site.seen} == {"Bearer hf_canary"}
        assert {authorization for *_, authorization in store.seen} == {None}
