"""The OpenAI-compatible backend against a real HTTP server that speaks that interface, well or badly."""

from __future__ import annotations

import base64
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from detector.rule import Rule
from detector.window import Window
from reasoner.backends import Output, retry
from reasoner.backends.grammar import expression
from reasoner.backends.openai import ServerBackend
from reasoner.backends.subject import about
from reasoner.config import ReasonerConfig
from reasoner.errors import ModelUnsupported, ReasonerError, ServerRefused, ServerTimeout, ServerUnavailable
from reasoner.parse import parse
from reasoner.pictures import decode
from reasoner.prompt import Message, messages, relevance
from reasoner.reason import Reasoner
from tests.reasoner import vllm
from tests.reasoner.vllm import KEY, MODEL, SAID, Vllm

Serve = Callable[..., Vllm]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[Vllm] = []

    def start(*args: Any, **kinds: Any) -> Vllm:
        servers.append(Vllm(*args, **kinds))
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def config(server: Vllm | str, **more: Any) -> ReasonerConfig:
    url = server if isinstance(server, str) else server.url
    return ReasonerConfig(**{"model": MODEL, "backend": "openai", "base_url": url, "api_key": KEY, **more})


def ask(backend: ServerBackend, prompt: Sequence[Message] | None = None) -> Output:
    return backend.answer(prompt or messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)])


def test_a_window_is_reasoned_over_on_a_server(serve: Serve, crossing: Callable[..., Window], rule: Rule) -> None:
    server = serve(p_yes=0.95)
    window = crossing()
    with about(window.window_id):
        verdict = Reasoner.load(config(server, crop_check=False)).reason(window, rule, {}, "Gate 1")
    assert verdict.decision == "confirmed"
    assert verdict.evidence[0].frame == 2
    assert verdict.confidence.components["vlm_token"] == pytest.approx(0.95, abs=1e-4)
    assert verdict.model.tokens_in == 812
    (asked,) = server.asked
    assert asked["path"] == "/v1/chat/completions"
    assert (asked["temperature"], asked["logprobs"], asked["model"]) == (0, True, MODEL)
    assert (asked["repetition_penalty"], asked["presence_penalty"], asked["top_p"]) == (1, 0, 1)
    assert asked["request_id"] == asked["header"]
    assert asked["request_id"].startswith(window.window_id)
    parts = asked["messages"][1]["content"]
    images = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert len(images) == 12
    assert [p["text"] for p in parts if p["type"] == "text"][:3] == ["Frame 1 at 0.0s: ", "\n", "Frame 2 at 0.5s: "]
    head, data = images[0].split(",", 1)
    assert head == "data:image/jpeg;base64"
    picture = decode(base64.b64decode(data), "frame")
    assert picture.shape[0] % 32 == 0
    assert picture.shape[1] % 32 == 0


PASSING: list[tuple[str, list[vllm.Fault], float]] = [
    ("nothing", [], 0.0),
    ("429 that says when", [vllm.too_many], 0.3),
    ("503 twice", [vllm.overloaded, vllm.overloaded], 0.2),
    ("a reset", [vllm.resets], 0.1),
    ("half a body", [vllm.half], 0.1),
    ("hung up", [vllm.hangs_up], 0.1),
    ("crashed once", [vllm.crashed], 0.1),
    ("one after the other", [vllm.half, vllm.overloaded, vllm.crashed], 0.3),
]


@pytest.mark.parametrize(("faults", "least_s"), [row[1:] for row in PASSING], ids=[row[0] for row in PASSING])
def test_what_passes_is_tried_again(serve: Serve, faults: list[vllm.Fault], least_s: float) -> None:
    server = serve(faults=faults)
    backend = ServerBackend(config(server, timeout_s=20.0))
    started = time.monotonic()
    assert ask(backend).text == SAID
    assert time.monotonic() - started >= least_s
    assert len(server.asked) == len(faults) + 1
    assert backend.counts["retries"] == len(faults)
    ids = [asked["request_id"] for asked in server.asked]
    assert len(set(ids)) == len(ids), "a server refuses an id that it still works on"


