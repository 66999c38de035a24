"""Every mistake in a configuration is one line that names the file, the place and the way out."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.config import DEFAULT_COOLDOWN_S, Config, Loaded, check, load, load_rules
from deploy.errors import ConfigError

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"
CAMERA = '[[camera]]\nid = "gate-1"\nurl = "rtsp://127.0.0.1:9/x"\n'
RULE = '[[rule]]\nid = "r"\ncategory = "fall"\nwatch = "a person on the floor"\nquestion = "Does somebody fall?"\n'
ZONE = "zones.gate = [[0.1, 0.2], [0.3, 0.4], [0.1, 0.9]]\n"

MISTAKES = {
    "unknown key": (
        CAMERA + 'colour = "red"\n' + RULE,
        '$.camera[0] (gate-1): unknown key "colour"; known are id, url',
    ),
    "misspelt key": (CAMERA + 'nam = "red"\n' + RULE, '$.camera[0] (gate-1): unknown key "nam"; did you mean "name"?'),
    "unknown table": (CAMERA + RULE + "[sprinkler]\non = true\n", '$: unknown key "sprinkler"; known are camera, rule'),
    "unknown key of a nested table": (
        CAMERA + RULE + "[detector.gate]\nmax_hot = 3\n",
        '$.detector.gate: unknown key "max_hot"; did you mean "max_hot_s"?',
    ),
    "missing key": ('[[camera]]\nid = "gate-1"\n' + RULE, '$.camera[0] (gate-1): missing key "url"'),
    "missing key of the second": (CAMERA + '[[camera]]\nid = "b"\n' + RULE, '$.camera[1] (b): missing key "url"'),
    "table instead of list": ('[camera]\nid = "x"\n' + RULE, "$.camera: a list of tables; write [[camera]] instead"),
    "duplicate camera": (CAMERA + CAMERA + RULE, '$.camera[1].id: "gate-1" is already the id of $.camera[0]'),
    "duplicate rule": (CAMERA + RULE + RULE, '$.rule[1].id: "r" is already the id of $.rule[0]'),
    "rule for no camera": (
        CAMERA + RULE + 'cameras = ["gate-9"]\n',
        '$.rule[0].cameras[0] (r): no camera "gate-9"; known are gate-1',
    ),
    "unknown zone": (
        CAMERA + RULE + 'zones = ["lobby"]\n',
        '$.rule[0].zones[0] (r): no camera of this rule has a zone "lobby"; they have none',
    ),
    "zone of another camera": (
        CAMERA + ZONE + CAMERA.replace("gate-1", "b") + RULE + 'cameras = ["b"]\nzones = ["gate"]\n',
        '$.rule[0].zones[0] (r): no camera of this rule has a zone "gate"; they have none',
    ),
    "zone of two points": (
        CAMERA + "zones.gate = [[0.1,0.2],[0.3,0.4]]\n" + RULE,
        "$.camera[0] (gate-1): zone 'gate' has 2 points, a polygon needs at least 3",
    ),
    "zone that crosses itself": (
        CAMERA + "zones.gate = [[0.1,0.1],[0.3,0.3],[0.3,0.1],[0.1,0.3]]\n" + RULE,
        "$.camera[0] (gate-1): zone 'gate' crosses its own outline; give its points in order along the outline",
    ),
    "zone outside the frame": (
        CAMERA + ZONE + "zones.door = [[0.1, 0.2], [0.3, 0.4], [0.1, 2]]\n" + RULE,
        "$.camera[0].zones.door[2][1] (gate-1): expected `float` <= 1.0",
    ),
    "bad name of a zone": (
        CAMERA + ZONE + 'zones."a b" = [[0.1, 0.2], [0.3, 0.4], [0.1, 0.9]]\n' + RULE,
        "$.camera[0].zones.a b (gate-1): must be 1 to 64 letters, digits",
    ),
    "bad id": (CAMERA.replace("gate-1", "gate 1") + RULE, "$.camera[0].id (gate 1): must be 1 to 64 letters, digits"),
    "missing secret": (
        CAMERA.replace("rtsp://", "rtsp://u:${WITNESS_NO_SUCH_SECRET}@") + RULE,
        "$.camera[0].url: environment variable WITNESS_NO_SUCH_SECRET is not set",
    ),
    "missing secret file": (
        CAMERA.replace("rtsp://127.0.0.1:9/x", "file:no-such-file") + RULE,
        "$.camera[0].url: secret file ",
    ),
    "wrong type": (CAMERA + RULE + 'cooldown_s = "long"\n', "$.rule[0].cooldown_s (r): expected `float`, got `str`"),
    "negative": (CAMERA + RULE + "cooldown_s = -5\n", "$.rule[0].cooldown_s (r): expected `float` >= 0.0"),
    "not a number": (CAMERA + RULE + "cooldown_s = nan\n", "$.rule[0].cooldown_s (r): expected `float` >= 0.0"),
    "unknown category": (
        CAMERA + RULE.replace('"fall"', '"falls"'),
        "$.rule[0].category (r): unknown value 'falls'; known are abandoned_object",
    ),
    "local file as camera": (
        CAMERA.replace("rtsp://127.0.0.1:9/x", "file:///etc/passwd") + RULE,
        "$.camera[0].url (gate-1): file:///etc/passwd: only rtsp:// and rtsps:// cameras are read",
    ),
    "camera without host": (CAMERA.replace("127.0.0.1:9", "") + RULE, "$.camera[0].url (gate-1): "),
    "no such device": (CAMERA + RULE + '[reasoner]\ndevice = "gpu"\n', "$.reasoner.device: must be auto, cpu, cuda, "),
    "bad broker": (CAMERA + RULE + '[kafka]\nbootstrap = "x"\n', "$.kafka.bootstrap: must be HOST:PORT"),
    "bad time zone": (CAMERA + RULE + '[site]\ntz = "Mars"\n', "$.site: 'Mars' is no IANA time zone"),
    "open console": (CAMERA + RULE + '[console]\nhost = "0.0.0.0"\n', "$.console: host '0.0.0.0' is reachable"),
    "no collector": (CAMERA + RULE + '[telemetry]\notlp_endpoint = "x"\n', "$.telemetry: otlp_endpoint must be a URL"),
    "no camera": (RULE, "$.camera: no camera; add a [[camera]] table"),
    "no rule": ("rule = []\n" + CAMERA, "$.rule: an empty list"),
    "not TOML": ("[[camera\n", "not TOML: Expected ']]' at the end of an array declaration (at line 1, column 9)"),
    "not TOML to the end": ('x = """\n\n', "not TOML: Unterminated string (at end of document) (line 2 is the last)"),
    "key twice": (CAMERA + 'id = "b"\n', "not TOML: Cannot overwrite a value (at line 4"),
}


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "c.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def refused(file: Path, environment: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(file, environment or {})
    text = str(caught.value)
    assert "\n" not in text
    assert text.startswith(f"{file}: ")
    return text.removeprefix(f"{file}: ")


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_with_its_place(name: str, tmp_path: Path) -> None:
    text, told = MISTAKES[name]
    assert refused(written(tmp_path, text)).startswith(told)


