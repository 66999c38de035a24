"""Windows of several cameras through one model: prompts one by one, then one more token for all of them together.

There is no thread of its own. Whoever asks takes a turn at moving everybody's answer forward until its own is there,
so that one caller costs nothing extra and several share every pass. What does not fit waits in its caller: at most
`waiting` callers inside, the others at the door; nothing is dropped.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reasoner.backends.decode import Decoder
from reasoner.backends.draft import Drafts
from reasoner.backends.features import FeatureCache
from reasoner.backends.graphs import Graphs
from reasoner.backends.median import Median
from reasoner.backends.prefix import PrefixCache
from reasoner.backends.writing import Writing, likeliest, traced
from reasoner.errors import ModelFailed
from reasoner.processor import THINK

if TYPE_CHECKING:
    import torch

    from reasoner.processor import Processor


class Scheduler:
    """Rows in use are always the first ones. `answer` may be called from any number of threads."""

    def __init__(
        self,
        decoder: Decoder,
        features: FeatureCache,
        prefixes: PrefixCache,
        drafts: Drafts,
        graphs: Graphs | None,
        reading: Sequence[Median],
        processor: Processor,
        *,
        together: int,
        waiting: int,
    ) -> None:
        self.decoder = decoder
        self.features = features
        self.prefixes = prefixes
        self.drafts = drafts
        self.passes = 0
        self.most_together = 0
        self.graphs = graphs
        self._reading = reading
        self._processor = processor
        self._together = together
        self._door = threading.BoundedSemaphore(together + waiting)
        self._turn = threading.Lock()
        self._arrived: deque[Writing] = deque()
        self._active: list[Writing] = []

    def answer(self, *writings: Writing) -> None:
        """Returns when all are written. Raises what made one fail."""
        import torch

        with self._door:
            self._arrived.extend(writings)
            for writing in writings:
                while not writing.done:
                    with self._turn, torch.inference_mode():
                        if not writing.done:
                            self._round()
        for writing in writings:
            if writing.error is not None:
                raise writing.error

    def _round(self) -> None:
        """Start what has arrived while there are rows, then one step for all. An error ends only what it concerns."""
        try:
            while self._arrived and len(self._active) < self._together:
                self._start(self._arrived.popleft())
            # One that its first token has ended is not written on.
            self._sweep()
            if self._active:
                self._step()
        except Exception as error:  # noqa: BLE001 - goes to the callers whose answers it ends
            self._fail(error)
        except BaseException:
            self._fail(ModelFailed("the answer was interrupted"))
            raise
        self._sweep()

    def _fail(self, error: Exception) -> None:
        """End all that is being written. Rows may hold anything by now, and memory may be what is missing: whatever
        can be made again is given back."""
        for writing in self._active:
            writing.error = writing.error or error
        self._active.clear()
        self.decoder.slots.drop()
        self.prefixes.clear()
        if self.graphs is not None:
            self.graphs.clear()

    def _start(self, writing: Writing) -> None:
        """A prompt into the next free row, and the first token after it."""
        prompt, row = writing.prompt, len(self._active)
        try:
            self.decoder.slots.make_room(1 << row.bit_length(), prompt.length + 1)
            twin = next((at for at, each in enumerate(self._active) if each.prompt is prompt), None)
            if twin is None:
                filled = self.prefixes.restore(prompt, row)
                features = self.features.of(prompt.pictures)
                logits = self.decoder.prefill(prompt, features, row, filled)
            else:
                # Another answer to the same prompt: only its last token, which is never a picture's, is needed.
                self.decoder.slots.move(twin, row, prompt.length - 1)
                logits = self.decoder.prefill(prompt, (), row, prompt.length - 1)
            first = self._read(logits)
            if twin is None and math.isfinite(first[0][0][0]):
                # Else its keys are no numbers either, and would pass that on to whoever begins alike.
                self.prefixes.keep(prompt, row)
            writing.filled = prompt.length
            if writing.early is not None and writing.early.forced and self._ends_early(writing, row):
                return
            self._take(writing, *first, ())
        except Exception as error:  # noqa: BLE001 - goes to the caller whose answer it ends
            writing.error = error
            if not self.decoder.slots.rows:
                # There was no room for one more, and with the buffers the others' rows are gone.
                self._fail(error)
            return
        except BaseException:
            writing.error = ModelFailed("the answer was interrupted")
            raise
        self._active.append(writing)

    def _ends_early(self, writing: Writing, row: int) -> bool:
        """Ask for the verdict's word alone. What this leaves in the row is overwritten."""
        early = writing.early
        assert early is not None
        forced = early.forced
        prompt = writing.prompt
        self.decoder.slots.make_room(row + 1, prompt.length + len(forced))
        logits = self.decoder.extend(row, prompt.length, forced, prompt.next_position)[0, -1:]
        values, ids = likeliest(logits)
        tokens = traced(
            [*forced, ids[0][0]], [*(([0.0], [token]) for token in forced), (values[0], ids[0])], self._processor
        )
        writing.short = early.no_after(tokens)
        return writing.short is not None

    def _step(self) -> None:
        """One pass over all rows: the last token of each, and a guess of what follows it."""
        active = self._active
        guesses = [self.drafts.after(each.written, each.left - 1, len(active)) for each in active]
        width = 1 + max(len(guess) for guess in guesses)
        ids = [
            [each.written[-1], *guess, *[0] * (width - 1 - len(guess))]
            for each, guess in zip(active, guesses, strict=True)
        ]
        filled = [each.filled for each in active]
        positions = [each.next_position for each in active]
        if width == 1 and self.graphs is not None:
            logits = self.graphs.together(ids, filled, positions)
        else:
            self.decoder.slots.make_room(len(active), max(filled) + width)
            logits = self.decoder.together(ids, filled, positions)
        self.passes += 1
        self.most_together = max(self.most_together, len(active))
        values, near, chosen = self._read(logits.flatten(0, 1))
        for row, (writing, guess) in enumerate(zip(active, guesses, strict=True)):
            places = slice(row * width, (row + 1) * width)
            self._take(writing, values[places], near[places], chosen[places], guess)

    def _read(self, logits: torch.Tensor) -> tuple[list[list[float]], list[list[int]], list[int]]:
        """float (places, vocabulary) → of each place the likeliest log-probabilities and ids, and the choice."""
        values, near = likeliest(logits)
        for read in self._reading:
            logits = read(logits, logits)
        return values, near, logits.argmax(dim=-1).tolist()

    def _take(
        self,
        writing: Writing,
        values: Sequence[list[float]],
        near: Sequence[list[int]],
        chosen: Sequence[int],
        guess: Sequence[int],
    ) -> None:
        """The token at the first place, and at the next one as long as guesses were right."""
        if writing.written:
            writing.filled += 1
        self.drafts.offered += len(guess)
        for place, greedy in enumerate(chosen):
            token = writing.choice(values[place], near[place], greedy)
            writing.take(token, values[place], near[place])
            if writing.done or self._ends_at_thought(writing):
                return
            if place == len(guess) or token != guess[place]:
                return
            writing.filled += 1
            self.drafts.accepted += 1

    def _ends_at_thought(self, writing: Writing) -> bool:
        """Of a model whose first thought decides: whether it has just written a sure no."""
        early = writing.early
        if early is None or early.forced or writing.thought:
            return False
        tokens = writing.tokens(self._processor)
        before = "".join(token.text for token in tokens[:-1]).rstrip()
        if not before.endswith(THINK) or not tokens[-1].text.strip():
            return False
        writing.thought = True
        writing.short = early.no_after(tokens)
        return writing.short is not None

    def _sweep(self) -> None:
        """Rows of answers that are there are given to the last ones, so that the used rows stay the first."""
        for row, writing in enumerate(self._active):
            if writing.error is not None:
                self.decoder.slots.wipe(row)
        row = 0
        while row < len(self._active):
            writing = self._active[row]
            if not writing.done:
                row += 1
                continue
            if writing.error is None and writing.draw is None:
                self.drafts.learn(writing.written)
            last = len(self._active) - 1
            if row < last:
                self.decoder.slots.move(last, row, self._active[last].filled)
                self._active[row] = self._active[last]
            self._active.pop()