LASTING: list[tuple[vllm.Fault, type[ReasonerError], type[Exception], str, int]] = [
    (vllm.overloaded, ServerUnavailable, ConnectionError, "overloaded (status 503)", 9),
    (vllm.too_many, ServerUnavailable, ConnectionError, "overloaded (status 429)", 9),
    (vllm.crashed, ServerRefused, RuntimeError, "status 500", 2),
    (vllm.no_completion, ServerRefused, RuntimeError, "no chat completion", 1),
    (vllm.no_json, ServerRefused, RuntimeError, "no chat completion", 1),
    (vllm.hangs_up, ServerUnavailable, ConnectionError, "breaks off", 9),
    (vllm.half, ServerUnavailable, ConnectionError, "breaks off", 9),
    (vllm.silent, ServerTimeout, TimeoutError, "within 0.6 s", 1),
    (vllm.drips, ServerTimeout, TimeoutError, "within 0.6 s", 1),
    (vllm.drips_headers, ServerTimeout, TimeoutError, "within 0.6 s", 1),
]


@pytest.mark.parametrize(("fault", "kind", "base", "words", "most"), LASTING, ids=[row[0].__name__ for row in LASTING])
def test_what_lasts_is_one_line_within_the_deadline(
    serve: Serve, fault: vllm.Fault, kind: type[ReasonerError], base: type[Exception], words: str, most: int
) -> None:
    server = serve(faults=[fault] * 30)
    backend = ServerBackend(config(server, timeout_s=0.6))
    started = time.monotonic()
    with pytest.raises(kind) as caught:
        ask(backend)
    assert time.monotonic() - started < 1.1
    assert isinstance(caught.value, base)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert 1 <= len(server.asked) <= most
    assert backend.counts["timeouts"] == (kind is ServerTimeout)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"model": "m"}, "'m' (status 404)"), ({"api_key": "sk-wrong-11112222"}, "refused the key")],
    ids=["404", "401"],
)
def test_what_is_wrong_is_not_tried_again(serve: Serve, settings: dict[str, Any], words: str) -> None:
    server = serve()
    with pytest.raises(ServerRefused, match=re.escape(words)) as caught:
        ask(ServerBackend(config(server, **settings)))
    assert "sk-" not in str(caught.value)
    assert len(server.asked) == 1


def test_a_server_that_is_down(serve: Serve) -> None:
    server = serve()
    server.shutdown()
    server.server_close()
    with pytest.raises(ServerUnavailable, match=r"127\.0\.0\.1"):
        ask(ServerBackend(config(server)))


def test_many_callers_are_never_more_than_configured(serve: Serve) -> None:
    server = serve(takes_s=0.05)
    backend = ServerBackend(config(server, max_requests=3))
    with ThreadPoolExecutor(16) as pool:
        outputs = list(pool.map(lambda _: ask(backend), range(24)))
    assert {output.text for output in outputs} == {SAID}
    assert len(server.asked) == 24
    assert server.most_busy == 3
    assert server.connections == 3, "connections are used again"
    assert backend.counts["waits"] >= 13
    assert backend.counts["waited_s"] > 0.05


def test_the_wait_for_a_free_request_ends_with_the_deadline(serve: Serve) -> None:
    server = serve()
    backend = ServerBackend(config(server, max_requests=1, timeout_s=0.3))
    with backend._slot(time.monotonic() + 1), pytest.raises(ServerTimeout, match=r"all 1 requests in use for 0\.3 s"):
        ask(backend)
    assert server.asked == []
    assert (backend.counts["timeouts"], backend.counts["waits"]) == (1, 1)
    assert 0.2 < backend.counts["waited_s"] < 0.5
    assert ask(backend).text == SAID


