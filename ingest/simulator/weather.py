"""What light, weather and the camera do to a picture: drift, flicker, a sudden step, rain, shake, blur, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

GRAINS = 3
"""Pictures of noise that are shifted about."""
DROPS = 220
"""Streaks of rain in a picture 640 px wide."""


@dataclass(frozen=True, slots=True)
class Weather:
    """Drawn once per scene; `see` depends on the time alone."""

    infrared: bool
    grain: tuple[NDArray[np.int16], ...]
    drift: tuple[float, float, float]
    """Depth, frequency in Hz and phase of a slow change of light."""
    flicker: tuple[float, float]
    """Depth and frequency in Hz of lamps that beat against the shutter."""
    step: tuple[float, float] | None
    """Moment and gain of a lasting change of light."""
    soft_px: float
    shake: tuple[float, float, float]
    """Reach in px, frequency in Hz and phase of a mast that sways."""
    rain: float
    """Share of `DROPS` that fall, 0 for none."""

    @classmethod
    def draw(cls, rng: np.random.Generator, size: tuple[int, int], duration_s: float, infrared: bool) -> Weather:
        width, height = size
        level = float(rng.uniform(1.0, 3.2)) * (1.8 if infrared else 1.0)
        channels = 1 if infrared else 3
        grain = [np.round(rng.normal(0, level, (height, width, channels))).astype(np.int16) for _ in range(GRAINS)]
        flickers, shakes, rains = rng.random() < 0.12, rng.random() < 0.12, rng.random() < 0.12
        return cls(
            infrared=infrared,
            grain=tuple(grain),
            drift=(float(rng.uniform(0, 0.05)), float(rng.uniform(0.02, 0.15)), float(rng.uniform(0, 6))),
            flicker=(float(rng.uniform(0.02, 0.06)) if flickers else 0.0, float(rng.uniform(1.5, 4.5))),
            step=(float(rng.uniform(0, duration_s)), float(rng.uniform(0.75, 1.3))) if rng.random() < 0.12 else None,
            soft_px=float(rng.choice([0.0, 0.0, 0.6, 0.9])),
            shake=(
                float(rng.uniform(0.3, 0.9)) * width / 640 if shakes else 0.0,
                float(rng.uniform(0.4, 1.6)),
                float(rng.uniform(0, 6)),
            ),
            rain=float(rng.uniform(0.4, 1.0)) if rains else 0.0,
        )

    def gain(self, t_s: float) -> float:
        """How bright the light is at this time."""
        gain = 1 + self.drift[0] * math.sin(2 * math.pi * self.drift[1] * t_s + self.drift[2])
        gain *= 1 + self.flicker[0] * math.sin(2 * math.pi * self.flicker[1] * t_s)
        if self.step is not None and t_s >= self.step[0]:
            gain *= self.step[1]
        return gain

    def see(self, picture: NDArray[np.uint8], t_s: float, dimming: float = 1.0) -> NDArray[np.uint8]:
        """uint8 (H, W, 3) RGB, the scene in steady light → the camera's picture of it."""
        if self.shake[0]:
            picture = self._shaken(picture, t_s)
        if self.rain:
            self._rain(picture, t_s)
        if self.soft_px:
            picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), self.soft_px), np.uint8)
        if self.infrared:
            picture = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[..., None]
        grain = self.grain[round(t_s * 1000) * 7919 % len(self.grain)]
        shift = round(t_s * 1000) * 104_729 % picture.shape[1]
        lit = cv2.convertScaleAbs(picture, alpha=self.gain(t_s) * dimming)
        out = cv2.add(lit.reshape(grain.shape), np.roll(grain, shift, axis=1), dtype=cv2.CV_8U)
        if self.infrared:
            out = cv2.cvtColor(out, cv2.COLOR_GRAY2RGB)
        return np.asarray(out, np.uint8)

    def _shaken(self, picture: NDArray[np.uint8], t_s: float) -> NDArray[np.uint8]:
        reach, rate, phase = self.shake
        dx = reach * math.sin(2 * math.pi * rate * t_s + phase)
        dy = 0.6 * reach * math.sin(2 * math.pi * rate * 1.37 * t_s)
        move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
        size = (picture.shape[1], picture.shape[0])
        return np.asarray(cv2.warpAffine(picture, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))

    def _rain(self, picture: NDArray[np.uint8], t_s: float) -> None:
        """Streaks at places that depend on the time alone; half as light as the sky."""
        height, width = picture.shape[:2]
        rng = np.random.default_rng([round(t_s * 1000), 331])
        count = int(DROPS * self.rain)
        xs, ys = rng.uniform(0, width, count), rng.uniform(-0.05 * height, height, count)
        lengths = rng.uniform(0.02, 0.05, count) * height
        layer = picture.copy()
        for x, y, length in zip(xs.tolist(), ys.tolist(), lengths.tolist(), strict=True):
            cv2.line(layer, (int(x), int(y)), (int(x - 0.12 * length), int(y + length)), (200, 205, 210), 1)
        picture[:] = cv2.addWeighted(layer, 0.35, picture, 0.65, 0)
