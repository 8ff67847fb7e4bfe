"""Knowledge distillation (Hinton, Vinyals & Dean 2015, arXiv:1503.02531, section 2): a student also learns how its
teacher rates the wrong classes.

    L = (1 − w) · L_hard + w · T² · KL(softmax(t/T) ‖ softmax(s/T))        t, s: logits of teacher and student

T² keeps the size of the soft gradients, which shrink as 1/T². Deviation: KL in place of the paper's cross-entropy,
which is the same but for the teacher's entropy, a constant.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwnas.training.compute import Device


class Distillation:
    """`teacher`: trained; it is only asked. `weight`: of the soft part, 0 to 1."""

    def __init__(self, teacher: nn.Module, temperature: float, weight: float, device: Device) -> None:
        self.teacher = teacher.eval().to(device.torch, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.temperature, self.weight = temperature, weight

    def loss(self, hard: Tensor, logits: Tensor, x: Tensor) -> Tensor:
        """`hard`: the student's loss on the labels; `logits`: [n, classes], its answers to the images `x`."""
        with torch.no_grad():
            rated = self.teacher(x)
        soft = soft_loss(logits, rated, self.temperature)
        return (1 - self.weight) * hard + self.weight * soft


def soft_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T² · KL(teacher ‖ student), the mean over [n, classes] logits."""
    ours, theirs = (F.log_softmax(logits.float() / temperature, dim=1) for logits in (student, teacher))
    return temperature**2 * F.kl_div(ours, theirs, reduction="batchmean", log_target=True)