def test_a_connection_that_the_server_closed_while_idle_is_no_failure(serve: Serve) -> None:
    def answers_and_hangs_up(handler: vllm.Handler) -> None:
        handler.send(200, vllm.completion(SAID))
        handler.close_connection = True

    server = serve(faults=[answers_and_hangs_up])
    backend = ServerBackend(config(server))
    assert (ask(backend).text, ask(backend).text) == (SAID, SAID)
    assert backend.counts["retries"] == 0
    assert server.connections == 2


@pytest.mark.parametrize("structured", ["vllm", "sglang", "off"])
def test_the_server_is_told_the_form(serve: Serve, structured: str) -> None:
    server = serve()
    ask(ServerBackend(config(server, structured=structured)))
    told = {"vllm": server.asked[0].get("structured_outputs", {}).get("regex"), "sglang": server.asked[0].get("regex")}
    assert [name for name, value in told.items() if value] == ([] if structured == "off" else [structured])


def test_a_server_without_structured_output_is_asked_without_and_that_is_remembered(serve: Serve) -> None:
    server = serve(structured=False)
    backend = ServerBackend(config(server))
    assert [ask(backend).text for _ in range(3)] == [SAID] * 3
    assert ["structured_outputs" in asked for asked in server.asked] == [True, False, False, False]


def test_a_request_that_is_refused_either_way_changes_nothing(serve: Serve) -> None:
    def too_long(handler: vllm.Handler) -> None:
        handler.refuse(400, "maximum context length is 32768 tokens")

    server = serve(faults=[too_long, too_long])
    backend = ServerBackend(config(server))
    with pytest.raises(ServerRefused, match="maximum context length"):
        ask(backend)
    ask(backend)
    assert ["structured_outputs" in asked for asked in server.asked] == [True, False, True]


FORMS = [
    (SAID, True),
    ("<think><obj>车</obj><box>[1,2,30,40]</box><box>[5, 6, 7, 8]</box>at<t>12</t>s</think><answer>否</answer>", True),
    ("<think></think><answer>No.</answer>", True),
    ("<think>A <obj>man</obj><box>[1,2,30]</box>at<t>1.0</t>s.</think><answer>Yes.</answer>", False),
    ("<think>A <obj>man</obj><box>[1,2,30,nan]</box>at<t>1.0</t>s.</think><answer>Yes.</answer>", False),
    ("<think>A <obj>man</obj> runs.</think><answer>Yes.</answer>", False),
    ("<think>So</think><answer></answer>", False),
    ("<answer>Yes.</answer>", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "allowed"), FORMS)
def test_the_form_allows_what_the_parser_reads_and_nothing_broken(text: str, allowed: bool) -> None:
    assert bool(re.fullmatch(expression("rel1000"), text)) is allowed
    if allowed:
        parsed = parse(text, 20.0)
        assert parsed.answer
        assert not parsed.errors
        assert len(parsed.claims) == text.count("<obj>")


@pytest.mark.parametrize(
    ("p_yes", "continues", "requests", "text"),
    [
        (0.01, True, 1, "<think></think>\n<answer>No</answer>"),
        (0.3, True, 2, SAID),
        (0.95, True, 2, SAID),
        (0.01, False, 2, SAID),
    ],
    ids=["a sure no ends it", "an unsure no does not", "a yes goes on", "a server that cannot"],
)
def test_early_exit(serve: Serve, p_yes: float, continues: bool, requests: int, text: str) -> None:
    server = serve(p_yes=p_yes, continues=continues)
    backend = ServerBackend(config(server, early_exit=True))
    output = ask(backend)
    assert (output.text, len(server.asked)) == (text, requests)
    glance, *rest = server.asked
    assert glance["max_tokens"] == 1
    assert (glance["messages"][-1]["role"], glance["add_generation_prompt"]) == ("assistant", False)
    for full in rest:
        assert full["messages"] == glance["messages"][:-1], "the prefix is shared to the last byte"
    ask(backend)
    assert len(server.asked) == requests + (requests if continues else 1), "what a server cannot do is not asked twice"


