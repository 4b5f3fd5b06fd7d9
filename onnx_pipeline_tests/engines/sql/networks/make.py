"""Makes the networks of this folder by both of PyTorch's exporters, the one by tracing and the one by `torch.export`.

PyTorch is no dependency of the tests. In an environment of its own: `pip install torch==2.14.1 onnx onnxscript`, then
`python make.py`.
"""

from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent
FEATURES = 4


class Gated(nn.Module):
    """What people write by hand: shapes, slices, a gate, clamps."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(FEATURES, 6)
        self.second = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = self.first(x).chunk(2, dim=1)
        gated = (value * torch.sigmoid(gate)).view(x.shape[0], -1)
        gated = torch.where(gated > 0, gated, 0.1 * gated).clamp(-2, 2)
        return torch.log_softmax(self.second(gated), dim=-1)


def networks() -> dict[str, nn.Module]:
    def layers(*between: nn.Module) -> nn.Module:
        return nn.Sequential(nn.Linear(FEATURES, 6), *between, nn.Linear(6, 2))

    return {
        "classifier": nn.Sequential(layers(nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3)), nn.Softmax(dim=1)),
        "gated": Gated(),
        "smooth": layers(nn.LayerNorm(6), nn.GELU(), nn.Linear(6, 6), nn.SiLU(), nn.Linear(6, 6), nn.ELU()),
        "bounded": nn.Sequential(layers(nn.Tanh(), nn.Linear(6, 6), nn.Hardswish(), nn.LeakyReLU()), nn.Flatten()),
        "sloped": layers(nn.PReLU(), nn.Linear(6, 6), nn.Softplus(), nn.Linear(6, 6), nn.SELU(), nn.Hardtanh()),
    }


def main() -> None:
    torch.manual_seed(7)
    rows = torch.randn(3, FEATURES)
    for name, network in networks().items():
        network.eval()
        torch.onnx.export(
            network, (rows,), HERE / f"{name}_traced.onnx", dynamo=False, opset_version=17,
            input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "N"}, "y": {0: "N"}},
        )  # fmt: skip
        torch.onnx.export(
            network, (rows,), HERE / f"{name}_exported.onnx", dynamo=True, external_data=False,
            input_names=["x"], output_names=["y"], dynamic_shapes=({0: torch.export.Dim("N")},),
        )  # fmt: skip


if __name__ == "__main__":
    main()