def test_other_files(tmp_path: Path) -> None:
    assert refused(written(tmp_path, b"\xff\xfe")) == "not UTF-8 text (byte 0); save it as UTF-8"
    assert refused(tmp_path / "none.toml") == "no such file"
    assert refused(tmp_path).startswith("cannot be read: ")
    assert refused(written(tmp_path, "#" * (5 << 20))).startswith("larger than 4 MiB")
    assert refused(written(tmp_path, "x = " + "[" * 20_000)).split(":")[0] in {
        "nested too deeply, no configuration",
        "not TOML",
    }


def test_secrets_are_put_in_and_remembered(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s3cret/key\n")
    text = CAMERA.replace("rtsp://", "rtsp://viewer:${PASSWORD}@") + RULE
    text += '[reasoner]\nbackend = "openai"\nmodel = "m"\nbase_url = "http://127.0.0.1:8000/v1"\napi_key = "file:key"\n'
    loaded = load(written(tmp_path, text), {"PASSWORD": "p@ss:w/rd"})
    assert loaded.config.camera[0].url == "rtsp://viewer:p%40ss%3Aw%2Frd@127.0.0.1:9/x"
    assert loaded.config.reasoner.api_key == "s3cret/key"
    assert set(loaded.secrets) == {"p@ss:w/rd", "p%40ss%3Aw%2Frd", "s3cret/key"}
    assert "s3cret" not in repr(loaded)


def test_a_password_that_is_written_down_counts_as_secret(tmp_path: Path) -> None:
    assert load(written(tmp_path, CAMERA.replace("rtsp://", "rtsp://u:hunter22@") + RULE)).secrets == ("hunter22",)


def test_a_whole_url_may_be_a_secret(tmp_path: Path) -> None:
    text = CAMERA.replace("rtsp://127.0.0.1:9/x", "${CAMERA_URL}") + RULE
    loaded = load(written(tmp_path, text), {"CAMERA_URL": "rtsp://u:p%40ss@10.0.0.5/x"})
    assert loaded.config.camera[0].url == "rtsp://u:p%40ss@10.0.0.5/x"
    assert "p%40ss" in loaded.secrets


def test_prose_is_taken_as_it_stands(tmp_path: Path) -> None:
    text = CAMERA + RULE.replace("Does somebody fall?", "file:x ${NOT_A_SECRET}?")
    assert load(written(tmp_path, text), {}).config.rule[0].question == "file:x ${NOT_A_SECRET}?"


def test_no_message_shows_a_secret(tmp_path: Path) -> None:
    text = CAMERA.replace("rtsp://127.0.0.1:9/x", "http://user.name:${PASSWORD}@10.0.0.5/x") + RULE
    told = refused(written(tmp_path, text), {"PASSWORD": "p%40ss:w/rd"})
    assert "p%40ss" not in told
    assert "w/rd" not in told
    assert "p%2540ss" not in told


def test_without_rules_the_default_ones_are_watched_for(tmp_path: Path) -> None:
    rules = load(written(tmp_path, CAMERA)).config.rule
    assert [rule.id for rule in rules] == [rule.id for rule in load_rules(EXAMPLES / "demo-rules.toml")]
    assert {rule.cooldown_s for rule in rules} == {DEFAULT_COOLDOWN_S}


def test_examples_run_as_they_are() -> None:
    environment = {"GATE_PASSWORD": "a", "HALL_PASSWORD": "b"}
    cameras = {name: load(EXAMPLES / name, environment).config.camera for name in ("one-camera.toml", "mall.toml")}
    assert {name: len(found) for name, found in cameras.items()} == {"one-camera.toml": 1, "mall.toml": 2}


def test_the_demo_rules_can_be_appended_to_any_cameras(tmp_path: Path) -> None:
    appended = (EXAMPLES / "one-camera.toml").read_text() + (EXAMPLES / "demo-rules.toml").read_text()
    loaded = load(written(tmp_path, appended))
    assert isinstance(loaded, Loaded)
    assert {rule.category for rule in loaded.config.rule} >= {"abandoned_object", "fall", "fight", "running"}


KEYS = st.sampled_from([*Config.__struct_fields__, "colour"]) | st.text(max_size=4)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 99_999) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_document_is_a_configuration_or_a_told_mistake(document: dict[str, object]) -> None:
    from deploy.mistake import describe

    try:
        config = msgspec.convert(document, Config)
    except msgspec.ValidationError as error:
        assert describe(error, document, Config).startswith("$")
    else:
        with pytest.raises(ConfigError):
            check(msgspec.structs.replace(config, camera=()))