def test_another_kind_of_question_is_held_to_no_form(serve: Serve) -> None:
    """The crop check asks for a digit."""
    server = serve("2", p_yes=0.01)
    backend = ServerBackend(config(server, early_exit=True))
    assert ask(backend, relevance("Does somebody fall?", ["person"])).text == "2"
    (asked,) = server.asked
    assert "structured_outputs" not in asked
    assert "continue_final_message" not in asked


DRAWN = [f"<think>So.</think><answer>{word} {number}.</answer>" for number in range(8) for word in ("Yes", "No")]


def alone(backend: ServerBackend, server: Vllm, seed: int) -> str:
    """What the server draws with this seed, one answer at a time."""
    (output,) = backend.sample(messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)], 1, 0.9, seed)
    server.asked.pop()
    return output.text


@pytest.mark.parametrize(
    ("several", "first", "later"),
    [("seeded", 1, 1), ("ignored", 5, 5), ("refused", 7, 5), ("one seed", 5, 5)],
)
@pytest.mark.parametrize("structured", [True, False])
def test_several_answers_are_drawn(serve: Serve, several: Any, first: int, later: int, structured: bool) -> None:
    """The same ones, however the server takes it; and what it cannot do is asked for once."""
    server = serve(drawn=DRAWN, several=several, structured=structured)
    backend = ServerBackend(config(server))
    ask = (messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)])
    if not structured:
        backend.answer(*ask)  # and from now on without
    expected = [alone(backend, server, 41 + number) for number in range(5)]
    assert len(set(expected)) > 2
    for requests in (first, later):
        server.asked.clear()
        assert [output.text for output in backend.sample(*ask, 5, 0.9, 41)] == expected
        assert len(server.asked) == requests - (requests == 7 and not structured), "the form is not to blame"
        assert {(asked["temperature"], asked["top_k"], asked["top_p"]) for asked in server.asked} == {(0.9, 20, 1)}
        assert server.asked[0]["seed"] == 41
        assert ("structured_outputs" in server.asked[-1]) is structured
    assert [asked["n"] for asked in server.asked] == ([5] if several == "seeded" else [1] * 5)
    assert "n" not in backend_answer(backend, server)


def backend_answer(backend: ServerBackend, server: Vllm) -> dict[str, Any]:
    """What a greedy answer asks for."""
    ask(backend)
    assert server.asked[-1]["temperature"] == 0
    return server.asked[-1]


def test_a_server_that_is_sure_is_asked_for_one_more_and_believed(serve: Serve) -> None:
    server = serve(SAID)
    backend = ServerBackend(config(server))
    outputs = backend.sample(messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)], 4, 0.7, 3)
    assert [output.text for output in outputs] == [SAID] * 4
    assert [(asked["n"], asked["seed"]) for asked in server.asked] == [(4, 3), (1, 4)]
    assert {output.tokens_in for output in outputs} == {812}
    assert len({output.tokens_out for output in outputs}) == 1


def test_a_draw_that_is_refused_either_way_changes_nothing(serve: Serve) -> None:
    def too_long(handler: vllm.Handler) -> None:
        handler.refuse(400, "maximum context length is 32768 tokens")

    server = serve(drawn=DRAWN, faults=[too_long] * 4)
    backend = ServerBackend(config(server))
    ask = (messages("Why?", [0.0]), [np.zeros((64, 64, 3), np.uint8)])
    with pytest.raises(ServerRefused, match="maximum context length"):
        backend.sample(*ask, 3, 0.9, 1)
    server.asked.clear()
    assert len(backend.sample(*ask, 3, 0.9, 1)) == 3
    assert [asked["n"] for asked in server.asked] == [3]


