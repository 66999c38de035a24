"""The text that a picture is compared with, and its token ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from detector.errors import ModelFolderError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PAD = 0


PROMPT = "{category}: {watch}"


def statement(category: str, watch: str, prompt: str = PROMPT) -> str:
    """`fall: a person lies on the floor`. The category goes first: it holds when the wording is unusual. Models that
    were trained on captions at large have a prompt of their own."""
    return prompt.replace("{category}", category).replace("{watch}", " ".join(watch.split()))


class Tokens:
    """A byte-level BPE tokenizer read from `tokenizer.json`; any language, no unknown characters."""

    def __init__(self, path: Path, length: int) -> None:
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
            raise ModelFolderError(f"{path} is no tokenizer ({error}); copy the model folder again") from None
        self._length = length

    def encode(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """int64 (texts, length), padded with 0 at the end unless the file says otherwise; longer texts are cut."""
        import numpy as np

        ids = np.full((len(texts), self._length), PAD, np.int64)
        for row, encoding in enumerate(self._tokenizer.encode_batch(list(texts))):
            kept = encoding.ids[: self._length]
            ids[row, : len(kept)] = kept
        return ids


def learn_tokens(lines: Sequence[str], vocabulary: int, path: Path) -> None:
    """A byte-level BPE tokenizer learned from the captions; `[PAD]` is 0."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["[PAD]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sorted(lines), trainer)
    tokenizer.save(str(path))
