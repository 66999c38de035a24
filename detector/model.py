"""The bundled scorer's two towers, in torch: pictures to token embeddings, rules' texts to one embedding.

After SigLIP (arXiv 2303.15343): a sigmoid for each pair of picture and text, with a learned scale and bias. Different
from it: the stem is a few small convolutions (small figures are lost in one 16x16 projection at this width), and the
pool over tokens is queried by the text instead of by a learned probe, so that small events count and zones are masks.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from detector.folder import Shape
from detector.statement import PAD

HEAD_WIDTH = 32


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.heads = width // HEAD_WIDTH
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        for layer in (self.qkv, self.up, self.out, self.down):
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)
        for layer in (self.out, self.down):
            # Residual sums keep their size however many blocks add to them.
            nn.init.normal_(layer.weight, std=1 / math.sqrt(layer.in_features * 2 * depth))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """float (N, T, width); mask: float (N, 1, 1, T) added to the attention's logits."""
        count, tokens, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(count, tokens, 3, self.heads, HEAD_WIDTH)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        x = x + self.out(mixed.transpose(1, 2).reshape(count, tokens, width))
        deeper: Tensor = self.down(functional.gelu(self.up(self.norm_mlp(x))))
        return x + deeper


def halving(taken: int, given: int) -> nn.Sequential:
    """A convolution that halves width and height."""
    convolution = nn.Conv2d(taken, given, 3, stride=2, padding=1)
    nn.init.normal_(convolution.weight, std=math.sqrt(2 / (9 * taken)))
    return nn.Sequential(convolution, nn.GELU())


class Local(nn.Module):
    """Residual 3x3: the shape of a figure, at a size where attention would have too many tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.spread = nn.Conv2d(width, width, 3, padding=1)
        self.mix = nn.Conv2d(width, width, 1)
        nn.init.normal_(self.spread.weight, std=math.sqrt(2 / (9 * width)))
        nn.init.normal_(self.mix.weight, std=0.3 / math.sqrt(width))

    def forward(self, x: Tensor) -> Tensor:
        """float (N, width, H, W)."""
        added: Tensor = self.mix(functional.gelu(self.spread(x)))
        return x + added


class ImageTower(nn.Module):
    """uint8 (N, H, W, channels) to unit vectors (N, rows * columns, dim)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        columns, rows = shape.grid
        layers: list[nn.Module] = []
        taken = shape.channels
        for given, rounds in ((24, 0), (48, 1), (96, 2), (shape.width, 1)):
            layers += [halving(taken, given), *(Local(given) for _ in range(rounds))]
            taken = given
        self.stem = nn.Sequential(*layers)
        self.place = nn.Parameter(torch.randn(1, columns * rows, shape.width) * 0.02)
        self.blocks = nn.ModuleList([Block(shape.width, shape.depth) for _ in range(shape.depth)])
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.dim)
        self.register_buffer(
            "centre", torch.tensor([1.0] * 3 + [0.0] * (shape.channels - 3)).view(1, -1, 1, 1), persistent=False
        )

    def forward(self, pictures: Tensor) -> Tensor:
        x = pictures.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - self.get_buffer("centre")
        x = self.stem(x).flatten(2).transpose(1, 2) + self.place
        for block in self.blocks:
            x = block(x)
        return functional.normalize(self.head(self.norm(x)).float(), dim=-1)


class TextTower(nn.Module):
    """int64 (M, text_length), 0 is padding, to unit vectors (M, dim)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.token = nn.Embedding(shape.vocabulary, shape.text_width)
        nn.init.normal_(self.token.weight, std=0.5)
        self.place = nn.Parameter(torch.randn(1, shape.text_length, shape.text_width) * 0.1)
        self.blocks = nn.ModuleList([Block(shape.text_width, shape.text_depth) for _ in range(shape.text_depth)])
        self.norm = nn.LayerNorm(shape.text_width)
        self.head = nn.Linear(shape.text_width, shape.dim)

    def forward(self, ids: Tensor) -> Tensor:
        written = (ids != PAD).to(torch.float32)
        mask = ((written - 1.0) * 1e4)[:, None, None, :]
        x = self.token(ids) + self.place
        for block in self.blocks:
            x = block(x, mask)
        x = self.norm(x) * written[..., None]
        mean = x.sum(dim=1) / written.sum(dim=1, keepdim=True).clamp(min=1.0)
        return functional.normalize(self.head(mean).float(), dim=-1)


class ScorerModel(nn.Module):
    """Both towers and the numbers that turn a similarity into a logit."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.image = ImageTower(shape)
        self.text = TextTower(shape)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.bias = nn.Parameter(torch.tensor(-6.0))
        self.token_bias = nn.Parameter(torch.tensor(-6.0))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(12.0)))

    def match(self, tokens: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of pictures (N, M) and of their tokens (N, M, T); the pool of `detector.similarity.pooled`."""
        similar = torch.einsum("ntd,md->nmt", tokens, texts)
        pool = (torch.softmax(self.log_sharpness.exp() * similar, dim=2) * similar).sum(dim=2)
        scale = self.log_scale.exp()
        return scale * pool + self.bias, scale * similar + self.token_bias


def weights(model: nn.Module) -> dict[str, Tensor]:
    """What the folder stores: both towers in half precision, contiguous."""
    return {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if name.startswith(("image.", "text."))
    }


def load_weights(shape: Shape, path: Path) -> ScorerModel:
    """The towers from a safetensors file, float32, ready to run.

    Raises RuntimeError (torch's, naming the tensors) when the file does not have exactly these towers.
    """
    from safetensors.torch import load_file

    model = ScorerModel(shape)
    stored = {name: tensor.to(torch.float32) for name, tensor in load_file(path).items()}
    own = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(("image.", "text."))}
    model.load_state_dict({**own, **stored})
    return model.eval().requires_grad_(False)