def test_a_poll_on_a_server(serve: Serve, crossing: Callable[..., Window], rule: Rule) -> None:
    """From the configuration to the verdict: a yes that three draws of four do not bear out."""
    server = serve(p_yes=0.9, drawn=["<think>Nobody.</think><answer>No.</answer>"], several="seeded")
    settings = {"crop_check": False, "grey": (0.0, 1.0), "sample_temperature": 1.1}
    window = crossing()
    with_poll = Reasoner.load(config(server, samples=4, **settings)).reason(window, rule, {})
    draws = [asked for asked in server.asked if asked["temperature"]]
    server.asked.clear()
    without = Reasoner.load(config(server, **settings)).reason(window, rule, {})
    assert not any(asked["temperature"] for asked in server.asked)
    assert [(asked["temperature"], asked["n"]) for asked in draws] == [(1.1, 4), (1.1, 1)]
    (check,) = [check for check in with_poll.rechecks if check.kind == "samples"]
    assert (check.status, check.score) == ("contradicted", 0.0)
    assert with_poll.confidence.components["self_consistency"] == 0.0
    assert with_poll.confidence.p < without.confidence.p
    assert (with_poll.decision, with_poll.reasons.count("looks_disagree")) == ("needs_review", 1)


def test_an_early_no_takes_the_way_of_any_other(serve: Serve, crossing: Callable[..., Window], rule: Rule) -> None:
    verdict = Reasoner.load(config(serve(p_yes=0.02), early_exit=True)).reason(crossing(), rule, {})
    assert (verdict.decision, verdict.reasons, verdict.answer) == ("rejected", ("answer_no",), "No")
    assert verdict.confidence.components["vlm_token"] == pytest.approx(0.02, abs=1e-4)
    assert verdict.model.tokens_out == 1


def test_the_probe_names_what_is_served(serve: Serve) -> None:
    server = serve()
    assert f"serves {MODEL}, at most 32768 tokens" in Reasoner.load(config(server)).probe()
    with pytest.raises(ServerRefused, match=r"does not serve 'm' but Qwen/Qwen3-VL-8B-Instruct, other/model"):
        Reasoner.load(config(server, model="m")).probe()


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_thinking_that_a_server_took_out_is_put_back(serve: Serve, field: str) -> None:
    def split(handler: vllm.Handler) -> None:
        reply = vllm.completion("<answer>Yes.</answer>")
        reply["choices"][0]["message"][field] = "The <obj>man</obj><box>[1,2,3,4]</box>at<t>1</t>s"
        del reply["choices"][0]["logprobs"]
        handler.send(200, reply)

    output = ask(ServerBackend(config(serve(faults=[split]))))
    assert output.text.startswith("<think>The <obj>man</obj>")
    assert output.text.endswith("</think>\n<answer>Yes.</answer>")
    assert output.tokens == ()


def test_pauses_double_with_chance_and_never_undercut_the_server() -> None:
    lowest = [retry.pause_s(n, None, lambda: 0.0) for n in range(8)]
    highest = [retry.pause_s(n, None, lambda: 1.0) for n in range(8)]
    assert highest[:5] == [0.25, 0.5, 1.0, 2.0, 4.0]
    assert highest[-1] == retry.LONGEST_PAUSE_S
    assert all(low == high / 2 for low, high in zip(lowest, highest, strict=True))
    assert all(a <= b for a, b in itertools.pairwise(highest))
    assert retry.pause_s(0, 3.0, lambda: 0.0) == 3.0
    statuses = (200, 400, 401, 404, 429, 500, 502, 503, 504)
    assert [status for status in statuses if retry.again(status, 0)] == [429, 500, 502, 503, 504]
    assert [status for status in statuses if retry.again(status, 1)] == [429, 502, 503, 504]


def test_settings_are_checked_and_keep_the_secret() -> None:
    assert KEY not in repr(config("http://127.0.0.1:1/v1"))
    with pytest.raises(ValueError, match="needs base_url"):
        ReasonerConfig(model="m", backend="openai")
    with pytest.raises(ValueError, match="name of the model"):
        ReasonerConfig(backend="openai", base_url="http://127.0.0.1:1/v1")
    for url in ("ftp://127.0.0.1/v1", "http://127.0.0.1:99999/v1"):
        with pytest.raises(ModelUnsupported, match="http"):
            ServerBackend(config(url))
    assert ServerBackend(config("http://127.0.0.1:1/v1", family="qwen2_5_vl")).coordinates == "pixels"
