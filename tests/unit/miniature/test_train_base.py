"""The base's training: gradients averaged over processes step as a plain training does."""

import torch
from torch import distributed

from miniature.train.base import _average_gradients


def test_averaged_gradients_keep_the_memory_format_that_the_fused_optimiser_expects(tmp_path):
    """With another one the optimiser pairs each weight with another weight's gradient, and says nothing."""

    def trained(average: bool) -> torch.Tensor:
        torch.manual_seed(0)
        model = torch.nn.Conv2d(8, 16, 3).to(memory_format=torch.channels_last)
        optimiser = torch.optim.AdamW(model.parameters(), 1e-2, fused=True)
        for _ in range(3):
            optimiser.zero_grad()
            model(torch.randn(2, 8, 8, 8)).square().mean().backward()
            if average:
                _average_gradients(list(model.parameters()), 1)
            optimiser.step()
        return model.weight.detach()

    distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        assert torch.equal(trained(average=True), trained(average=False))
    finally:
        distributed.destroy_process_group()
