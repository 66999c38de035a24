"""Settings of the reasoner."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from reasoner.speed import SpeedConfig

Backend = Literal["local", "openai"]
Language = Literal["en", "zh"]


class ReasonerConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[reasoner]` table."""

    model: Annotated[str, Meta(min_length=1)] = "bundled"
    """`bundled`, a folder, or a name on the Hugging Face hub; with `openai`, the name the server knows."""
    backend: Backend = "local"
    """`local`: transformers in this process; `openai`: an OpenAI-compatible server such as vLLM or SGLang."""
    base_url: str = ""
    """Of the server, up to and including its version, as `http://127.0.0.1:8000/v1`."""
    api_key: str = ""
    family: Literal["qwen3_vl", "qwen2_5_vl", "qwen3_5"] = "qwen3_vl"
    """Of the model on a server, which does not tell; a local model's own configuration decides."""
    device: Annotated[str, Meta(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """`auto`: bfloat16 on a GPU, float32 on a CPU."""
    threads: Annotated[int, Meta(ge=0, le=256)] = 0
    """Threads of torch on a CPU; 0 leaves torch's own choice."""
    max_new_tokens: Annotated[int, Meta(ge=8, le=8192)] = 512
    max_frames: Annotated[int, Meta(ge=2, le=256)] = 24
    """Most frames of one window that are shown; a longer window is shown at an even, wider spacing."""
    min_frame_pixels: Annotated[int, Meta(ge=1024)] = 65_536
    max_frame_pixels: Annotated[int, Meta(ge=1024)] = 200_704
    """Pixel budget of one frame as the model sees it (200 704 = 448 x 448); a model with a fixed input has its own."""
    review_below: Annotated[float, Meta(ge=0, le=1)] = 0.6
    """A verdict whose calibrated probability is below this needs a person's review."""
    crop_check: bool = True
    """Ask once more about what a yes cites, on its own; costs a second, mostly shorter answer."""
    unlettered: bool = True
    """Ask once more, with all writing on the scene blurred, before a window that the first look is sure of is rejected;
    costs a second answer for each of these."""
    grey: tuple[Annotated[float, Meta(ge=0, le=1)], Annotated[float, Meta(ge=0, le=1)]] = (0.4, 0.75)
    """From and up to which probability a yes is also held against the picture without its evidence; equal: never."""
    samples: Annotated[int, Meta(ge=0, le=64)] = 0
    """Answers drawn at random for a yes in the grey band, which vote with the weight of their evidence; 0: none. Not
    for a model that was trained on a fixed spacing of frames, as the bundled one. Each costs an answer."""
    sample_temperature: Annotated[float, Meta(gt=0, le=2)] = 0.7
    """How far these answers may stray: 1 draws as the model believes, less stays nearer to its likeliest words."""
    unanswered_from: Annotated[float, Meta(ge=0, le=1)] = 0.5
    """Score of the first look from which a window goes to a person when the model gives no usable answer, or none."""
    timeout_s: Annotated[float, Meta(gt=0)] = 60.0
    """For one answer of a server, all attempts and waiting together, or of an isolated model, from when its process is
    ready, which has three minutes for its first one."""
    start_s: Annotated[float, Meta(gt=0, le=7200)] = 600.0
    """For an isolated model's process to load its model; loading a large one from a cold disk takes minutes. Windows
    that come meanwhile wait, `timeout_s` apart."""
    max_requests: Annotated[int, Meta(ge=1, le=256)] = 8
    """Windows that a server is asked about at once."""
    structured: Literal["vllm", "sglang", "off"] = "vllm"
    """How the server is told the form of the output; one that does not understand is asked without. `off` for a
    thinking model behind a reasoning parser, whose thoughts are not to be held to a form."""
    early_exit: bool = False
    """Read the odds of a yes first, one token, and write the evidence only where a no is not sure. A no is then short,
    and of a model that would have thought first it is given without thinking; not with `speed.plain`."""
    early_exit_below: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Probability of a yes below which the first token ends it."""
    isolate: bool | None = None
    """Run a local model in a process of its own, which is killed and started again when it dies or hangs. Left out: on
    a CUDA GPU only, where one fault spoils the whole process; for the bundled model on a CPU a second process costs as
    much start and memory as the model itself."""

    speed: SpeedConfig = SpeedConfig()
    """How a local model is run."""

    def __post_init__(self) -> None:
        if self.backend == "openai" and not self.base_url:
            raise ValueError('backend = "openai" needs base_url, as "http://127.0.0.1:8000/v1"')
        if self.backend == "openai" and self.model == "bundled":
            raise ValueError('backend = "openai" needs the name of the model that the server serves')
        if self.grey[0] > self.grey[1]:
            raise ValueError(f"grey begins at {self.grey[0]} and ends at {self.grey[1]}; give the lower one first")
        if self.min_frame_pixels > self.max_frame_pixels:
            raise ValueError(
                f"min_frame_pixels {self.min_frame_pixels} exceeds max_frame_pixels {self.max_frame_pixels}"
            )

    def __repr__(self) -> str:
        """The key is a secret and stays out of every log."""
        shown = {name: getattr(self, name) for name in self.__struct_fields__ if name != "api_key"}
        return f"ReasonerConfig({', '.join(f'{name}={value!r}' for name, value in shown.items())})"
