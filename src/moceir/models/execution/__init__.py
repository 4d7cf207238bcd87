"""How the network runs fast and in little memory: views of it with the same parameters and the same results.

``for_inference`` works in stripes and in place, ``for_training`` has gradients that cost less, and
``compilation`` lets ``torch.compile`` work on the layers that take the time. The plain network is in
``moceir.models.network``.
"""

from moceir.models.execution.inference import for_inference
from moceir.models.execution.statistics import Statistics
from moceir.models.execution.stripes import stripe_rows
from moceir.models.execution.training import for_training

__all__ = ["Statistics", "for_inference", "for_training", "stripe_rows"]
